// Keys by locality-sensitive hashing: a query reads those in its own buckets.
#pragma once
#include "select/listed_keys.h"

namespace hunch {

struct LshOptions {
  size_t budget = 0;   // keys that a KV head reads, the recent ones and the drawn ones among them
  size_t recent = 64;  // of these, always: the last ones; in a cache in groups the query's own group too
  size_t n_buckets = 16, n_rounds = 8;
  size_t n_drawn = 0;  // of these, drawn from all others
  uint64_t seed = 1;
};

// A bucket is the one of n_buckets directions that a vector lies closest to, in each of n_rounds rounds: the largest of
// [xR, -xR], R random (Kitaev et al. 2020, "Reformer", arXiv:2001.04451, section 2; Andoni et al. 2015). Of the keys
// that share a bucket with the query heads of their group, those are read that share the most over rounds and heads, of
// equals the newest; none that shares nothing. In the paper queries are keys, and chunks of sorted buckets are read;
// here a model's own queries meet its own keys, and all keys of a bucket may be read.
//
// With n_drawn keys are drawn evenly from all others, anew for every query and head, and each weighs as much as its
// share of them (Han et al. 2023, "HyperAttention", arXiv:2310.05869, algorithms 1 and 3: large entries by hashing, the
// rest by sampled columns. There the hash is one of the Hamming distance, blocks are of sorted keys, and columns are
// the same for all queries).
//
// A key's buckets are n_rounds bytes, rounded up to whole words of eight, made when it comes and read for every query.
class LshKeys final : public ListedKeys {
 public:
  LshKeys(std::string_view kind, const LshOptions& options, const FormOptions& form)
      : ListedKeys(form), kind_(kind), options_(options) {}
  std::string_view kind() const override { return kind_; }
  bool heads_apart() const override { return options_.n_drawn == 0; }  // drawing numbers the heads
  std::unique_ptr<SelectorState> new_state() const override;
  const LshOptions& options() const { return options_; }

 private:
  std::string_view kind_;
  LshOptions options_;
};

class LshState final : public ListedState {
 public:
  explicit LshState(const LshKeys& all);
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<LshState>(*this); }
  void truncate(size_t n_tokens) override;

  // [n_rounds, n_buckets / 2, d], made where they are not there. Public for tests.
  std::span<const float> directions(size_t d);

 protected:
  void look(Compute& compute, const KeyPlace& place, const AttentionSpan& queries, size_t d_head) override;
  size_t choose(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, MatView<const float> q,
                std::vector<uint32_t>& slots) const override;
  bool draws() const override { return all_.options().n_drawn > 0; }
  double draw(const KeyPlace& place, const AttentionSpan& query, size_t kv_head, std::span<const uint32_t> chosen,
              std::vector<uint32_t>& drawn) const override;

 private:
  // The bucket of x in each round: to [n_codes], of which places that no round has stay as they are.
  void hash(std::span<const float> x, uint8_t* to) const;

  const LshKeys& all_;
  const size_t n_codes_;  // of a key
  bool in_groups_ = false;
  std::vector<float> directions_;
  std::vector<std::vector<std::vector<uint8_t>>> codes_;  // [n_layer][n_kv_head][n_tokens * n_codes]
};

}  // namespace hunch
