// bitsandbytes: codes of 4 bits into a table of floats with a scale for each block, and bytes with a scale for each
// row.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/fp4.h"
#include "formats/i8_64.h"
#include "formats/nf4.h"
#include "io/printable.h"
#include "io/quantised_matrix.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

// What the tool stores beside a matrix, JSON in a tensor of bytes.
struct QuantState {
  uint64_t block = 64, nested_block = 256, rows = 0, cols = 0;
  float nested_offset = 0;
};

QuantState parse_state(const Tensor& t) {
  const std::string_view text(reinterpret_cast<const char*>(t.data.data()), t.data.size());
  const Json json = Json::parse(text, nullptr, false);
  const auto bad = [&](const char* what) {
    fail(ErrorKind::kFormat, "tensor '{}' does not say the {} of the quantised matrix", printable(t.name), what);
  };
  if (!json.is_object()) bad("state");
  const auto count = [&](const char* key, uint64_t fallback) {
    const auto it = json.find(key);
    if (it == json.end()) return fallback;
    if (!it->is_number_unsigned() || it->get<uint64_t>() == 0 || it->get<uint64_t>() > UINT32_MAX) bad(key);
    return it->get<uint64_t>();
  };
  QuantState state;
  state.block = count("blocksize", state.block);
  state.nested_block = count("nested_blocksize", state.nested_block);
  if (const auto it = json.find("nested_offset"); it != json.end()) {
    if (!it->is_number()) bad("nested_offset");
    state.nested_offset = float(it->get<double>());
  }
  const auto shape = json.find("shape");
  if (shape == json.end() || !shape->is_array() || shape->size() != 2) bad("shape");
  for (const Json& dim : *shape)
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() == 0 || dim.get<uint64_t>() > UINT32_MAX) bad("shape");
  state.rows = (*shape)[0];
  state.cols = (*shape)[1];
  return state;
}

class FourBit : public QuantisedMatrix {
 public:
  FourBit(TensorSet& tensors, const std::string& weight) : bytes_(tensors.take(weight, weight)) {
    name = weight;
    const std::vector<std::string> states = tensors.beginning_with(weight + ".quant_state.");
    if (states.empty())
      fail(ErrorKind::kFormat, "quantised matrix '{}' has no tensor '{}.quant_state...'", printable(weight),
           printable(weight));
    const QuantState state = parse_state(tensors.take(states[0], weight));
    expect_type(bytes_, DType::kI8);
    rows = state.rows;
    cols = state.cols;
    shape = {rows, cols};
    block_ = state.block;
    const uint64_t n = uint64_t{rows} * cols, n_blocks = (n + block_ - 1) / block_;
    if (bytes_.data.size() != (n + 1) / 2)
      fail(ErrorKind::kFormat, "tensor '{}' has {} bytes, but {} x {} numbers of 4 bits need {}", printable(name),
           bytes_.data.size(), rows, cols, (n + 1) / 2);
    const Tensor& map = tensors.take(weight + ".quant_map", weight);
    map_ = numbers_of(map);
    if (map_.size() != 16)
      fail(ErrorKind::kFormat, "tensor '{}' has {} numbers, expected 16", printable(map.name), map_.size());
    const Tensor& absmax = tensors.take(weight + ".absmax", weight);
    stored_bytes = bytes_.data.size() + absmax.data.size();
    if (absmax.n_elems() != n_blocks)
      fail(ErrorKind::kFormat, "tensor '{}' has {} scales, expected {}: one for each block of {}",
           printable(absmax.name), absmax.n_elems(), n_blocks, block_);
    scales_ = absmax.dtype == DType::kI8 ? nested(tensors, absmax, state) : numbers_of(absmax);
  }

  void values(size_t row, float* out) const override {
    for (size_t i = 0; i < cols; ++i) {
      const size_t at = row * cols + i;
      const uint8_t pair = uint8_t(bytes_.data[at / 2]);
      out[i] = map_[at % 2 ? pair & 15 : pair >> 4] * scales_[at / block_];
    }
  }

  // Of the tables that formats have, where blocks of 64 have one scale.
  std::optional<DType> blocks() const override {
    if (block_ % kBlock != 0 || cols % kBlock != 0) return std::nullopt;
    if (std::ranges::equal(map_, format::NF4::kValues)) return DType::kNF4;
    if (std::ranges::equal(map_, format::FP4::kValues)) return DType::kFP4;
    return std::nullopt;
  }

