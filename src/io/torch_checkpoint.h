// pytorch_model.bin: a zip (or, before torch 1.6, a bare sequence of pickles) of tensors. The
// unpickler builds tensors, dictionaries and numbers and nothing else: no code is ever run.
#pragma once
#include <span>

#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

struct TorchCheckpoint {
  std::vector<Tensor> tensors;  // contiguous row-major
  std::vector<std::shared_ptr<const void>>
      owners;  // copies of what was strided, deflated or at an odd address in the file
};

// Parses a checkpoint's bytes. Tensors are views into `bytes` where they are stored contiguously.
// A state dict may be wrapped in {"state_dict": ...} or {"model": ...}; values that are no tensors are
// passed over. Tied tensors (same storage) appear under each name. Throws Error{kFormat | kUnsupported}, naming
// the opcode or class that is refused, Error{kInterrupted} when `stop` asks for it.
TorchCheckpoint parse_torch_checkpoint(std::span<const std::byte> bytes, const Stop* stop = nullptr);

}  // namespace hunch
