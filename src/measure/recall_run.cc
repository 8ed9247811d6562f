#include "measure/recall_run.h"

#include <algorithm>

#include "base/error.h"
#include "base/timer.h"
#include "engine/memory_build.h"
#include "engine/sampler.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// In a context of its own, whose plan looks into a memory of the text.
std::unique_ptr<Context> remembering(const Engine& engine, ContextOptions options, const RecallQuestion& q) {
  auto plan = std::make_shared<Plan>(*sequence_options(engine, options).plan);
  auto memory = std::make_shared<const Memory>(build_memory(engine, q.text, {.n_ctx = q.text.size()}));
  plan->memory = std::make_shared<const MemoryReader>(MemoryReader{std::move(memory)});
  options.plan = std::move(plan);
  options.keys = nullptr, options.experts = nullptr, options.prefill.clear();  // the plan has them
  options.n_ctx = q.question.size() + q.answer.size();
  return std::make_unique<Context>(engine, options);
}

RecallOutcome outcome_of(Context& context, const RecallQuestion& q, RecallAsked asked, StepStats& answering) {
  context.truncate(0);
  std::vector<int32_t> prompt = asked == RecallAsked::kFromMemory ? q.question : q.text;
  if (asked == RecallAsked::kInPrompt) prompt.insert(prompt.end(), q.question.begin(), q.question.end());
  std::span<const float> logits = context.append(prompt);
  context.clear_stats();
  if (asked == RecallAsked::kAfter)
    for (const int32_t id : q.question) logits = context.decode({&id, 1});
  RecallOutcome outcome{.exact = true};
  for (size_t i = 0; i < q.answer.size(); ++i) {
    const bool right = int32_t(argmax(logits)) == q.answer[i];
    outcome.exact = outcome.exact && right;
    outcome.tokens += double(right) / double(q.answer.size());
    outcome.log_likelihood += log_prob(logits, q.answer[i]);
    if (i + 1 < q.answer.size()) logits = context.decode({&q.answer[i], 1});
  }
  answering += context.stats();
  return outcome;
}

}  // namespace

std::vector<RecallRun> run_recall(const Engine& engine, std::span<const CompareMode> modes, const RecallSet& set,
                                  RecallAsked asked, const Progress& progress) {
  size_t longest = 0;
  for (const RecallQuestion& q : set.questions)
    longest = std::max(longest, q.text.size() + q.question.size() + q.answer.size());
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<StepStats> answering(modes.size());
  std::vector<RecallRun> runs;
  for (const CompareMode& mode : modes) {
    HUNCH_CHECK(!mode.lossless, "tasks have no lossless mode");
    ContextOptions sized = mode.context;
    sized.n_ctx = longest + (sized.keys ? sized.keys->rereads(SIZE_MAX) : 0);
    contexts.push_back(std::make_unique<Context>(mode.engine ? *mode.engine : engine, sized));
    runs.push_back({mode.name});
  }
  for (size_t i = 0; i < set.questions.size(); ++i) {
    for (size_t m = 0; m < modes.size(); ++m) {
      engine.compute->throw_if_stopped();
      const Timer timer;
      if (asked == RecallAsked::kFromMemory)
        contexts[m] = remembering(modes[m].engine ? *modes[m].engine : engine, modes[m].context, set.questions[i]);
      runs[m].outcomes.push_back(outcome_of(*contexts[m], set.questions[i], asked, answering[m]));
      runs[m].seconds += timer.seconds();
    }
    if (progress) progress("recall", i + 1, set.questions.size());
  }
  for (size_t m = 0; m < modes.size(); ++m)
    if (answering[m].n_tokens)
      runs[m].kv_bytes_per_token = double(answering[m].kv_bytes) / double(answering[m].n_tokens);
  return runs;
}

RecallScore recall_score(const RecallSet& set, std::span<const RecallOutcome> outcomes,
                         const std::function<bool(const RecallQuestion&)>& which) {
  HUNCH_CHECK(outcomes.size() == set.questions.size(), "{} outcomes of {} questions", outcomes.size(),
              set.questions.size());
  std::vector<double> exact, tokens;
  double nll = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (which && !which(set.questions[i])) continue;
    exact.push_back(outcomes[i].exact);
    tokens.push_back(outcomes[i].tokens);
    nll -= outcomes[i].log_likelihood;
  }
  return {exact.size(), mean_and_error(exact), mean_and_error(tokens), exact.empty() ? 0 : nll / double(exact.size())};
}

Mean recall_difference(std::span<const RecallOutcome> a, std::span<const RecallOutcome> b) {
  HUNCH_CHECK(a.size() == b.size(), "{} and {} outcomes of the same questions", a.size(), b.size());
  std::vector<double> by_question;
  for (size_t i = 0; i < a.size(); ++i) by_question.push_back(double(a[i].exact) - double(b[i].exact));
  return mean_and_error(by_question);
}

}  // namespace hunch
