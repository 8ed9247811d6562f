#include "engine/grammar_constraint.h"

#include <algorithm>

namespace hunch {

GrammarConstraint::GrammarConstraint(std::shared_ptr<const grammar::TokenGrammar> grammar, const Tokenizer& tokenizer,
                                     std::string behind)
    : matcher_(grammar), tokenizer_(tokenizer), behind_(std::move(behind)), is_free_(!behind_.empty()) {
  if (!is_free_) return;
  all_but_ends_.assign((tokenizer.n_vocab() + 63) / 64, ~uint64_t(0));
  for (const int32_t id : grammar->trie().ends()) all_but_ends_[size_t(id) / 64] &= ~(uint64_t(1) << (id % 64));
}

std::span<const uint64_t> GrammarConstraint::mask() {
  return is_free_ ? std::span<const uint64_t>(all_but_ends_) : matcher_.mask();
}

bool GrammarConstraint::accept(int32_t token) {
  if (!is_free_) return matcher_.accept(token);
  if (size_t(token) >= tokenizer_.n_vocab() || !is_allowed(all_but_ends_, size_t(token))) return false;
  free_sizes_.push_back(free_text_.size());
  free_text_ += tokenizer_.piece(token);
  // What the same token has behind the mark is white space, which is no part of the answer.
  is_free_ =
      free_text_.find(behind_, free_sizes_.back() - std::min(free_sizes_.back(), behind_.size())) == free_text_.npos;
  return true;
}

void GrammarConstraint::go_back(size_t n) {
  const size_t n_matched = std::min(n, matcher_.n_accepted());
  matcher_.go_back(n_matched);
  for (n -= n_matched; n > 0 && !free_sizes_.empty(); --n) {
    free_text_.resize(free_sizes_.back());
    free_sizes_.pop_back();
    is_free_ = true;
  }
}

}  // namespace hunch