  void write_blocks(size_t row, std::byte* out) const override {
    for (size_t i = 0; i < cols; i += kBlock, out += sizeof(Block)) {
      const size_t at = row * cols + i;
      const auto* pairs = reinterpret_cast<const uint8_t*>(bytes_.data.data()) + at / 2;
      const auto code = [&](size_t k) { return k % 2 ? pairs[k / 2] & 15 : pairs[k / 2] >> 4; };
      Block block;
      block.scale[0] = scales_[at / block_];
      for (size_t k = 0; k < kBlock / 2; ++k) block.q[k] = uint8_t(code(k) | code(k + kBlock / 2) << 4);
      std::memcpy(out, &block, sizeof block);
    }
  }

 private:
  using Block = format::NF4::Block;  // and FP4's
  static constexpr size_t kBlock = format::NF4::kFormat.block_elems;

  // Scales that are codes into a table themselves, with scales of their own, around a mean.
  std::vector<float> nested(TensorSet& tensors, const Tensor& absmax, const QuantState& state) {
    const Tensor& map = tensors.take(name + ".nested_quant_map", name);
    const Tensor& outer = tensors.take(name + ".nested_absmax", name);
    const std::vector<float> numbers = numbers_of(map), scales = numbers_of(outer);
    if (numbers.size() != 256 || scales.size() != (absmax.n_elems() + state.nested_block - 1) / state.nested_block)
      fail(ErrorKind::kFormat, "'{}' has {} and '{}' has {} numbers, expected 256 and one for each {} of {}",
           printable(map.name), numbers.size(), printable(outer.name), scales.size(), state.nested_block,
           absmax.n_elems());
    stored_bytes += map.data.size() + outer.data.size();
    std::vector<float> out(absmax.n_elems());
    for (size_t i = 0; i < out.size(); ++i) out[i] = numbers[uint8_t(absmax.data[i])] * scales[i / state.nested_block];
    for (float& v : out) v += state.nested_offset;  // a loop of its own: the product is rounded first
    return out;
  }

  const Tensor& bytes_;
  std::vector<float> map_, scales_;
  uint64_t block_ = 64;
};

// LLM.int8: x = f32(q * scale) / 127, as the tool computes it.
class EightBit : public QuantisedMatrix {
 public:
  EightBit(TensorSet& tensors, const std::string& base) : bytes_(tensors.take(base + ".weight", base)) {
    name = bytes_.name;
    shape = bytes_.shape;
    expect_type(bytes_, DType::kI8);
    const Tensor& scales = tensors.take(base + ".SCB", base);
    if (shape.size() != 2 || bytes_.n_elems() == 0 || scales.n_elems() != shape[0])
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}] and '{}' {} scales, expected a matrix and one for each row",
           printable(name), fmt::join(shape, ", "), printable(scales.name), scales.n_elems());
    rows = shape[0];
    cols = shape[1];
    scales_ = numbers_of(scales);
    stored_bytes = bytes_.data.size() + scales.data.size();
    const Tensor* layout = tensors.take_if_present(base + ".weight_format");
    if (layout && !layout->data.empty() && layout->data[0] != std::byte{0})
      fail(ErrorKind::kUnsupported, "tensor '{}' is in layout {} of bitsandbytes; hunch reads rows, layout 0",
           printable(name), int(layout->data[0]));
  }

  void values(size_t row, float* out) const override {
    for (size_t i = 0; i < cols; ++i) {
      const float product = float(int8_t(bytes_.data[row * cols + i])) * scales_[row];
      out[i] = product * format::I8_64::kBy127;
    }
  }

  std::optional<DType> blocks() const override { return DType::kI8_64; }
  void write_blocks(size_t row, std::byte* out) const override {
    using Block = format::I8_64::Block;
    for (size_t i = 0; i < cols; i += sizeof(Block::q), out += sizeof(Block)) {
      Block block;
      block.scale[0] = scales_[row];
      std::memcpy(block.q, bytes_.data.data() + row * cols + i, sizeof block.q);
      std::memcpy(out, &block, sizeof block);
    }
  }

 private:
  const Tensor& bytes_;
  std::vector<float> scales_;
};

}  // namespace

MatrixList bits_and_bytes_matrices(TensorSet& tensors) {
  MatrixList out;
  for (const std::string& name : tensors.ending_with(".weight.absmax"))
    out.push_back(std::make_unique<FourBit>(tensors, without_suffix(name, ".absmax")));
  for (const std::string& name : tensors.ending_with(".SCB"))
    out.push_back(std::make_unique<EightBit>(tensors, without_suffix(name, ".SCB")));
  return out;
}

}  // namespace hunch
