// The quantised matrices of a Hugging Face folder as the rest of hunch knows matrices: in a block format that holds
// the same numbers, else as floats.
#pragma once
#include <string>
#include <vector>

#include "io/hf_folder.h"
#include "io/quantised_config.h"

namespace hunch {

enum class QuantisedAs : uint8_t {
  kAuto,    // floats where all of them take less than 64 MiB: nothing is gained by blocks there; else blocks
  kBlocks,  // a block format where it holds the very same numbers; products then round the inputs to int8
  kFloats,  // f16 or bf16 where these hold the same numbers, else f32
};

// What was made of them.
struct QuantisedReport {
  struct Became {
    DType dtype;
    size_t n_matrices;
    uint64_t bytes;
    size_t n_ordered = 0;  // of them, with the inputs in another order
  };
  std::string method;  // QuantisedConfig::text; empty: the folder was not quantised
  std::vector<Became> became;
  uint64_t stored_bytes = 0;  // in the checkpoint

  std::string text() const;  // one line for people; empty where `method` is
};

// Replaces the tensors that make up quantised matrices by the matrices, decoded exactly; other tensors stay. Where
// neighbouring inputs do not share their scales, blocks have their columns in another order, which `folder.orders`
// says. Matrices of the experts of one layer get one type. n_threads: 0 is default_n_threads(). Nothing is done where
// the folder has no quantisation. Throws Error{kUnsupported | kFormat} naming the method or the tensor, Error{kMemory}
// before anything is taken, Error{kInterrupted} when `stop` asks for it.
QuantisedReport decode_quantised(HfFolder& folder, QuantisedAs as, const Stop* stop = nullptr, size_t n_threads = 0);

}  // namespace hunch
