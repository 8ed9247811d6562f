#include "base/codec.h"

#include <cstring>

#include "base/codec_blocks.h"
#include "base/error.h"

namespace hunch {
namespace {

void copy_f32_in(const std::byte* blocks, float* out, size_t n) {
  if (n) std::memcpy(out, blocks, n * sizeof(float));
}
void copy_f32_out(const float* values, std::byte* blocks, size_t n) {
  if (n) std::memcpy(blocks, values, n * sizeof(float));
}

template <class Half>
void decode_half(const std::byte* blocks, float* out, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    Half h;
    std::memcpy(&h, blocks + i * sizeof h, sizeof h);
    out[i] = to_f32(h);
  }
}

template <class Half, Half (*round)(float)>
void encode_half(const float* values, std::byte* blocks, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const Half h = round(values[i]);
    std::memcpy(blocks + i * sizeof h, &h, sizeof h);
  }
}

constexpr Codec kCodecs[] = {
    {DType::kF32, copy_f32_in, copy_f32_out},
    {DType::kF16, decode_half<f16>, encode_half<f16, to_f16>},
    {DType::kBF16, decode_half<bf16>, encode_half<bf16, to_bf16>},
    {DType::kQ8_0, decode_q8_0, encode_q8_0},
    {DType::kQ4_0, decode_q4_0, encode_q4_0},
    {DType::kQ4_K, decode_q4_k, encode_q4_k},
    {DType::kQ5_K, decode_q5_k, nullptr},
    {DType::kQ6_K, decode_q6_k, encode_q6_k},
};

}  // namespace

const Codec& codec(DType dtype) {
  for (const Codec& row : kCodecs)
    if (row.dtype == dtype) return row;
  std::string readable;
  for (const Codec& row : kCodecs) readable += std::string(readable.empty() ? "" : ", ") + name_of(row.dtype);
  const DTypeInfo* known = dtype_info(dtype);
  fail(ErrorKind::kUnsupported, "element type {} cannot be computed with; hunch computes with {}",
       known ? known->name : fmt::format("number {}", uint32_t(dtype)), readable);
}

}  // namespace hunch
