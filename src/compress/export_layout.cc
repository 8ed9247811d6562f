#include "compress/export_layout.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/packed_codes.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;
using ByteVector = std::vector<std::byte>;

template <class T>
ByteVector bytes_of(const std::vector<T>& values) {
  ByteVector out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// [n_out, n_groups] as it is, or turned.
ByteVector scales_of(const ExportMatrix& m, DType type, bool turned) {
  std::vector<float> values = m.scale;
  const size_t n = m.n_groups();
  for (size_t o = 0; turned && o < m.n_out; ++o)
    for (size_t g = 0; g < n; ++g) values[g * m.n_out + o] = m.scale[o * n + g];
  ByteVector out(values.size() * info(type).block_bytes);
  info(type).encode(values.data(), out.data(), values.size());
  return out;
}

std::vector<uint8_t> zeros_of(const ExportMatrix& m) {
  std::vector<uint8_t> zeros(m.zero.size());
  for (size_t i = 0; i < zeros.size(); ++i) zeros[i] = uint8_t(m.zero[i]);
  return zeros;
}

template <class Pack>
ByteVector packed(const ExportMatrix& m, size_t bits, const Pack& pack) {
  const std::vector<uint8_t> zeros = zeros_of(m);
  return bytes_of(pack(Codes{m.n_out, m.n_in, m.n_groups(), bits, m.codes, zeros}));
}

}  // namespace

const char* name_of(ExportLayout layout) {
  switch (layout) {
    case ExportLayout::kGptq: return "gptq";
    case ExportLayout::kAwq: return "awq";
    case ExportLayout::kCompressedTensors: return "compressed-tensors";
  }
  return "?";
}

std::vector<TensorToWrite> tensors_of(const ExportForm& form, const std::string& module, size_t n_out, size_t n_in,
                                      std::function<const ExportMatrix&()> get) {
  std::vector<TensorToWrite> out;
  auto kept = std::make_shared<ByteVector>();  // of the tensor that is being written
  const auto add = [&](const char* name, DType dtype, std::vector<uint64_t> shape, auto make) {
    out.push_back({module + name, dtype, std::move(shape), [kept, get, make] {
                     *kept = make(get());
                     return std::span<const std::byte>(*kept);
                   }});
  };
  const size_t bits = size_t(form.grid.bits), groups = form.int8 ? 1 : n_in / group_of(form.grid, n_in);
  const DType type = form.scale_type;
  if (form.int8) {
    add(".weight", DType::kI8, {n_out, n_in}, [](const ExportMatrix& m) { return bytes_of(m.codes); });
    add(".weight_scale", type, {n_out, 1}, [type](const ExportMatrix& m) { return scales_of(m, type, false); });
    return out;
  }
  switch (form.layout) {
    case ExportLayout::kGptq:
      check_gptq(module.c_str(), n_out, n_in, bits);
      add(".qweight", DType::kI32, {n_in * bits / 32, n_out},
          [bits](const ExportMatrix& m) { return packed(m, bits, gptq_weights); });
      add(".qzeros", DType::kI32, {groups, n_out * bits / 32},
          [bits](const ExportMatrix& m) { return packed(m, bits, gptq_zeros); });
      add(".scales", DType::kF16, {groups, n_out},
          [](const ExportMatrix& m) { return scales_of(m, DType::kF16, true); });
      add(".g_idx", DType::kI32, {n_in}, [](const ExportMatrix& m) {
        std::vector<int32_t> group(m.n_in);
        for (size_t i = 0; i < m.n_in; ++i) group[i] = int32_t(i / (m.n_in / m.n_groups()));
        return bytes_of(group);
      });
      break;
    case ExportLayout::kAwq:
      check_awq(module.c_str(), n_out, n_in, bits);
      add(".qweight", DType::kI32, {n_in, n_out / 8},
          [bits](const ExportMatrix& m) { return packed(m, bits, awq_weights); });
      add(".qzeros", DType::kI32, {groups, n_out / 8},
          [bits](const ExportMatrix& m) { return packed(m, bits, awq_zeros); });
      add(".scales", DType::kF16, {groups, n_out},
          [](const ExportMatrix& m) { return scales_of(m, DType::kF16, true); });
      break;
    case ExportLayout::kCompressedTensors:
      check_compressed(module.c_str(), n_out, n_in, bits, form.grid.symmetric);
      add(".weight_packed", DType::kI32, {n_out, n_in * bits / 32},
          [bits](const ExportMatrix& m) { return packed(m, bits, compressed_weights); });
      add(".weight_scale", type, {n_out, groups}, [type](const ExportMatrix& m) { return scales_of(m, type, false); });
      if (!form.grid.symmetric)
        add(".weight_zero_point", DType::kI32, {n_out * bits / 32, groups},
            [bits](const ExportMatrix& m) { return packed(m, bits, compressed_zeros); });
      add(".weight_shape", DType::kI64, {2}, [](const ExportMatrix& m) {
        return bytes_of(std::vector<int64_t>{int64_t(m.n_out), int64_t(m.n_in)});
      });
      break;
  }
  return out;
}

Json quantization_config(const ExportForm& form, const std::vector<std::string>& floats) {
  const Json group = form.grid.group ? Json(form.grid.group) : Json(-1);
  switch (form.layout) {
    case ExportLayout::kGptq:
      return {{"bits", form.grid.bits}, {"checkpoint_format", "gptq"},     {"damp_percent", form.damping},
              {"desc_act", false},  // groups are of neighbouring inputs, in whatever order they were settled
              {"group_size", group},    {"model_file_base_name", "model"}, {"model_name_or_path", nullptr},
              {"quant_method", "gptq"}, {"static_groups", false},          {"sym", form.grid.symmetric},
              {"true_sequential", true}};
    case ExportLayout::kAwq:
      return {{"bits", form.grid.bits},
              {"group_size", group},
              {"modules_to_not_convert", floats.empty() ? Json() : Json(floats)},
              {"quant_method", "awq"},
              {"version", "gemm"},
              {"zero_point", true}};  // symmetric grids have a zero point too, in the middle
    case ExportLayout::kCompressedTensors: break;
  }
  const auto arguments = [](size_t bits, const char* strategy, const Json& size, bool symmetric, bool dynamic) {
    return Json{{"actorder", nullptr},
                {"block_structure", nullptr},
                {"dynamic", dynamic},
                {"group_size", size},
                {"num_bits", bits},
                {"observer", dynamic ? Json() : Json("minmax")},
                {"observer_kwargs", Json::object()},
                {"strategy", strategy},
                {"symmetric", symmetric},
                {"type", "int"}};
  };
  const Json weights = form.int8 ? arguments(8, "channel", nullptr, true, false)
                       : form.grid.group
                           ? arguments(size_t(form.grid.bits), "group", group, form.grid.symmetric, false)
                           : arguments(size_t(form.grid.bits), "channel", nullptr, form.grid.symmetric, false);
  std::vector<std::string> ignored = floats;
  if (std::ranges::find(ignored, "lm_head") == ignored.end()) ignored.insert(ignored.begin(), "lm_head");
  return {{"config_groups",
           {{"group_0",
             {{"input_activations", form.int8 ? arguments(8, "token", nullptr, true, true) : Json()},
              {"output_activations", nullptr},
              {"targets", {"Linear"}},
              {"weights", weights}}}}},
          {"format", form.int8 ? "int-quantized" : "pack-quantized"},
          {"global_compression_ratio", nullptr},
          {"ignore", ignored},
          {"kv_cache_scheme", nullptr},
          {"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"}};
}

}  // namespace hunch
