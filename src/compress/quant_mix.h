// Mixes of quantised types that people know by name: which matrices of a model get more bits than the others. The names
// and the choices are those of llama.cpp's quantiser (llama-quant.cpp, 2026): compared, matrix by matrix, for a Llama
// of 22 layers whose heads share keys by four, for Nemotron-H, LFM2, Qwen3-Next and 3.5, Gemma 3n and 4 and
// DeepSeek-V2.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_file.h"

namespace hunch {

struct QuantMix {
  const char* name;    // "q4_k_m"
  DType base;          // of what no rule names
  uint32_t file_type;  // general.file_type
  // By which the rules know it.
  enum class Kind : uint8_t { kQ2K, kQ2KS, kQ3KS, kQ3KM, kQ3KL, kQ4KS, kQ4KM, kQ5KS, kQ5KM, kIQ4XS, kIQ4NL, kMxfp4 };
  Kind kind;
};

// What the rules ask of a model.
struct MixModel {
  explicit MixModel(const ModelFile& file);

  size_t n_layer = 0, n_expert = 0;
  size_t n_shared_heads = 1;  // query heads that share a key head
  bool has_output = false;    // a head of its own, beside the embedding
  bool has_importance = false;
  std::vector<size_t> value_layers;  // layers with a matrix of values, ascending
};

// In the order in which people see them.
std::vector<std::string> mix_names();
// nullptr: no mix is named so.
const QuantMix* find_mix(std::string_view name);
// Whether a matrix is so small, and read for every token, that it keeps the floats it has when a model is quantised:
// what mixes the streams of a Gemma 3n, and what embeddings by layer are made with.
bool stays_float(std::string_view tensor);
// The type of the matrix with this GGUF name, before rows that are no whole blocks are considered.
DType mixed_type(const QuantMix& mix, const MixModel& model, std::string_view tensor);

}  // namespace hunch
