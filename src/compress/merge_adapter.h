// A model with an adapter folded in: what `--lora` computes beside the weights becomes part of them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "linear/adapter.h"
#include "model/model.h"

namespace hunch {

struct MergeReport {
  size_t n_tensors = 0, n_changed = 0;
  std::vector<std::string> notes;  // on precision that is lost
};

// Writes `model` as GGUF, each matrix that `adapter` changes as (1 + gain) * W + B A, computed in f32 and stored in the
// matrix's own dtype: quantised ones are rounded anew, noted once; those of a dtype that hunch does not write become
// q8_0, noted each. An output that is tied to an embedding from which it now differs is written on its own. The output
// is written atomically. Throws Error{kInterrupted}.
MergeReport merge_adapter(const Model& model, const Adapter& adapter, const std::filesystem::path& output,
                          Compute& compute, const Progress& progress = {});

}  // namespace hunch
