// What a quantised checkpoint folder looks like: how its matrices are laid out and what its config says.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "compress/compress_matrix.h"
#include "io/gguf.h"

namespace hunch {

// GPTQ's (AutoGPTQ, GPTQModel: "gptq"), AWQ's ("gemm"), or compressed-tensors' ("pack-quantized", and "int-quantized"
// for int8 with int8 inputs): what vLLM and transformers read.
enum class ExportLayout : uint8_t { kGptq, kAwq, kCompressedTensors };
const char* name_of(ExportLayout layout);

// What the numbers of all matrices are.
struct ExportForm {
  ExportLayout layout = ExportLayout::kCompressedTensors;
  DType scale_type = DType::kF16;  // f16 or bf16: as the model's own floats; GPTQ and AWQ have f16 always
  GridOptions grid;                // not of int8
  bool int8 = false;               // weights and inputs of eight bits, a scale for every output and every token
  double damping = 0.01;           // GPTQ's, for its config
};

// A matrix in codes, its rows in the checkpoint's order.
struct ExportMatrix {
  size_t n_out = 0, n_in = 0;
  std::vector<uint8_t> codes;      // [n_out * n_in]; of int8 its bytes
  std::vector<float> scale, zero;  // [n_out * n_groups]; of int8 no zero
  size_t n_groups() const { return scale.size() / n_out; }
};

// The tensors of one matrix: names, types and shapes at once, contents of `get()` when they are asked for.
// "<module>.qweight" and so on. Throws Error{kUnsupported} where the layout cannot have it.
std::vector<TensorToWrite> tensors_of(const ExportForm& form, const std::string& module, size_t n_out, size_t n_in,
                                      std::function<const ExportMatrix&()> get);

// The quantization_config of config.json. `floats`: modules whose matrices stay as they are.
nlohmann::ordered_json quantization_config(const ExportForm& form, const std::vector<std::string>& floats);

}  // namespace hunch
