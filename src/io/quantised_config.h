// What a Hugging Face checkpoint says of how its weights are quantised: quantization_config of config.json, or the file
// that older tools write beside it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

enum class QuantMethod : uint8_t { kNone, kAwq, kGptq, kFp8, kCompressedTensors, kBitsAndBytes, kMxfp4, kBitNet };

struct QuantisedConfig {
  QuantMethod method = QuantMethod::kNone;
  size_t bits = 0;                  // of AWQ and GPTQ
  std::vector<size_t> group_sizes;  // of neighbouring inputs that share a scale; empty: all inputs do
  size_t block_rows = 0;            // FP8: the block that has a scale; 0: not by blocks
  size_t block_cols = 0;
  bool zeros_minus_one = false;  // GPTQ's first layout stores zero points less one
  std::string text;              // for people: "GPTQ, 4 bit, groups of 128"
};

// `config_json`: config.json; its quantization_config is read. Where it has none, `beside_json` is: the text of
// quantize_config.json (AutoGPTQ) or quant_config.json (AutoAWQ), or "". Neither: kNone. Throws Error{kUnsupported}
// naming a method, layout or width that hunch does not read, and those that it does; Error{kFormat} for values of a
// wrong kind.
QuantisedConfig parse_quantised_config(std::string_view config_json, std::string_view beside_json);

}  // namespace hunch
