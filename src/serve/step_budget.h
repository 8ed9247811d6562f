// How much of prompts a step may read while others wait for their next token.
#pragma once
#include <array>
#include <cstddef>

namespace hunch::serve {

// Learns from the steps what a token of a prompt takes beside a step that only decodes. (A fixed number of tokens
// cannot fit: on two cores a prompt's token takes a fifth of a decoding step of a 1.1 B model, on an accelerator a
// hundredth; Agrawal et al. 2024, "Sarathi-Serve", section 4.3, choose it by hand for each machine.)
class StepBudget {
 public:
  // A step with prompts takes about so many times a step without.
  static constexpr double kMost = 2.5;
  static constexpr size_t kLeast = 8;     // tokens: prompts go on
  static constexpr size_t kAtFirst = 32;  // before it is known what they take

  explicit StepBudget(size_t step_tokens) : step_tokens_(step_tokens) {}

  // Tokens of prompts of a step in which so many sequences decode; without any as many as a step may have. 0 until a
  // step that only decodes has come: under a stream of prompts none would ever come by itself.
  size_t prompt_tokens(size_t n_decoding) const;
  // A step took so long.
  void note(size_t n_decoding, size_t n_prompt, double seconds);

 private:
  double decoding_seconds(size_t n) const;  // 0: not known

  const size_t step_tokens_;
  std::array<double, 16> decoding_ = {};  // seconds of steps of 1, 2 to 3, 4 to 7, ... sequences; 0: none came yet
  double prompt_token_ = 0;               // seconds
};

}  // namespace hunch::serve
