#include "measure/tasks.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/timer.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

struct Score {
  double log_likelihood = 0;
  bool greedy = true;  // every token of the continuation was the most probable one
};

// Tokens of context and continuation as the harness splits them: both are encoded together, so that
// a token never straddles the border differently than in running text; spaces at the context's end
// belong to the continuation; no BOS.
std::pair<std::vector<int32_t>, size_t> encode_pair(const Tokenizer& tokenizer, std::string context,
                                                    std::string continuation) {
  const size_t end = context.find_last_not_of(" \t\n\r") + 1;
  continuation.insert(0, context.substr(end));
  context.resize(end);
  const EncodeOptions plain{false, false};
  std::vector<int32_t> ids = tokenizer.encode(context + continuation, plain);
  return {ids, std::min(tokenizer.encode(context, plain).size(), ids.empty() ? 0 : ids.size() - 1)};
}

class Scorer {
 public:
  Scorer(const Engine& engine, const ContextOptions& options)
      : tokenizer_(engine.need_tokenizer()), context_(engine, sized(engine, options)) {}

  Score score(const std::string& before, const std::string& continuation) {
    auto pair = encode_pair(tokenizer_, before, continuation);
    std::vector<int32_t> ids = std::move(pair.first);  // not a structured binding: clang 14 captures none in a lambda
    size_t n_before = pair.second;
    if (n_before == 0) {  // nothing to predict the first token from: the harness puts end-of-text there
      const auto& spec = tokenizer_.spec();
      ids.insert(ids.begin(), spec.bos.value_or(spec.eos.value_or(0)));
      n_before = 1;
    }
    const size_t room = context_.n_ctx() + 1;  // the last token is predicted, not read; older context falls away
    if (ids.size() > room) {
      const size_t drop = ids.size() - room;
      if (drop >= n_before)
        fail(ErrorKind::kLimit,
             "a continuation of {} tokens does not fit into a context of {}; take a larger one (n_ctx)",
             ids.size() - n_before, context_.n_ctx());
      ids.erase(ids.begin(), ids.begin() + long(drop));
      n_before -= drop;
    }
    reuse_prefix(ids);
    context_.set_prompt(n_before);
    Score s;
    const size_t first_new = context_.n_tokens();
    context_.append_all(std::span(ids).subspan(first_new, ids.size() - 1 - first_new),
                        [&](size_t first, MatView<const float> logits) {
                          for (size_t i = 0; i < logits.rows; ++i) {
                            const size_t predicted = first_new + first + i + 1;
                            if (predicted < n_before) continue;
                            s.log_likelihood += log_prob(logits.row(i), ids[predicted]);
                            s.greedy = s.greedy && int32_t(argmax(logits.row(i))) == ids[predicted];
                          }
                        });
    held_.assign(ids.begin(), ids.end() - 1);
    limit_ = n_before - 1;
    return s;
  }

 private:
  static ContextOptions sized(const Engine& engine, ContextOptions options) {
    if (options.n_ctx == 0) options.n_ctx = std::min<size_t>(engine.config().n_ctx_train, 2048);
    return options;
  }

  // Choices of one question share their context: its keys and values are kept. The last context
  // token is computed again, because its logits are needed.
  void reuse_prefix(const std::vector<int32_t>& ids) {
    size_t same = 0;
    // Where the prompt chooses neurons, it must be seen whole.
    while (!context_.learns_from_prompts() && same < std::min({held_.size(), limit_, ids.size() - 1}) &&
           held_[same] == ids[same])
      ++same;
    context_.truncate(same);
  }

  const Tokenizer& tokenizer_;
  Context context_;
  std::vector<int32_t> held_;
  size_t limit_ = 0;
};

size_t n_characters(const std::string& text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

}  // namespace

TaskResult evaluate_task(const Engine& engine, const ContextOptions& options, Task task,
                         const std::vector<TaskItem>& items, const Progress& progress) {
  if (items.empty()) fail(ErrorKind::kUsage, "the task's file has no items");
  Scorer scorer(engine, options);
  const Timer timer;
  TaskResult out;
  double nll = 0;
  for (const TaskItem& item : items) {
    engine.compute->throw_if_stopped();
    if (task == Task::kLambada) {
      const Score s = scorer.score(item.contexts[0], item.continuations[0]);
      out.acc += s.greedy;
      nll -= s.log_likelihood;
    } else {
      size_t best = 0, best_norm = 0;
      double most = -INFINITY, most_norm = -INFINITY;
      for (size_t i = 0; i < item.contexts.size(); ++i) {
        const double ll = scorer.score(item.contexts[i], item.continuations[i]).log_likelihood;
        // The harness divides by the characters of the choice, without the space before it.
        const double norm = ll / double(std::max<size_t>(
                                     1, n_characters(item.continuations[i]) - item.continuations[i].starts_with(' ')));
        if (ll > most) most = ll, best = i;
        if (norm > most_norm) most_norm = norm, best_norm = i;
      }
      out.acc += best == item.gold;
      out.acc_norm += best_norm == item.gold;
    }
    ++out.n;
    if (progress) progress("task", out.n, items.size());
  }
  out.acc /= double(out.n);
  out.acc_norm = task == Task::kLambada ? out.acc : out.acc_norm / double(out.n);
  out.acc_stderr = out.n > 1 ? std::sqrt(out.acc * (1 - out.acc) / double(out.n - 1)) : 0.0;
  if (task == Task::kLambada) out.perplexity = std::exp(nll / double(out.n));
  out.seconds = timer.seconds();
  return out;
}

}  // namespace hunch
