// The generation loop: append, sample, decode, stop.
#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/timer.h"
#include "engine/session.h"

namespace hunch {
namespace {

// Where a stop string begins in `text`, or npos; and how much of the end might still become one.
class StopStrings {
 public:
  explicit StopStrings(const std::vector<std::string>& stops) : stops_(stops) {}

  size_t find(const std::string& text) const {
    size_t first = text.npos;
    for (const std::string& s : stops_)
      if (!s.empty()) first = std::min(first, text.find(s));
    return first;
  }
  size_t held_back(const std::string& text) const {
    size_t longest = 0;
    for (const std::string& s : stops_)
      for (size_t n = std::min(s.empty() ? 0 : s.size() - 1, text.size()); n > longest; --n)
        if (text.ends_with(std::string_view(s).substr(0, n))) longest = n;
    return longest;
  }

 private:
  const std::vector<std::string>& stops_;
};

ForwardStats difference(const ForwardStats& now, const ForwardStats& before) {
  ForwardStats d = now;
  d.n_tokens -= before.n_tokens;
  d.weight_bytes -= before.weight_bytes;
  d.kv_bytes -= before.kv_bytes;
  const auto subtract = [](std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
    for (size_t i = 0; i < b.size(); ++i) a[i] -= b[i];
  };
  subtract(d.active_neurons, before.active_neurons);
  subtract(d.all_neurons, before.all_neurons);
  subtract(d.active_heads, before.active_heads);
  subtract(d.all_heads, before.all_heads);
  return d;
}

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

Generated generate(const Engine& engine, Context& context, std::span<const int32_t> prompt_ids, const GenerateOptions& options,
                   const std::function<bool(const GeneratedToken&)>& on_token) {
  Generated out;
  out.n_prompt = prompt_ids.size();
  Sampler sampler(options.sampler);
  std::vector<int32_t> history(prompt_ids.begin(), prompt_ids.end());
  const Tokenizer* tokenizer = engine.tokenizer ? &*engine.tokenizer : nullptr;
  std::optional<StreamDecoder> decoder;
  // After a prompt, the text goes on: its first token keeps the space that it begins with.
  const bool begins_text = context.n_tokens() == 0 && tokenizer && std::ranges::all_of(prompt_ids, [&](int32_t id) {
    return size_t(id) < tokenizer->n_vocab() && tokenizer->is_control(id);
  });
  if (tokenizer) decoder.emplace(*tokenizer, true, begins_text);
  const StopStrings stops(options.stop);

  const ForwardStats at_start = context.stats();
  Timer timer;
  std::span<const float> logits = context.append(prompt_ids);
  out.prompt_seconds = timer.seconds();
  const ForwardStats after_prompt = context.stats();
  out.prompt_stats = difference(after_prompt, at_start);

  timer = Timer();
  size_t n_shown = 0;  // bytes of out.text that were handed to on_token
  bool stopped = false;
  const auto show = [&](GeneratedToken token, size_t n_bytes) {
    token.text = out.text.substr(n_shown, n_bytes - n_shown);
    n_shown = n_bytes;
    if (on_token && !on_token(token)) stopped = true;
  };
  while (true) {
    if (out.ids.size() >= options.n_tokens) {
      out.stop_reason = StopReason::kLength;
      break;
    }
    const int32_t id = sampler.sample(logits, history);
    if (tokenizer && !options.ignore_end && tokenizer->is_end_of_generation(id)) {
      out.stop_reason = StopReason::kEndOfText;
      break;
    }
    GeneratedToken token{id, {}, log_prob(logits, id), {}};
    if (options.n_top_log_probs) token.top = top_log_probs(logits, options.n_top_log_probs);
    out.ids.push_back(id);
    history.push_back(id);
    if (decoder) out.text += decoder->push(id);

    if (const size_t at = stops.find(out.text); at != out.text.npos) {
      out.text.resize(std::max(at, n_shown));
      show(std::move(token), out.text.size());
      out.stop_reason = StopReason::kStopString;
      break;
    }
    show(std::move(token), std::max(n_shown, out.text.size() - stops.held_back(out.text)));
    if (stopped || take_interrupt()) {
      out.stop_reason = StopReason::kInterrupted;
      break;
    }
    if (out.ids.size() >= options.n_tokens) continue;
    if (context.n_tokens() >= context.n_ctx()) {
      out.stop_reason = StopReason::kContextFull;
      break;
    }
    logits = context.append({&id, 1});
  }
  if (decoder) {
    const size_t before = out.text.size();
    const std::string rest = decoder->finish();
    if (out.stop_reason != StopReason::kStopString) out.text += rest;
    if ((out.text.size() > n_shown || before > n_shown) && on_token && !out.ids.empty()) show({out.ids.back(), {}, 0, {}}, out.text.size());
  }
  out.seconds = timer.seconds();
  out.stats = difference(context.stats(), after_prompt);
  return out;
}

}  // namespace hunch
