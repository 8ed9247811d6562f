// An answer by a grammar.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/constraint.h"
#include "grammar/token_grammar.h"

namespace hunch {

class GrammarConstraint : public Constraint {
 public:
  // `behind`: the grammar holds behind this text, before which the answer is free but for its end, as models that think
  // are before they answer; empty: from the beginning. The tokenizer outlives it.
  GrammarConstraint(std::shared_ptr<const grammar::TokenGrammar> grammar, const Tokenizer& tokenizer,
                    std::string behind = {});

  std::span<const uint64_t> mask() override;
  bool accept(int32_t token) override;
  void go_back(size_t n) override;
  bool is_over() const override { return !is_free_ && matcher_.is_over(); }

 private:
  grammar::Matcher matcher_;
  const Tokenizer& tokenizer_;
  const std::string behind_;
  bool is_free_;
  std::string free_text_;
  std::vector<size_t> free_sizes_;  // bytes of the free text before each of its tokens
  std::vector<uint64_t> all_but_ends_;
};

}  // namespace hunch
