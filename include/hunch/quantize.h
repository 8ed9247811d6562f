// Writing a model in another type: `hunch convert` and `hunch quantize`.
//
// Example:
//   const hunch::Quantized made = hunch::quantize("model.gguf", "model-q4.gguf", {.type = "q4_k_m"});
//   std::cout << made.path.string() << ": " << made.bits_per_weight << " bits per weight\n";
//
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/error.h"
#include "hunch/progress.h"

namespace hunch {

struct QuantizeOptions {
  // Of the matrices: a type, "q4_0", "f16" (docs/kernels.md), a mix, "q4_k_m" (docs/loading.md), or "auto": blocks stay
  // what they are, the others become f16.
  std::string type = "q8_0";
  // Of down projections: "rows", which others read too; "neuron", of which rows of neurons can be skipped; "auto": by
  // neuron where others cannot read the model anyway.
  std::string layout = "auto";
  std::filesystem::path importance = {};  // an importance matrix (`hunch imatrix`); empty: all errors weigh the same
  bool replace = false;                   // a file that is there already
  std::size_t n_threads = 0;              // 0: one per physical core that the process may use
  OnProgress on_progress = {};
  const Cancel* cancel = nullptr;  // ends the call with Error{kInterrupted}; no file is then left behind
};

struct Quantized {
  std::filesystem::path path;
  std::size_t n_tensors = 0;
  std::uint64_t bytes = 0;  // of the file
  double bits_per_weight = 0;
  std::vector<std::string> notes;  // what could not be written as asked, and why
};

// Writes the model in `source`, a GGUF file, a Hugging Face folder or a llama2.c .bin, as a GGUF file, which appears
// when it is whole. Throws Error{kUsage} for unknown names, and for an output that is there or that is the source,
// Error{kUnsupported} for blocks that would have to be rounded a second time, else as LanguageModel.
Quantized quantize(const std::filesystem::path& source, const std::filesystem::path& output,
                   const QuantizeOptions& options = {});

}  // namespace hunch
