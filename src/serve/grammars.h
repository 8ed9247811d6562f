// The grammars of requests, compiled once and kept.
#pragma once
#include <atomic>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "engine/constraint.h"
#include "grammar/token_grammar.h"
#include "serve/answer_form.h"
#include "serve/tool_settings.h"
#include "text/tool_template.h"

namespace hunch::serve {

class Grammars {
 public:
  using Make = std::function<std::unique_ptr<Constraint>()>;

  // The tokenizer outlives it, and must be there once a grammar is asked for.
  explicit Grammars(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // What makes the constraints of this form (GenerateOptions::constraint); none for any form. `behind` as
  // GrammarConstraint's. Any thread's. Throws RequestError{400} naming the field.
  Make of(const AnswerForm& form, const std::string& behind);
  // Of answers that must call: the tools of `settings`, whose choice is kRequired or kNamed.
  Make of_calls(const ToolSettings& settings, const ToolTemplate& how, const std::string& source,
                const std::string& behind);

  size_t n_compiled() const { return n_compiled_; }

 private:
  static constexpr size_t kMostKept = 32;
  using Compiled = std::shared_ptr<const grammar::TokenGrammar>;
  struct Kept {
    std::string key;
    std::shared_future<Compiled> grammar;  // of one that is being compiled, there is none yet
  };
  Compiled compile(const std::string& param, const std::function<grammar::Rules()>& rules);
  std::shared_ptr<const grammar::TokenTrie> trie();
  Compiled get(const std::string& key, const std::string& param, const std::function<grammar::Rules()>& rules);
  Make maker(Compiled grammar, const std::string& behind) const;

  const Tokenizer* tokenizer_;
  std::mutex trie_mutex_;  // held while the trie is made, which all wait for
  std::shared_ptr<const grammar::TokenTrie> trie_;
  std::mutex mutex_;      // not held while one is compiled: others go on
  std::list<Kept> kept_;  // the one that was used last at the end
  std::atomic<size_t> n_compiled_{0};
};

}  // namespace hunch::serve
