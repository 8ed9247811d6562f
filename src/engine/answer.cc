#include "engine/answer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/not_finite.h"
#include "engine/speculate.h"

namespace hunch {
namespace {

const Draft kNoDraft;

}  // namespace

Answer::Answer(const Engine& engine, Sequence& sequence, Transformer& transformer, std::vector<int32_t> prompt,
               GenerateOptions options, OnToken on_token)
    : engine_(engine),
      sequence_(sequence),
      transformer_(transformer),
      prompt_(std::move(prompt)),
      options_(std::move(options)),
      on_token_(std::move(on_token)),
      only_best_(is_argmax(options_.sampler) && !options_.log_probs && !options_.constraint),
      n_best_(options_.log_probs || options_.constraint ? 0 : n_deciding(options_.sampler)),
      sampler_(options_.sampler),
      constraint_(options_.constraint ? options_.constraint() : nullptr),
      emission_(engine, options_, on_token_, sequence.n_tokens() + prompt_.size(),
                sequence.n_tokens() + sequence.n_left()),
      n_at_start_(sequence.n_tokens()),
      n_history_(options_.n_history + prompt_.size()) {
  if (prompt_.empty()) hunch::fail(ErrorKind::kUsage, "nothing to compute: the prompt has no tokens");
  if (options_.speculation && sequence.plan().drops_keys())
    hunch::fail(ErrorKind::kUnsupported,
                "drafts cannot be verified while a key policy (kv_policy) drops tokens after every one: leave out one "
                "of the two");
  for (const auto& [id, bias] : options_.sampler.logit_bias)
    if (id < 0 || size_t(id) >= engine.config().n_vocab)
      hunch::fail(ErrorKind::kUsage, "a bias (logit_bias) of token id {}, expected 0 to {}", id,
                  engine.config().n_vocab - 1);
  if (options_.n_top_log_probs && !options_.log_probs)
    hunch::fail(ErrorKind::kUsage, "alternatives were asked for without log-probabilities");
  if (options_.n_history > n_at_start_)
    hunch::fail(ErrorKind::kUsage,
                "the prompt is said to begin {} tokens before what is to be read (n_history), the text has {}",
                options_.n_history, n_at_start_);
  emission_.out.n_prompt = prompt_.size();
  // After a prompt, the text goes on: its first token keeps the space that it begins with.
  const Tokenizer* tokenizer = engine.tokenizer ? &*engine.tokenizer : nullptr;
  emission_.begin_text(sequence.n_tokens() == 0 && tokenizer && std::ranges::all_of(prompt_, [&](int32_t id) {
                         return size_t(id) < tokenizer->n_vocab() && tokenizer->is_control(id);
                       }));
}

const Generated& Answer::generated() const {
  if (error_) std::rethrow_exception(error_);
  return emission_.out;
}

bool Answer::ends_if_stopped() {
  if (!options_.is_stopped()) return false;
  emission_.out.stop_reason = StopReason::kInterrupted;
  end();
  return true;
}

// A part of the prompt; what was answered before begin_anew() is computed as it was then.
SequenceRun Answer::read(size_t n_prompt, size_t n_room) {
  SequenceRun run{&sequence_};
  size_t n = 0;
  if (const size_t n_asked = n_unread() - std::min(n_unread(), n_answered_)) {
    n = sequence_.n_together(n_asked, std::min(n_prompt, n_room));
    run.as_alone = options_.as_alone;
    run.n_text = sequence_.n_tokens() + n_asked;
  } else {
    const size_t n_alike = sequence_.n_until_renewal();
    n = std::min({n_unread(), sequence_.plan().drops_keys() ? 1 : kMaxDraftTokens, n_prompt, n_room,
                  n_alike == 0 ? SIZE_MAX : n_alike});
    run.as_alone = options_.as_alone || options_.speculation;
    run.phase = n > 1 ? Phase::kVerify : Phase::kDecode;
  }
  if (n == 0 || n > n_room) return {};
  if (n_read_ == 0 && !goes_on_) {
    timer_ = Timer();
    stats_at_start_ = transformer_.stats;
  }
  run.ids = std::span(prompt_).subspan(n_read_, n);
  run.n_logits = !goes_on_ && n == n_unread();
  run.n_best = n_best_;
  if (run.n_logits) trace(run);
  return run;
}

SequenceRun Answer::next(size_t n_prompt, size_t n_room) {
  if (ends_if_stopped()) return {};
  if (is_reading()) return read(n_prompt, n_room);
  SequenceRun run{&sequence_};
  run.as_alone = options_.as_alone || options_.speculation;
  run.only_best = only_best_;
  run.n_best = n_best_;
  n_before_ = sequence_.n_tokens();
  // The pass yields one token more than was drafted, and its keys are all of a text of one length.
  const size_t n_alike = sequence_.n_until_renewal();
  const size_t n_max = std::min({sequence_.most_drafted(), emission_.n_left() - 1, sequence_.n_left() - 1, n_room - 1,
                                 n_alike == 0 ? SIZE_MAX : n_alike - 1});
  draft_ = options_.speculation ? &options_.speculation->draft(text_, n_history_, n_max) : &kNoDraft;
  sequence_.truncate(n_before_);  // a drafter may have drafted into it
  pass_.assign(1, text_.back());
  size_t n_drafted = draft_->ids.size();
  if (constraint_) {  // what may not follow would not be kept
    n_drafted = 0;
    while (n_drafted < draft_->ids.size() && constraint_->accept(draft_->ids[n_drafted])) ++n_drafted;
    constraint_->go_back(n_drafted);
  }
  pass_.insert(pass_.end(), draft_->ids.begin(), draft_->ids.begin() + ptrdiff_t(n_drafted));
  run.ids = pass_;
  run.n_logits = pass_.size();
  trace(run);
  run.phase = pass_.size() > 1 ? Phase::kVerify : Phase::kDecode;
  return run;
}

void Answer::trace(SequenceRun& run) {
  if (!options_.trace) return;
  trace_.n_last = run.n_logits;
  run.trace = &trace_;
}

void Answer::take(MatView<const float> logits, double step_seconds) {
  try {
    if (!is_reading()) return judge(logits, step_seconds);
    n_read_ = sequence_.n_tokens() - n_at_start_;
    if (is_reading()) return;
    if (goes_on_) {
      goes_on_ = false;
    } else {
      begin(logits.row(0));
    }
  } catch (...) {
    fail(std::current_exception());
  }
}

// The prompt is read: these are the logits after it.
void Answer::begin(std::span<const float> logits) {
  sequence_.pack_settled();
  if (emission_.n_left() > 0) sequence_.settle_keys(transformer_);
  sequence_.checkpoint();  // the next question may leave out this answer, or its thinking
  const std::span<const int32_t> held = sequence_.ids();
  text_.reserve(held.size() + std::min(options_.n_tokens, sequence_.n_left()) + 1);
  text_.assign(held.begin(), held.end());
  n_asked_ = text_.size();
  if (options_.speculation) options_.speculation->begin(options_.sampler, text_);
  Generated& out = emission_.out;
  out.prompt_seconds = timer_.seconds();
  stats_after_prompt_ = transformer_.stats;
  out.prompt_stats = stats_after_prompt_ - stats_at_start_;
  timer_ = Timer();
  if (emission_.n_left() == 0) return end();
  const int32_t id = choose(logits, std::span<const int32_t>(text_).last(n_history_));
  note(id);
  if (!emit(id, logits, 0, true)) end();
}

// Row i follows the drafted token i - 1: it counts if that one is what the model itself chose.
void Answer::judge(MatView<const float> logits, double step_seconds) {
  const Draft& draft = *draft_;
  kept_.clear();
  for (size_t i = 0; i < pass_.size(); ++i) {
    const bool drafted = i + 1 < pass_.size();
    const std::span<const int32_t> history = std::span<const int32_t>(text_).last(n_history_);
    const int32_t id = choose(logits.row(i), history);
    kept_.push_back(id);
    note(id);
    if (!drafted || id != draft.ids[i] || (constraint_ && constraint_->is_over())) break;
  }
  sequence_.truncate(n_before_ + kept_.size());
  if (options_.speculation) options_.speculation->verified(kept_.size() - 1, step_seconds);
  for (size_t i = 0; i < kept_.size(); ++i) {
    if (emit(kept_[i], logits.row(i), i, i + 1 == kept_.size())) continue;
    sequence_.truncate(n_before_ + i + 1);
    return end();
  }
}

bool Answer::emit(int32_t id, std::span<const float> logits, size_t row, bool is_last) {
  if (!std::isfinite(logits[size_t(id)]))
    fail_not_finite(engine_, std::span(text_).first(text_.size() - 1),
                    fmt::format("the logit of token {} is {}", id, logits[size_t(id)]));
  const bool goes_on = emission_.take(id, logits, options_.trace ? trace_.of(row) : std::span<const LayerUse>());
  if (!constraint_ || !is_last || !constraint_->is_over()) return goes_on;
  Generated& out = emission_.out;
  if (goes_on || out.stop_reason == StopReason::kLength || out.stop_reason == StopReason::kContextFull) {
    out.stop_reason = StopReason::kEndOfText;
    ended_by_constraint_ = true;
  }
  return false;
}

int32_t Answer::choose(std::span<const float> logits, std::span<const int32_t> history) {
  if (!constraint_) return sampler_.sample(logits, history, text_.size());
  const int32_t id = sampler_.sample(logits, history, text_.size(), constraint_->mask());
  if (id < 0) hunch::fail(ErrorKind::kUnsupported, "no token of the vocabulary goes on as the grammar says");
  HUNCH_CHECK(constraint_->accept(id));
  return id;
}

void Answer::note(int32_t id) {
  text_.push_back(id);
  ++n_history_;
}

void Answer::end() {
  is_done_ = true;
  emission_.finish();
  Generated& out = emission_.out;
  const bool ended = out.stop_reason == StopReason::kEndOfText && !ended_by_constraint_;
  out.n_decoded = std::max<size_t>(out.ids.size() + ended, 1) - 1;
  if (is_reading()) return;
  out.seconds = timer_.seconds();
  out.stats = transformer_.stats - stats_after_prompt_;
}

void Answer::begin_anew() {
  HUNCH_CHECK(!is_done_, "an answer that is done");
  if (!is_reading()) {
    goes_on_ = true;
    n_answered_ = text_.size() - 1 - n_asked_;
  }
  std::vector<int32_t> ids(sequence_.ids().begin(), sequence_.ids().end());
  ids.insert(ids.end(), prompt_.begin() + ptrdiff_t(n_read_), prompt_.end());
  prompt_ = std::move(ids);
  n_at_start_ = n_read_ = 0;
  sequence_.truncate(0);
}

void Answer::fail(std::exception_ptr error) {
  is_done_ = true;
  error_ = std::move(error);
}

}  // namespace hunch
