#include "api/options.h"

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"

namespace hunch {
namespace {

SamplerOptions sampler_options(const GenerationOptions& o) {
  SamplerOptions s;
  s.logit_bias = o.logit_bias;
  s.repeat_penalty = o.repeat_penalty;
  s.frequency_penalty = o.frequency_penalty;
  s.presence_penalty = o.presence_penalty;
  s.penalty_last_n = o.penalty_last_n;
  s.temperature = o.temperature;
  s.top_k = o.top_k;
  s.typical_p = o.typical_p;
  s.top_p = o.top_p;
  s.min_p = o.min_p;
  s.seed = o.seed;
  return s;
}

double density_of(const StepStats& stats) {
  double active = 0, all = 0;
  for (const uint64_t n : stats.active_neurons) active += double(n);
  for (const uint64_t n : stats.all_neurons) all += double(n);
  return all > 0 ? active / all : 1;
}

}  // namespace

GenerateOptions generate_options(const GenerationOptions& o) {
  for (const std::string& text : o.stop)
    if (text.empty()) fail(ErrorKind::kUsage, "an empty text to stop before, expected one with characters (stop)");
  GenerateOptions g;
  g.n_tokens = o.n_tokens;
  g.sampler = sampler_options(o);
  g.stop = o.stop;
  g.ignore_end = o.ignore_end;
  g.log_probs = o.log_probs;
  g.n_top_log_probs = o.n_top_log_probs;
  g.as_alone = o.as_alone;
  g.cancel = stop_of(o.cancel);
  return g;
}

DraftingOptions drafting_options(const DraftOptions& o, const Engine& engine) {
  DraftingOptions d;
  d.ngram = o.ngram || o.lossless;
  d.sparse = o.lossless && engine.sidecar;
  if (o.model && &impl_of(*o.model)->engine == &engine)
    fail(ErrorKind::kUsage, "a model cannot draft for itself as it is; `lossless` drafts with its sparse plan");
  if (o.model) d.model = std::shared_ptr<const Engine>(impl_of(*o.model), &impl_of(*o.model)->engine);
  d.n_tokens = o.n_tokens;
  if (o.n_tokens && !d.any())
    fail(ErrorKind::kUsage, "{} tokens are to be drafted, but nobody is named who drafts them", o.n_tokens);
  return d;
}

DraftCount drafts_of(const Speculation* speculation) {
  DraftCount count;
  if (!speculation) return count;
  for (const Speculation::DrafterStats& s : speculation->stats()) {
    count.n_drafted += s.n_drafted;
    count.n_accepted += s.n_accepted;
  }
  return count;
}

bool AnswerRecord::take(const GeneratedToken& token) {
  if (options_.log_probs) log_probs_.push_back(token.log_prob);
  if (options_.n_top_log_probs) {
    std::vector<TokenLogProb>& top = top_log_probs_.emplace_back();
    for (const TokenProbability& p : token.top) top.push_back({.id = p.id, .log_prob = p.log_prob});
  }
  return token.text.empty() || !on_text_ || on_text_(token.text);
}

Generation AnswerRecord::generation(const Generated& g, const DraftCount& drafts) {
  // Text that was held back is shown at the end, once more with the last token's id.
  if (options_.log_probs) log_probs_.resize(g.ids.size());
  if (options_.n_top_log_probs) top_log_probs_.resize(g.ids.size());
  Generation out;
  out.text = g.text;
  out.ids = g.ids;
  out.log_probs = std::move(log_probs_);
  out.top_log_probs = std::move(top_log_probs_);
  out.n_prompt = g.n_prompt;
  out.stop_reason = name_of(g.stop_reason);
  if (g.prompt_seconds > 0) out.prompt_tokens_per_s = double(g.n_prompt) / g.prompt_seconds;
  if (g.seconds > 0) {
    out.tokens_per_s = double(g.n_decoded) / g.seconds;
    out.gb_per_s = double(g.stats.weight_bytes + g.stats.kv_bytes) / g.seconds / 1e9;
  }
  out.density = density_of(g.stats);
  out.n_drafted = drafts.n_drafted;
  out.n_accepted = drafts.n_accepted;
  return out;
}

}  // namespace hunch
