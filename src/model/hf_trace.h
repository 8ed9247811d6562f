// Where the rows of a GGUF model's matrices come from in a Hugging Face checkpoint. HF's names, and what becomes of the
// rows (queries interleaved for RoPE, q, k and v sorted out of a fused projection, experts stacked), are known to the
// architecture's import and to nobody else: so the import is run, on matrices whose rows are numbered.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "model/config.h"

namespace hunch {

// A matrix of which something is known by rows, as an adapter's B.
struct NamedRows {
  std::string name;  // HF's: "model.layers.0.mlp.up_proj.weight"
  size_t n_rows = 0;
  bool as_stored = false;  // in the orientation of the checkpoint, which may be [in, out]; else [out, in]
};

struct RowOrigin {
  uint32_t matrix = 0, row = 0;
  float factor = 0;  // that the import multiplies the row by; 0: the row comes from none of the matrices
};

struct RowTrace {
  std::map<std::string, std::vector<RowOrigin>> tensors;  // by GGUF's names; of those that have a row of the matrices
  std::vector<std::string> unknown;                       // names of matrices that the architecture does not have
  // By matrix, of those whose inputs the model has in another order: its input i is number order[i] of the matrix.
  std::map<uint32_t, std::vector<uint32_t>> input_orders = {};
};

// `meta` and `config` are the model's; its checkpoint is not needed. At most 2^22 rows a matrix. Throws
// Error{kFormat} for row counts that the architecture cannot have, and Error{kUnsupported} where rows of a matrix
// `as_stored` are not rows of the model's.
RowTrace trace_hf_rows(const Metadata& meta, const ModelConfig& config, std::span<const NamedRows> matrices);

}  // namespace hunch
