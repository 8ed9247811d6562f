// Keys by locality-sensitive hashing: a query reads those in its own buckets.
#pragma once
#include "select/listed_keys.h"

namespace hunch {

struct LshOptions {
  size_t budget = 0;   // keys that a KV head reads, the recent ones among them
  size_t recent = 64;  // of these, always: the last ones
  size_t n_buckets = 16, n_rounds = 8;
  uint64_t seed = 1;
};

// A bucket is the one of n_buckets directions that a vector lies closest to, in each of n_rounds rounds: the largest of
// [xR, -xR], R random (Kitaev et al. 2020, "Reformer", arXiv:2001.04451, section 2; Andoni et al. 2015). Of the keys
// that share a bucket with the query heads of their group, those are read that share the most over rounds and heads, of
// equals the newest; none that shares nothing. In the paper queries are keys, and chunks of sorted buckets are read;
// here a model's own queries meet its own keys, and all keys of a bucket may be read.
//
// A key's buckets are n_rounds bytes, made when it comes and read for every query.
class LshKeys final : public ListedKeys {
 public:
  LshKeys(const LshOptions& options, const FormOptions& form) : ListedKeys(form), options_(options) {}
  std::string_view kind() const override { return "lsh"; }
  std::unique_ptr<SelectorState> new_state() const override;
  const LshOptions& options() const { return options_; }

 private:
  LshOptions options_;
};

class LshState final : public ListedState {
 public:
  explicit LshState(const LshKeys& all) : ListedState(all.form().n_full), all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<LshState>(*this); }
  void truncate(size_t n_tokens) override;

  // The bucket of x in each round: to [n_rounds]. Public for tests, as are the directions [n_rounds, n_buckets / 2, d].
  void hash(std::span<const float> x, uint8_t* to);
  std::span<const float> directions(size_t d);

 protected:
  void choose(Compute& compute, const KeyPlace& place, const AttentionSpan& query, size_t kv_head,
              MatView<const float> q, std::vector<uint32_t>& slots) override;

 private:
  void update(Compute& compute, const KvView& view, size_t kv_head, size_t n_tokens, std::vector<uint8_t>& codes);

  const LshKeys& all_;
  std::vector<float> directions_;
  std::vector<std::vector<std::vector<uint8_t>>> codes_;  // [n_layer][n_kv_head][n_tokens * n_rounds]
  std::vector<float> score_;
};

}  // namespace hunch
