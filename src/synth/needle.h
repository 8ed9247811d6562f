// A model with weights that are computed, not learned: it finds what followed the last token earlier in the text, at
// any distance. With it, a cache that forgets fails where it can be seen. docs/synth.md derives the numbers.
#pragma once
#include <filesystem>
#include <vector>

#include "synth/weights.h"

namespace hunch {

struct NeedleOptions {
  size_t n_vocab = 2048, n_ctx = 8192;
  DType dtype = DType::kF16;
  uint64_t seed = 1;
};

// Where things lie in the residual stream and in the one head of each layer.
struct NeedleLayout {
  static constexpr size_t kCode = 63;                            // values of a token's code
  static constexpr size_t kOwn = 0, kBefore = 64, kFound = 128;  // a token's code, that of the token before it, and
                                                                 // the answer: [kCode] each
  static constexpr size_t kOne = 192, kBegin = 193;              // 1 for every token; 1 for the one that begins texts
  static constexpr size_t kWidth = 256;                          // of the stream
  static constexpr size_t kHead = 128, kRotated = 64;            // values of a head; its first ones are rotated
};

// Two layers of attention (an induction head: Elhage et al. 2021, "A mathematical framework for transformer circuits";
// Olsson et al. 2022): the first gives every token the code of the one before it, the second looks for a token whose
// predecessor has the own code, and takes that token's code for the next. MLPs are zero. Throws Error{kUsage} for sizes
// that are too small or too large.
std::vector<SynthTensor> needle_tensors(const NeedleOptions& options);

// Writes it, a Llama with RoPE over half of a head. Throws as write_synth().
SynthReport write_needle(const std::filesystem::path& output, const NeedleOptions& options, Compute& compute,
                         const Progress& progress = {});

}  // namespace hunch
