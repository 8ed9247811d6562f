#include "measure/task_runs.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "engine/generate.h"
#include "measure/continuation_scorer.h"
#include "measure/density.h"
#include "measure/number_answers.h"

namespace hunch {
namespace {

size_t n_characters(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual TaskOutcome answer(const TaskItem& item) = 0;
  // Of what counts as its speed.
  StepStats stats;
  double seconds = 0;
};

class Chooser : public Answerer {
 public:
  Chooser(const Engine& engine, ContextOptions options, Scoring scoring)
      : scorer_(engine, with_decoding(std::move(options))), scoring_(scoring) {}

  TaskOutcome answer(const TaskItem& item) override {
    const Timer timer;
    const TaskOutcome outcome = scoring_ == Scoring::kLastWord ? last_word(item) : choice(item);
    seconds += timer.seconds();
    stats = scorer_.context().stats();
    return outcome;
  }

 private:
  static ContextOptions with_decoding(ContextOptions options) {
    options.decodes_all = true;
    return options;
  }

  TaskOutcome last_word(const TaskItem& item) {
    const ContinuationScore s = scorer_.score(item.contexts[0], item.continuations[0]);
    return {s.greedy, s.greedy, s.log_likelihood};
  }

  TaskOutcome choice(const TaskItem& item) {
    size_t best = 0, best_norm = 0;
    double most = -INFINITY, most_norm = -INFINITY;
    for (size_t i = 0; i < item.contexts.size(); ++i) {
      const std::string& continuation = item.continuations[i];
      const double ll = scorer_.score(item.contexts[i], continuation).log_likelihood;
      // The harness divides by the characters of the choice, without the space before it.
      const size_t n = n_characters(continuation) - continuation.starts_with(' ');
      const double norm = ll / double(std::max<size_t>(1, n));
      if (ll > most) most = ll, best = i;
      if (norm > most_norm) most_norm = norm, best_norm = i;
    }
    return {best == item.gold, best_norm == item.gold};
  }

  ContinuationScorer scorer_;
  Scoring scoring_;
};

// GSM8K: greedily, until the next question would begin.
class Writer : public Answerer {
 public:
  Writer(const Engine& engine, const ContextOptions& options)
      : tokenizer_(engine.need_tokenizer()), context_(engine, task_context(engine, options)) {
    if (context_.n_ctx() <= kAnswerTokens)
      fail(ErrorKind::kUsage, "answers have up to {} tokens, which leaves no room for questions in a context of {}; {}",
           kAnswerTokens, context_.n_ctx(), room_for(engine.config(), 2 * kAnswerTokens));
    options_.n_tokens = kAnswerTokens;
    options_.sampler.temperature = 0;
    options_.log_probs = false;
    options_.stop = {"Question:", "</s>", "<|im_end|>"};
  }

  TaskOutcome answer(const TaskItem& item) override {
    std::vector<int32_t> ids = tokenizer_.encode(item.contexts[0], {false, false});
    const size_t room = context_.n_ctx() - kAnswerTokens;
    if (ids.size() > room) ids.erase(ids.begin(), ids.end() - long(room));
    const size_t held =
        context_.go_back(context_.learns_from_prompts() ? 0 : n_common(context_.ids(), ids, ids.size() - 1));
    const Generated generated = generate(context_, std::span(ids).subspan(held), options_);
    if (generated.stop_reason == StopReason::kInterrupted) fail(ErrorKind::kInterrupted, "interrupted");
    stats += generated.stats;
    seconds += generated.seconds;
    return {same_number(strict_number(generated.text), item.answer),
            same_number(last_number(generated.text), item.answer)};
  }

 private:
  static constexpr size_t kAnswerTokens = 256;  // the harness's max_gen_toks

  const Tokenizer& tokenizer_;
  Context context_;
  GenerateOptions options_;
};

std::unique_ptr<Answerer> answerer(const Engine& engine, const ContextOptions& options, Scoring scoring) {
  if (scoring == Scoring::kNumber) return std::make_unique<Writer>(engine, options);
  return std::make_unique<Chooser>(engine, options, scoring);
}

}  // namespace

std::vector<TaskRun> run_task(const Engine& engine, std::span<const CompareMode> modes, Task task,
                              std::span<const TaskItem> items, const Progress& progress) {
  std::vector<TaskRun> runs;
  std::vector<std::unique_ptr<Answerer>> answerers;
  for (const CompareMode& mode : modes) {
    HUNCH_CHECK(!mode.lossless, "tasks have no lossless mode");
    answerers.push_back(answerer(mode.engine ? *mode.engine : engine, mode.context, scoring_of(task)));
    runs.push_back({mode.name});
    runs.back().speed_is_real = !mode.context.has_oracle();
  }
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t m = 0; m < modes.size(); ++m) {
      engine.compute->throw_if_stopped();
      const Timer timer;
      runs[m].outcomes.push_back(answerers[m]->answer(items[i]));
      runs[m].seconds += timer.seconds();
    }
    if (progress) progress("task", i + 1, items.size());
  }
  for (size_t m = 0; m < modes.size(); ++m) {
    const Answerer& a = *answerers[m];
    if (a.seconds > 0) runs[m].tokens_per_s = double(a.stats.n_tokens) / a.seconds;
    runs[m].density_mlp = density_of(modes[m].context, a.stats);
  }
  return runs;
}

}  // namespace hunch
