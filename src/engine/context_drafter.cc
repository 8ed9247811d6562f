#include "engine/context_drafter.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "io/printable.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// A draft continues what the drafter has read; where more is new to it, that is a prompt.
constexpr size_t kMostUnread = 4;

}  // namespace

void require_same_vocabulary(const Engine& target, const Engine& draft) {
  constexpr const char* kNext = "; a draft model must share the target's tokenizer";
  if (!target.tokenizer || !draft.tokenizer) {
    if (target.config().n_vocab != draft.config().n_vocab)
      fail(ErrorKind::kUsage, "the draft model has {} tokens, expected the target's {}{}", draft.config().n_vocab,
           target.config().n_vocab, kNext);
    return;
  }
  const TokenizerSpec &a = target.tokenizer->spec(), &b = draft.tokenizer->spec();
  const size_t n = std::min(a.pieces.size(), b.pieces.size());
  for (size_t id = 0; id < n; ++id)
    if (a.pieces[id] != b.pieces[id])
      fail(ErrorKind::kUsage, "token {} is '{}' in the draft model, expected the target's '{}'{}", id,
           printable(b.pieces[id]), printable(a.pieces[id]), kNext);
  for (const TokenizerSpec* spec : {&a, &b})
    for (size_t id = n; id < spec->pieces.size(); ++id)
      if (spec->types[id] != TokenType::kUnused)
        fail(ErrorKind::kUsage,
             "the draft model has {} tokens, expected the target's {}: '{}' is in one of them only{}", b.pieces.size(),
             a.pieces.size(), printable(spec->pieces[id]), kNext);
}

ContextDrafter::ContextDrafter(const char* name, Context& context, size_t n_vocab)
    : name_(name), context_(context), n_vocab_(std::min(n_vocab, context.n_vocab())) {}

void ContextDrafter::begin(const SamplerOptions& options) {
  sampler_.emplace(options);  // with the seed by which the target draws: see Sampler::sample
  context_.set_only_best(is_argmax(options));
}

bool ContextDrafter::knows(std::span<const int32_t> ids) const {
  return std::ranges::all_of(ids, [&](int32_t id) { return size_t(id) < context_.n_vocab(); });
}

void ContextDrafter::read(std::span<const int32_t> text) {
  size_t n_same = size_t(std::ranges::mismatch(context_.ids(), text).in1 - context_.ids().begin());
  if (n_same == text.size() || text.size() >= context_.n_ctx() || !knows(text)) return;
  context_.append(text.subspan(context_.go_back(n_same)));
}

void ContextDrafter::draft(std::span<const int32_t> text, size_t n_history, size_t n_max, const Pace& pace,
                           Draft& draft) {
  n_max = std::min(n_max, context_.n_ctx() - std::min(context_.n_ctx(), text.size() - 1));
  const bool trial = pace.on_trial(n_max);
  n_max = std::min(pace.n_worth_drafting(Pace::kUnknown, n_max), trial ? Pace::kTrialTokens : n_max);
  if (n_max == 0 || !knows(text)) return;
  const Timer timer;
  // The newest token is always computed: its logits are the first guess.
  const size_t n_same = size_t(std::ranges::mismatch(context_.ids(), text).in1 - context_.ids().begin());
  context_.go_back(std::min(n_same, text.size() - 1));
  text_.assign(text.begin(), text.end());
  text_.reserve(text_.size() + n_max);  // what is unread must not move while it is read
  std::span<const int32_t> unread = std::span(text_).subspan(context_.n_tokens());
  double reach = 1;  // probability that the target accepts all so far
  while (draft.ids.size() < n_max) {
    const std::span<const float> logits =
        (unread.size() > kMostUnread ? context_.append(unread) : context_.decode(unread)).first(n_vocab_);
    ++draft.n_steps;
    const float best = logits[argmax(logits)];
    const double sure = std::exp(double(best) - double(log_sum_exp(logits)));
    const auto evidence = uint8_t(sure > 0 ? std::min(sure * 10, 9.0) : 0.0);  // 0 for NaN too
    reach *= pace.acceptance(evidence);
    if (!trial && !pace.worth_verifying(reach, draft.ids.size())) break;
    const auto history = std::span<const int32_t>(text_).last(n_history + draft.ids.size());
    const int32_t id = sampler_->sample(logits, history, text_.size());
    draft.ids.push_back(id);
    draft.evidence.push_back(evidence);
    text_.push_back(id);
    unread = std::span(text_).last(1);
    if (!trial && !pace.worth_another_step(reach, draft.ids.size())) break;
  }
  draft.seconds = timer.seconds();
}

}  // namespace hunch
