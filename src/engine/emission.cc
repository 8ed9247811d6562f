#include "engine/emission.h"

#include <algorithm>

namespace hunch {

size_t StopStrings::find(const std::string& text, size_t from, std::string& which) const {
  size_t first = text.npos;
  for (const std::string& s : stops_) {
    const size_t at = s.empty() ? text.npos : text.find(s, from);
    if (at >= first) continue;
    first = at;
    which = s;
  }
  return first;
}

size_t StopStrings::held_back(const std::string& text) const {
  size_t longest = 0;
  for (const std::string& s : stops_)
    for (size_t n = std::min(s.empty() ? 0 : s.size() - 1, text.size()); n > longest; --n)
      if (text.ends_with(std::string_view(s).substr(0, n))) longest = n;
  return longest;
}

Emission::Emission(const Engine& engine, const GenerateOptions& options, const OnToken& on_token, size_t n_before,
                   size_t n_ctx)
    : options_(options),
      on_token_(on_token),
      compute_(*engine.compute),
      tokenizer_(engine.tokenizer ? &*engine.tokenizer : nullptr),
      stops_(options.stop),
      n_before_(n_before),
      n_ctx_(n_ctx) {
  begin_text(false);
}

void Emission::begin_text(bool begins) {
  if (tokenizer_) decoder_.emplace(*tokenizer_, true, begins);
}

// A control token has no text in the answer, but one by which people name it.
bool Emission::is_stop(int32_t id) const {
  return tokenizer_ && tokenizer_->is_control(id) &&
         std::ranges::find(options_.stop, tokenizer_->spec().pieces[size_t(id)]) != options_.stop.end();
}

size_t Emission::n_left() {
  if (out.ids.size() >= options_.n_tokens) out.stop_reason = StopReason::kLength;
  return options_.n_tokens - std::min(options_.n_tokens, out.ids.size());
}

bool Emission::take(int32_t id, std::span<const float> logits, std::span<const LayerUse> layers) {
  const auto token_with = [&](std::span<const LayerUse> uses) {
    GeneratedToken token{id, {}, options_.log_probs ? log_prob(logits, id) : 0.0f, {}};
    if (options_.n_top_log_probs) token.top = top_log_probs(logits, options_.n_top_log_probs);
    token.layers.assign(uses.begin(), uses.end());
    return token;
  };
  if (tokenizer_ && !options_.ignore_end && tokenizer_->is_end_of_generation(id)) {
    if (options_.log_probs) out.end_token = token_with({});
    out.stop_reason = StopReason::kEndOfText;
    return false;
  }
  if (is_stop(id)) {
    out.stop_reason = StopReason::kStopString;
    out.stop_string = tokenizer_->piece(id);
    return false;
  }
  GeneratedToken token = token_with(layers);
  out.ids.push_back(id);
  if (decoder_) out.text += decoder_->push(id);
  if (std::ranges::find(options_.shown, id) != options_.shown.end()) out.text += tokenizer_->piece(id);

  // What might have begun one was not shown.
  if (const size_t at = stops_.find(out.text, n_shown_, out.stop_string); at != out.text.npos) {
    out.text.resize(at);
    show(std::move(token), out.text.size());
    out.stop_reason = StopReason::kStopString;
    return false;
  }
  show(std::move(token), std::max(n_shown_, out.text.size() - stops_.held_back(out.text)));
  if (stopped_ || options_.is_stopped() || compute_.is_stopped()) {
    out.stop_reason = StopReason::kInterrupted;
    return false;
  }
  if (n_left() == 0) return false;
  // The newest token is not in the context yet, and must fit to be followed.
  if (n_before_ + out.ids.size() - 1 >= n_ctx_) {
    out.stop_reason = StopReason::kContextFull;
    return false;
  }
  return true;
}

void Emission::finish() {
  if (!decoder_) return;
  const size_t before = out.text.size();
  const std::string rest = decoder_->finish();
  if (out.stop_reason != StopReason::kStopString) out.text += rest;
  if ((out.text.size() > n_shown_ || before > n_shown_) && on_token_ && !out.ids.empty())
    show({out.ids.back(), {}, 0, {}}, out.text.size());
}

void Emission::show(GeneratedToken token, size_t n_bytes) {
  token.text = out.text.substr(n_shown_, n_bytes - n_shown_);
  n_shown_ = n_bytes;
  if (on_token_ && !on_token_(token)) stopped_ = true;
}

}  // namespace hunch
