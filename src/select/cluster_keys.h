// Keys by clusters that are learned as they come: a query reads those whose clusters it points to.
#pragma once
#include "select/listed_keys.h"

namespace hunch {

struct ClusterOptions {
  size_t budget = 0;  // keys that a KV head reads, the recent ones among them
  // Of these, always: the last ones, and in a cache in groups the query's own; a key joins a cluster when it may leave
  // them.
  size_t recent = 64;
  size_t n_clusters = 32;
};

// Every head's keys are in clusters by online k-means: the first n_clusters are centroids, each further key joins the
// centroid of whose length and its own the product is largest (keys and centroids as directions), and moves it
// (Roy et al. 2021, "Routing Transformer", arXiv:2003.05997, section 4, where queries and keys are one and centroids
// learn by gradients and a moving mean). Clusters are read in the order in which the query heads of a group point to
// them, summed, until the budget is full; of the last one that is read the newest keys.
//
// Keys join in blocks of 64, so that little is lost where a text goes back: beyond a block all clusters are made anew.
class ClusterKeys final : public ListedKeys {
 public:
  ClusterKeys(const ClusterOptions& options, const FormOptions& form) : ListedKeys(form), options_(options) {}
  std::string_view kind() const override { return "clusters"; }
  std::unique_ptr<SelectorState> new_state() const override;
  const ClusterOptions& options() const { return options_; }
  static constexpr size_t kBlock = 64;

 private:
  ClusterOptions options_;
};

class ClusterState final : public ListedState {
 public:
  explicit ClusterState(const ClusterKeys& all) : ListedState(all.form().n_full), all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<ClusterState>(*this); }
  void truncate(size_t n_tokens) override;

 protected:
  void look(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, size_t d_head) override;
  size_t n_alike(const AttentionSpan& query, size_t n) const override;
  size_t choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float> q,
                std::vector<uint32_t>& slots) const override;

 private:
  // Of the tokens that a query may not read, and of these those that are in clusters.
  size_t n_old(const AttentionSpan& query) const;
  size_t n_joined(const AttentionSpan& query) const { return n_old(query) / ClusterKeys::kBlock * ClusterKeys::kBlock; }
  struct Head {
    std::vector<float> sums;                     // [n_clusters, d] of its keys as directions
    std::vector<std::vector<uint32_t>> members;  // [n_clusters] ascending
    size_t n_known = 0;
  };
  void update(const KvView& view, size_t kv_head, size_t n_tokens, Head& head) const;

  const ClusterKeys& all_;
  std::vector<std::vector<Head>> heads_;  // [n_layer][n_kv_head]
};

}  // namespace hunch
