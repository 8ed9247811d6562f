// What `hunch memory` makes of a text.
#pragma once
#include <span>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"
#include "model/memory.h"

namespace hunch {

struct MemoryBuildOptions {
  std::vector<size_t> layers = {};  // ascending; none: the one at three quarters of the depth (Wu et al. 2022) that can
  size_t n_ctx = 0;                 // tokens of a window; 0: the model's context, at most 2048
  size_t max_tokens = 0;            // of the text; 0: all
};

// The text is read in windows, each beginning in the middle of the one before, of which what is new is remembered: keys
// before RoPE, in f16. Throws Error{kUsage} for layers that cannot remember, a window of fewer than two tokens or a
// text without tokens; Error{kInterrupted}.
Memory build_memory(const Engine& engine, std::span<const int32_t> ids, const MemoryBuildOptions& options,
                    const Progress& progress = {});

// Every layer that can remember.
std::vector<size_t> remembering_layers(const ModelConfig& config);

}  // namespace hunch
