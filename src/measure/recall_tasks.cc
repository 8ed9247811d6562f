#include "measure/recall_tasks.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "measure/recall_writer.h"

namespace hunch {
namespace {

struct NamedRecallTask {
  RecallTask task;
  const char* name;
};
constexpr std::array<NamedRecallTask, 5> kRecallTasks = {{{RecallTask::kPasskey, "passkey"},
                                                          {RecallTask::kNeedle, "needle"},
                                                          {RecallTask::kMultiKey, "multikey"},
                                                          {RecallTask::kVariables, "variables"},
                                                          {RecallTask::kAggregation, "aggregation"}}};

// What stands in the text, each at its share of the way through it.
struct Insert {
  double depth;
  std::vector<int32_t> ids;
};

size_t n_tokens_of(const std::vector<Insert>& inserts) {
  size_t n = 0;
  for (const Insert& insert : inserts) n += insert.ids.size();
  return n;
}

// Texts of a task, one after the other.
class Author {
 public:
  Author(const RecallOptions& options, RecallWriter& writer, RecallRandom& random)
      : options_(options), writer_(writer), random_(random) {}

  RecallQuestion question(size_t length, double depth) {
    RecallQuestion q;
    std::vector<Insert> inserts;
    writer_.begin(random_);
    switch (options_.task) {
      case RecallTask::kPasskey: {
        const auto number = writer_.number(random_);
        inserts.push_back({depth, writer_.pass_key(number)});
        q.question = writer_.ask_pass_key();
        q.answer = writer_.answer(number);
        break;
      }
      case RecallTask::kNeedle:
      case RecallTask::kMultiKey: {
        const size_t n = options_.task == RecallTask::kNeedle ? 1 : options_.n_keys;
        for (size_t i = 0; i < n; ++i) {
          const auto name = writer_.name(random_), number = writer_.number(random_);
          inserts.push_back({i ? random_.uniform() : depth, writer_.named_number(name, number)});
          if (i) continue;
          q.question = writer_.ask_named_number(name);
          q.answer = writer_.answer(number);
        }
        break;
      }
      case RecallTask::kVariables: variables(depth, inserts, q); break;
      case RecallTask::kAggregation: return aggregation(length);
    }
    const size_t fixed = writer_.opening().size() + q.question.size() + q.answer.size() + n_tokens_of(inserts);
    const size_t least = fixed + 8;
    if (length < least) fail_short(length, least);
    q.text = text(std::move(inserts), length - fixed);
    return q;
  }

 private:
  [[noreturn]] void fail_short(size_t length, size_t least) const {
    fail(ErrorKind::kUsage, "a text of {} tokens (lengths) has no room for what is asked of it, expected at least {}",
         length, least);
  }

  // Statements in their order, from `depth` to the end.
  void variables(double depth, std::vector<Insert>& inserts, RecallQuestion& q) {
    const auto number = writer_.number(random_);
    std::vector<RecallWriter::Item> names;
    const size_t n = options_.n_hops + 1;
    for (size_t i = 0; i < n; ++i) {
      names.push_back(writer_.name(random_));
      inserts.push_back(
          {depth + (1 - depth) * double(i) / double(n), writer_.assign(names[i], i ? names[i - 1] : number)});
    }
    q.question = writer_.ask_variables(number);
    q.answer = writer_.answer_list(names);
  }

