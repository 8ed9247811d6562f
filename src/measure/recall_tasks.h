// Tasks without a download: what was said earlier in a long text is asked for at its end (after RULER: Hsieh et al.
// 2024, arXiv:2404.06654; the pass key: Mohtashami and Jaggi 2023). Made in the model's own vocabulary.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hunch {

enum class RecallTask : uint8_t {
  kPasskey,      // a number, said twice among the same few sentences over and over
  kNeedle,       // a number, said once among sentences that are all different
  kMultiKey,     // one of several such numbers, by its name
  kVariables,    // which variables got a value, directly or from one another
  kAggregation,  // the three most frequent words
};
// passkey, needle, multikey, variables, aggregation.
std::optional<RecallTask> recall_task_from_name(std::string_view name);
std::vector<std::string> recall_task_names();

enum class RecallForm : uint8_t {
  kAuto,    // words, where the tokenizer has them: at most two tokens each
  kWords,   // English sentences
  kTokens,  // tokens drawn from the vocabulary, with a token for each word of the question: nothing to know
};

struct RecallOptions {
  RecallTask task = RecallTask::kPasskey;
  RecallForm form = RecallForm::kAuto;
  std::vector<size_t> lengths = {512};                   // tokens of text, question and answer together
  std::vector<double> depths = {0, 0.25, 0.5, 0.75, 1};  // where the answer stands: 0 the beginning, 1 the end
  size_t n_samples = 10;                                 // for each length and depth
  size_t n_keys = 4;                                     // of multikey
  size_t n_hops = 3;                                     // of variables: so many got theirs from another one
  uint64_t seed = 1;
};

struct RecallQuestion {
  std::vector<int32_t> text, question, answer;
  size_t length = 0, depth = 0;  // which of the options'
};

struct RecallSet {
  std::vector<RecallQuestion> questions;  // by length, then depth
  RecallForm form = RecallForm::kTokens;  // what kAuto came to
  std::vector<double> depths;             // the options', but of kAggregation, which has none
};

// The same options and tokenizer give the same questions. Throws Error{kUsage} for a length that has no room for what
// is asked, a depth outside of 0 to 1, or a vocabulary of fewer than 64 tokens that can be drawn.
RecallSet recall_questions(const Tokenizer& tokenizer, const RecallOptions& options);

}  // namespace hunch
