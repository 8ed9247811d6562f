// The generation loop: draft (or not), compute, sample, emit.
#include <algorithm>

#include "base/error.h"
#include "base/timer.h"
#include "engine/emission.h"
#include "engine/generate.h"
#include "engine/speculate.h"

namespace hunch {
namespace {

// For the time of one answer.
class OnlyBest {
 public:
  OnlyBest(Context& context, bool only_best) : context_(context) { context_.set_only_best(only_best); }
  ~OnlyBest() { context_.set_only_best(false); }
  OnlyBest(const OnlyBest&) = delete;

 private:
  Context& context_;
};

}  // namespace

const char* name_of(StopReason reason) {
  switch (reason) {
    case StopReason::kLength: return "length";
    case StopReason::kEndOfText: return "end_of_text";
    case StopReason::kStopString: return "stop_string";
    case StopReason::kContextFull: return "context_full";
    case StopReason::kInterrupted: return "interrupted";
  }
  return "unknown";
}

Generated generate(const Engine& engine, Context& context, std::span<const int32_t> prompt_ids,
                   const GenerateOptions& options, const std::function<bool(const GeneratedToken&)>& on_token) {
  Sampler sampler(options.sampler);
  if (options.n_top_log_probs && !options.log_probs)
    fail(ErrorKind::kUsage, "alternatives were asked for without log-probabilities");
  const OnlyBest only_best(context, is_argmax(options.sampler) && !options.log_probs);
  const Tokenizer* tokenizer = engine.tokenizer ? &*engine.tokenizer : nullptr;
  Emission emission(engine, options, on_token, context.n_tokens() + prompt_ids.size(), context.n_ctx());
  Generated& out = emission.out;
  out.n_prompt = prompt_ids.size();
  // After a prompt, the text goes on: its first token keeps the space that it begins with.
  emission.begin_text(context.n_tokens() == 0 && tokenizer && std::ranges::all_of(prompt_ids, [&](int32_t id) {
                        return size_t(id) < tokenizer->n_vocab() && tokenizer->is_control(id);
                      }));

  const StepStats at_start = context.stats();
  Timer timer;
  const std::span<const float> prompt_logits = context.append(prompt_ids);
  // All that the context holds, and the newest token, which it does not hold yet. Penalties look back on
  // the last n_history of them: this prompt and answer.
  std::vector<int32_t> text(context.ids().begin(), context.ids().end());
  size_t n_history = prompt_ids.size();
  Speculation* const speculation = options.speculation;
  if (speculation) speculation->begin(options.sampler, text);
  out.prompt_seconds = timer.seconds();
  const StepStats after_prompt = context.stats();
  out.prompt_stats = after_prompt - at_start;

  timer = Timer();
  const auto note = [&](int32_t id) {
    text.push_back(id);
    ++n_history;
  };
  bool more = emission.n_left() > 0;
  if (more) {
    const int32_t id = sampler.sample(prompt_logits, prompt_ids);
    note(id);
    more = emission.take(id, prompt_logits);
  }
  const Draft none;
  std::vector<int32_t> pass, kept;
  while (more) {
    const size_t n_before = context.n_tokens();
    // The pass yields one token more than was drafted.
    const size_t n_max = std::min(emission.n_left() - 1, context.n_ctx() - n_before - 1);
    const Draft& draft = speculation ? speculation->draft(text, n_history, n_max) : none;
    context.truncate(n_before);  // a drafter may have drafted into the context
    pass.assign(1, text.back());
    pass.insert(pass.end(), draft.ids.begin(), draft.ids.end());
    const Timer pass_timer;
    const MatView<const float> logits = context.verify(pass);
    const double pass_seconds = pass_timer.seconds();

    // Row i follows draft.ids[i - 1]: it counts if that one is what the model itself chose.
    kept.clear();
    for (size_t i = 0; i < pass.size(); ++i) {
      const bool drafted = i < draft.ids.size();
      const std::span<const int32_t> history = std::span<const int32_t>(text).last(n_history);
      const int32_t id = drafted ? sampler.judge(logits.row(i), history, draft.ids[i], draft.q[i])
                                 : sampler.sample(logits.row(i), history);
      kept.push_back(id);
      note(id);
      if (!drafted || id != draft.ids[i]) break;
    }
    context.truncate(n_before + kept.size());
    if (speculation) speculation->verified(kept.size() - 1, pass_seconds);
    for (size_t i = 0; i < kept.size() && more; ++i) {
      more = emission.take(kept[i], logits.row(i));
      if (!more) context.truncate(n_before + i + 1);
    }
  }
  emission.finish();
  const bool ended = out.stop_reason == StopReason::kEndOfText;
  out.n_decoded = std::max<size_t>(out.ids.size() + ended, 1) - 1;
  out.seconds = timer.seconds();
  out.stats = context.stats() - after_prompt;
  return std::move(out);
}

}  // namespace hunch