  // The words' counts fall as 1, 1/4, 1/9, ..., those after the third all as the fourth or fewer.
  RecallQuestion aggregation(size_t length) {
    RecallQuestion q;
    constexpr size_t kTop = 3, kOthers = 24;
    std::vector<RecallWriter::Item> words;
    for (size_t i = 0; i < kTop + kOthers; ++i) words.push_back(writer_.name(random_));
    q.question = writer_.ask_frequent();
    q.answer = writer_.answer_list(std::span(words).first(kTop));
    const size_t fixed = writer_.opening().size() + q.question.size() + q.answer.size();
    if (length < fixed + 160) fail_short(length, fixed + 160);
    const size_t room = length - fixed;
    std::vector<size_t> order;  // of words, by number
    for (size_t i = 0, used = 0; used < room; i = (i + 1) % words.size()) {
      if (i < kTop) {
        static constexpr size_t kTimes[kTop] = {27, 9, 3};
        for (size_t n = 0; n < kTimes[i]; ++n) order.push_back(i), used += words[i].ids.size();
      } else {
        order.push_back(i), used += words[i].ids.size();
      }
    }
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
    q.text = writer_.opening();
    for (const size_t i : order) {
      if (q.text.size() + words[i].ids.size() > room + writer_.opening().size()) break;
      q.text.insert(q.text.end(), words[i].ids.begin(), words[i].ids.end());
    }
    return q;
  }

  // Filler of `room` tokens at most, what is inserted between two of its sentences.
  std::vector<int32_t> text(std::vector<Insert> inserts, size_t room) {
    const bool repeats = options_.task == RecallTask::kPasskey;
    std::ranges::stable_sort(inserts, {}, &Insert::depth);
    std::vector<int32_t> ids = writer_.opening();
    size_t n_filler = 0, next = 0;
    for (;;) {
      const std::vector<int32_t> sentence = repeats ? writer_.repeated_sentence() : writer_.sentence(random_);
      const bool is_end = n_filler + sentence.size() > room;
      while (next < inserts.size() &&
             (is_end || double(n_filler) + double(sentence.size()) / 2 >= inserts[next].depth * double(room))) {
        ids.insert(ids.end(), inserts[next].ids.begin(), inserts[next].ids.end());
        ++next;
      }
      if (is_end) return ids;
      ids.insert(ids.end(), sentence.begin(), sentence.end());
      n_filler += sentence.size();
    }
  }

  const RecallOptions& options_;
  RecallWriter& writer_;
  RecallRandom& random_;
};

}  // namespace

std::optional<RecallTask> recall_task_from_name(std::string_view name) {
  for (const NamedRecallTask& t : kRecallTasks)
    if (name == t.name) return t.task;
  return {};
}

std::vector<std::string> recall_task_names() {
  std::vector<std::string> names;
  for (const NamedRecallTask& t : kRecallTasks) names.push_back(t.name);
  return names;
}

RecallSet recall_questions(const Tokenizer& tokenizer, const RecallOptions& options) {
  for (const double depth : options.depths)
    if (!(depth >= 0 && depth <= 1)) fail(ErrorKind::kUsage, "a depth of {}, expected 0 to 1", depth);
  if (options.lengths.empty() || options.depths.empty() || options.n_samples == 0)
    fail(ErrorKind::kUsage, "no questions: {} lengths, {} depths, {} samples", options.lengths.size(),
         options.depths.size(), options.n_samples);
  if (options.n_keys == 0) fail(ErrorKind::kUsage, "0 keys, expected at least 1");
  RecallSet set;
  set.form = options.form != RecallForm::kAuto ? options.form
             : speaks_english(tokenizer)       ? RecallForm::kWords
                                               : RecallForm::kTokens;
  set.depths = options.task == RecallTask::kAggregation ? std::vector<double>{0.5} : options.depths;
  RecallRandom random(options.seed);
  const std::unique_ptr<RecallWriter> writer =
      set.form == RecallForm::kWords ? english_writer(tokenizer) : token_writer(tokenizer, random);
  Author author(options, *writer, random);
  for (size_t length = 0; length < options.lengths.size(); ++length)
    for (size_t depth = 0; depth < set.depths.size(); ++depth)
      for (size_t i = 0; i < options.n_samples; ++i) {
        set.questions.push_back(author.question(options.lengths[length], set.depths[depth]));
        set.questions.back().length = length;
        set.questions.back().depth = depth;
      }
  return set;
}

}  // namespace hunch
