#include "io/quantised_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kKnown =
    "awq (gemm), gptq (2, 3, 4 and 8 bit), fp8, modelopt (FP8), compressed-tensors (pack-quantized, int-quantized, "
    "float-quantized), "
    "bitsandbytes (4 and 8 bit), mxfp4, bitnet (packed)";

class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  // The value of the first key that is present and not null; nullptr: of none.
  const Json* find(std::initializer_list<const char*> keys) const {
    for (const char* key : keys)
      if (const auto it = json_.find(key); it != json_.end() && !it->is_null()) return &*it;
    return nullptr;
  }
  int64_t number(std::initializer_list<const char*> keys, int64_t fallback) const {
    const Json* value = find(keys);
    if (!value) return fallback;
    if (!value->is_number_integer()) wrong(*keys.begin(), "a whole number", *value);
    if (value->is_number_unsigned() && value->get<uint64_t>() > INT32_MAX) wrong(*keys.begin(), "below 2^31", *value);
    return value->get<int64_t>();
  }
  bool flag(const char* key) const {
    const Json* value = find({key});
    if (value && !value->is_boolean()) wrong(key, "true or false", *value);
    return value && value->get<bool>();
  }
  std::string word(std::initializer_list<const char*> keys, std::string_view fallback) const {
    const Json* value = find(keys);
    if (!value) return std::string(fallback);
    if (!value->is_string()) wrong(*keys.begin(), "a string", *value);
    std::string text = *value;
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return char(c >= 'A' && c <= 'Z' ? c + 32 : c); });
    return text;
  }
  [[noreturn]] static void wrong(const char* key, const char* expected, const Json& found) {
    fail(ErrorKind::kFormat, "quantization_config: '{}' should be {}, found {}", key, expected,
         printable(found.dump(-1, ' ', true, Json::error_handler_t::replace), 80));
  }

 private:
  const Json& json_;
};

[[noreturn]] void unsupported(std::string_view what) {
  fail(ErrorKind::kUnsupported,
       "the weights are quantised: {}, which hunch does not read; it reads {}. Take the model as it was before, or a "
       "GGUF file of it",
       what, kKnown);
}

void add_group_size(QuantisedConfig& c, int64_t size) {
  if (size == -1 || size == 0) return;  // one group
  if (size < 0)
    fail(ErrorKind::kFormat, "quantization_config: a group size of {}; expected a positive number, or -1 for one group",
         size);
  if (std::ranges::find(c.group_sizes, size_t(size)) == c.group_sizes.end()) c.group_sizes.push_back(size_t(size));
}

std::string groups_text(const QuantisedConfig& c) {
  return c.group_sizes.empty() ? "one group a row" : fmt::format("groups of {}", fmt::join(c.group_sizes, ", "));
}

void read_awq(const Reader& in, QuantisedConfig& c) {
  c.method = QuantMethod::kAwq;
  c.bits = size_t(in.number({"bits", "w_bit"}, 4));
  if (c.bits != 4) unsupported(fmt::format("AWQ with {} bits", c.bits));
  if (const std::string layout = in.word({"version"}, "gemm"); layout != "gemm")
    unsupported(fmt::format("AWQ in the layout '{}'", printable(layout, 40)));
  add_group_size(c, in.number({"group_size", "q_group_size"}, 128));
  c.text = fmt::format("AWQ, 4 bit, {}", groups_text(c));
}

void read_gptq(const Reader& in, QuantisedConfig& c) {
  c.method = QuantMethod::kGptq;
  const int64_t bits = in.number({"bits"}, 4);
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) unsupported(fmt::format("GPTQ with {} bits", bits));
  c.bits = size_t(bits);
  const std::string layout = in.word({"checkpoint_format"}, "gptq");
  if (layout != "gptq" && layout != "gptq_v2")
    unsupported(fmt::format("GPTQ in the layout '{}'", printable(layout, 40)));
  if (in.flag("is_marlin_format")) unsupported("GPTQ in the layout 'marlin'");
  if (const Json* rules = in.find({"dynamic"}); rules && !rules->empty())
    unsupported("GPTQ with rules by module (dynamic)");
  c.zeros_minus_one = layout == "gptq";
  add_group_size(c, in.number({"group_size"}, 128));
  c.text =
      fmt::format("GPTQ, {} bit, {}{}", c.bits, groups_text(c), in.flag("desc_act") ? ", by activation order" : "");
}

void read_fp8(const Reader& in, QuantisedConfig& c) {
  c.method = QuantMethod::kFp8;
  if (const std::string fmt_name = in.word({"fmt"}, "e4m3"); fmt_name != "e4m3")
    unsupported(fmt::format("FP8 in the form '{}'", printable(fmt_name, 40)));
  if (const Json* block = in.find({"weight_block_size"})) {
    const auto is_size = [](const Json& v) {
      return v.is_number_unsigned() && v.get<uint64_t>() > 0 && v.get<uint64_t>() <= INT32_MAX;
    };
    if (!block->is_array() || block->size() != 2 || !is_size((*block)[0]) || !is_size((*block)[1]))
      Reader::wrong("weight_block_size", "two positive numbers", *block);
    c.block_rows = (*block)[0];
    c.block_cols = (*block)[1];
  }
  c.text = c.block_rows ? fmt::format("FP8, blocks of {} x {}", c.block_rows, c.block_cols) : "FP8";
}

