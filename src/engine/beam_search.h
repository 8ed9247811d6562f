// The most probable answers, instead of drawn ones: several texts in the making at once, of which the best go on.
#pragma once
#include <string>
#include <vector>

#include "engine/batch.h"
#include "engine/generate.h"

namespace hunch {

struct BeamOptions {
  static constexpr size_t kMostWidth = 20;
  size_t width = 4;       // texts in the making, 1 (greedy) to kMostWidth
  size_t n_tokens = 128;  // of an answer, at most; 1 or more
  // An answer's score is the sum of its tokens' log-probabilities over (their number ^ length_penalty): 0 prefers short
  // ones, more than 1 long ones. The token that ends it counts.
  float length_penalty = 1;
  std::vector<std::string> stop;  // ends an answer, as GenerateOptions::stop
  bool ignore_end = false, as_alone = false;
};

struct Beam {
  std::vector<int32_t> ids;      // without a token that ended it
  std::vector<float> log_probs;  // of each of them
  double log_prob = 0;           // of all, with the token that ended it
  double score = 0;
  StopReason stop_reason = StopReason::kLength;
  std::string stop_string = {};
};

// Beams share the pages of the prompt and of what they have in common. Source: Sutskever et al. 2014, "Sequence to
// Sequence Learning with Neural Networks" (arXiv:1409.3215), section 3.2; the penalty of lengths as Hugging Face's and
// vLLM's. A token that ends a text counts where it is among the `width` best continuations of all.
class BeamSearch {
 public:
  // `sequence` holds a beginning of `prompt`, without its last token, and belongs to nobody else; `engine`, `batch` and
  // it outlive this. Throws Error{kUsage} for options out of range, Error{kUnsupported} where the plan remembers what
  // cannot be copied (GRIFFIN).
  BeamSearch(const Engine& engine, Batch& batch, Sequence& sequence, std::vector<int32_t> prompt, BeamOptions options);

  // Reads at most so many more tokens of the prompt, or computes the next token of every beam, in a step of its own.
  // False when it is done. Throws as Batch::compute(); the beams are then what they were.
  bool step(size_t most_prompt);
  bool is_done() const { return is_done_; }
  // It ends here, with what it has.
  void end(StopReason reason);
  // Pages that the next step needs at most.
  size_t n_pages_due() const;

  // When it is done: the n best, or as many as there are, the best first.
  std::vector<Beam> best(size_t n) const;

 private:
  struct Live {
    Beam beam;
    std::unique_ptr<Sequence> sequence;  // holds all but the newest token; none: the prompt's, before the first token
  };
  struct Candidate {
    size_t parent;
    int32_t id;
    float own;   // log-probability
    double sum;  // with what was before
  };
  void read(size_t most_prompt);
  // The next beams, of the logits that each of these has, [live_.size(), n_vocab].
  void expand(MatView<const float> logits);
  void finish(Beam beam, StopReason reason, size_t n_tokens);
  bool is_stopped(Beam& beam) const;  // by one of its strings: named in it
  bool none_can_win() const;

  const Engine& engine_;
  Batch& batch_;
  Sequence& sequence_;
  const std::vector<int32_t> prompt_;
  const BeamOptions options_;
  std::vector<Live> live_;
  std::vector<Beam> finished_;  // the best first, at most `width`
  bool is_done_ = false;
};

}  // namespace hunch
