#include "select/spatten.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "select/key_policy.h"

namespace hunch {

SpattenCascade::SpattenCascade(size_t n_tokens, size_t n_heads) : head_scores_(n_heads) {
  append(n_tokens);
  append_range(0, n_heads, heads_);
}

void SpattenCascade::append(size_t n_new) {
  append_range(token_scores_.size(), token_scores_.size() + n_new, tokens_);
  token_scores_.resize(token_scores_.size() + n_new, 0.0f);
}

void SpattenCascade::observe(std::span<const float> token_sums, std::span<const float> head_sums) {
  HUNCH_CHECK(token_sums.size() == tokens_.size() && head_sums.size() == heads_.size(),
              "evidence for {} tokens and {} heads, {} and {} are live", token_sums.size(), head_sums.size(),
              tokens_.size(), heads_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) token_scores_[tokens_[i]] += token_sums[i];
  for (size_t i = 0; i < heads_.size(); ++i) head_scores_[heads_[i]] += head_sums[i];
}

void SpattenCascade::prune(size_t n_tokens, size_t n_heads, size_t n_recent) {
  n_tokens = std::min(n_tokens, tokens_.size());
  n_recent = std::min(n_recent, n_tokens);
  const std::span<uint32_t> older = std::span(tokens_).first(tokens_.size() - n_recent);
  const size_t n_heavy = keep_heaviest(token_scores_, n_tokens - n_recent, older).size();
  std::copy(tokens_.end() - ptrdiff_t(n_recent), tokens_.end(), tokens_.begin() + ptrdiff_t(n_heavy));
  tokens_.resize(n_tokens);
  heads_.resize(keep_heaviest(head_scores_, n_heads, heads_).size());
}

void SpattenCascade::revive() {
  tokens_.clear();
  append_range(0, token_scores_.size(), tokens_);
  heads_.clear();
  append_range(0, head_scores_.size(), heads_);
}

void SpattenCascade::restrict_to(std::span<const uint32_t> tokens) {
  std::vector<uint32_t> both;
  std::ranges::set_intersection(tokens_, tokens, std::back_inserter(both));
  tokens_ = std::move(both);
}

void SpattenCascade::truncate(size_t n_tokens) {
  token_scores_.resize(std::min(n_tokens, token_scores_.size()));
  while (!tokens_.empty() && tokens_.back() >= n_tokens) tokens_.pop_back();
}

}  // namespace hunch