// The weights of one config group: what the tensors do not say themselves.
void read_group(const Json& weights, QuantisedConfig& c) {
  const Reader in(weights);
  add_group_size(c, in.number({"group_size"}, -1));
  if (const Json* block = in.find({"block_structure"}); block && block->is_array() && block->size() == 2) {
    const Json& rows = (*block)[0];
    const Json& cols = (*block)[1];
    if (!rows.is_number_unsigned() || !cols.is_number_unsigned() || rows == 0u || cols == 0u)
      Reader::wrong("block_structure", "two positive numbers", *block);
    c.block_rows = rows;
    c.block_cols = cols;
  }
}

void read_compressed_tensors(const Reader& in, QuantisedConfig& c) {
  c.method = QuantMethod::kCompressedTensors;
  const std::string form = in.word({"format"}, "");
  constexpr std::string_view kForms[] = {"pack-quantized", "int-quantized", "float-quantized", "naive-quantized",
                                         "mixed-precision"};
  if (std::ranges::find(kForms, form) == std::end(kForms))
    unsupported(fmt::format("compressed-tensors in the form '{}'", printable(form, 40)));
  if (const Json* sparse = in.find({"sparsity_config"}); sparse && sparse->is_object() && !sparse->empty())
    if (const std::string kind = Reader(*sparse).word({"format"}, "dense"); kind != "dense")
      unsupported(fmt::format("compressed-tensors with the sparsity '{}'", printable(kind, 40)));
  if (const Json* transform = in.find({"transform_config"}); transform && !transform->empty())
    unsupported("compressed-tensors with rotations (transform_config)");
  std::string widths;
  if (const Json* groups = in.find({"config_groups"})) {
    if (!groups->is_object()) Reader::wrong("config_groups", "an object", *groups);
    for (const auto& [name, group] : groups->items()) {
      const auto weights = group.is_object() ? group.find("weights") : group.end();
      if (!group.is_object() || weights == group.end() || !weights->is_object()) continue;
      read_group(*weights, c);
      const Reader w(*weights);
      const std::string width = fmt::format("{} bit {}", w.number({"num_bits"}, 8), w.word({"type"}, "int"));
      if (widths.find(width) == widths.npos) widths += (widths.empty() ? "" : ", ") + printable(width, 30);
    }
  }
  c.text = fmt::format("compressed-tensors, {}{}", form, widths.empty() ? "" : ", " + widths);
  if (!c.group_sizes.empty()) c.text += ", " + groups_text(c);
}

void read_bits_and_bytes(const Reader& in, QuantisedConfig& c) {
  c.method = QuantMethod::kBitsAndBytes;
  const bool four = in.flag("load_in_4bit") || in.flag("_load_in_4bit");
  c.text = four ? fmt::format("bitsandbytes, {}{}", printable(in.word({"bnb_4bit_quant_type"}, "fp4"), 20),
                              in.flag("bnb_4bit_use_double_quant") ? ", scales quantised too" : "")
                : "bitsandbytes, int8";
}

Json object_of(std::string_view text, const char* what) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) fail(ErrorKind::kFormat, "{} is not a JSON object", what);
  return json;
}

}  // namespace

QuantisedConfig parse_quantised_config(std::string_view config_json, std::string_view beside_json) {
  QuantisedConfig c;
  const Json config = object_of(config_json, "config.json");
  Json found;
  auto it = config.find("quantization_config");
  if (it == config.end() || !it->is_object()) it = config.find("compression_config");  // compressed-tensors' older key
  if (it != config.end() && it->is_object()) {
    found = *it;
  } else if (!beside_json.empty()) {
    found = object_of(beside_json, "the quantiser's configuration");
  } else {
    return c;
  }
  const Reader in(found);
  std::string method = in.word({"quant_method"}, "");
  // Files beside config.json need not name their tool.
  if (method.empty()) method = in.find({"w_bit"}) ? "awq" : in.find({"bits"}) ? "gptq" : "";
  if (method.empty() && (in.flag("load_in_4bit") || in.flag("load_in_8bit"))) method = "bitsandbytes";
  if (method == "awq") {
    read_awq(in, c);
  } else if (method == "gptq") {
    read_gptq(in, c);
  } else if (method == "fp8" || method == "fbgemm_fp8" ||
             (method == "modelopt" && in.word({"quant_algo"}, "") == "fp8")) {
    read_fp8(in, c);
  } else if (method == "compressed-tensors") {
    read_compressed_tensors(in, c);
  } else if (method == "bitsandbytes") {
    read_bits_and_bytes(in, c);
  } else if (method == "mxfp4") {
    c.method = QuantMethod::kMxfp4;
    c.text = "MXFP4";
  } else if (method == "bitnet") {
    if (const std::string mode = in.word({"quantization_mode"}, "offline"); mode != "offline")
      unsupported(fmt::format("BitNet in the mode '{}', whose weights are not packed", printable(mode, 40)));
    c.method = QuantMethod::kBitNet;
    c.text = "BitNet, ternary";
  } else {
    unsupported(fmt::format("quantization_config names the method '{}'{}", printable(method.empty() ? "?" : method, 40),
                            in.find({"quant_algo"}) ? " " + printable(in.word({"quant_algo"}, ""), 40) : ""));
  }
  return c;
}

}  // namespace hunch
