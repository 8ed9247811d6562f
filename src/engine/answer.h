// A request in the making: what it wants of the next step, and what it does with the logits. The batch computes.
#pragma once
#include <exception>

#include "base/timer.h"
#include "engine/batch.h"
#include "engine/draft.h"
#include "engine/emission.h"
#include "engine/generate.h"

namespace hunch {

// First the prompt is read, in chunks; then each pass yields a token, and as many more as were drafted right.
class Answer {
 public:
  using OnToken = std::function<bool(const GeneratedToken&)>;

  // Throws Error{kUsage} for options out of range or a prompt without tokens. The references outlive it.
  Answer(const Engine& engine, Sequence& sequence, Transformer& transformer, std::vector<int32_t> prompt,
         GenerateOptions options, OnToken on_token);
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  bool is_done() const { return is_done_; }
  bool is_reading() const { return n_read_ < prompt_.size(); }
  size_t n_unread() const { return prompt_.size() - n_read_; }
  bool has_begun() const { return n_read_ > 0; }
  Sequence& sequence() const { return sequence_; }
  // What ended it before its end; none: nothing did.
  std::exception_ptr error() const { return error_; }
  // What there is of it; of an answer that is done: all. Throws the error that ended it.
  const Generated& generated() const;

  // The run that it wants next, of at most n_room tokens: of the prompt up to where it must be cut, or else at most
  // n_prompt tokens (more than 0); or the newest token and its draft. Without ids when it was cancelled, or waits until
  // there is room for its part of the prompt. Valid until take().
  SequenceRun next(size_t n_prompt, size_t n_room);
  // The run was computed, in a step of so many seconds: its logits [n_logits, n_vocab].
  void take(MatView<const float> logits, double step_seconds);
  // Lets go of all that its sequence holds, and computes that again before it goes on: others need the room. The answer
  // is the same.
  void begin_anew();
  // Whether it was cancelled, and so ends with what it has; next() asks this too.
  bool ends_if_stopped();
  // Ends it here.
  void fail(std::exception_ptr error);

 private:
  SequenceRun read(size_t n_prompt, size_t n_room);
  void trace(SequenceRun& run);
  void begin(std::span<const float> logits);
  void judge(MatView<const float> logits, double step_seconds);
  // Emission::take of a token of text_, the newest or an earlier one, chosen by this row of the pass; throws where the
  // logit is no number.
  bool emit(int32_t id, std::span<const float> logits, size_t row, bool is_last);
  // The token that follows the text, of those that may.
  int32_t choose(std::span<const float> logits, std::span<const int32_t> history);
  void note(int32_t id);
  void end();

  const Engine& engine_;
  Sequence& sequence_;
  Transformer& transformer_;
  // What is to be read; the last n_answered_ of them were answered before begin_anew().
  std::vector<int32_t> prompt_;
  size_t n_answered_ = 0;
  bool goes_on_ = false;  // after them, with the newest token
  const GenerateOptions options_;
  const OnToken on_token_;
  const bool only_best_;
  const size_t n_best_;  // Run::n_best
  Sampler sampler_;
  const std::unique_ptr<Constraint> constraint_;
  Emission emission_;
  // All that the sequence holds, and the newest token, which it does not hold yet. Penalties look back on the last
  // n_history_ of them: this prompt and answer.
  std::vector<int32_t> text_;
  size_t n_at_start_;  // tokens of the sequence before the prompt
  size_t n_read_ = 0, n_history_ = 0;
  size_t n_asked_ = 0;            // tokens before the answer
  size_t n_before_ = 0;           // tokens of the sequence before the present pass
  const Draft* draft_ = nullptr;  // of the present pass
  std::vector<int32_t> pass_, kept_;
  RunTrace trace_;  // of the present pass's rows of logits
  bool is_done_ = false;
  bool ended_by_constraint_ = false;  // without a token that ends the text
  std::exception_ptr error_;
  Timer timer_;
  StepStats stats_at_start_, stats_after_prompt_;
};

}  // namespace hunch
