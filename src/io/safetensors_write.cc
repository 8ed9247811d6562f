#include "io/safetensors_write.h"

#include <nlohmann/json.hpp>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/file.h"
#include "base/throw_if_stopped.h"
#include "io/printable.h"

namespace hunch {
namespace {

const char* safetensors_name(const TensorToWrite& t) {
  switch (t.dtype) {
    case DType::kF32: return "F32";
    case DType::kF16: return "F16";
    case DType::kBF16: return "BF16";
    case DType::kF64: return "F64";
    case DType::kI8: return "I8";
    case DType::kI16: return "I16";
    case DType::kI32: return "I32";
    case DType::kI64: return "I64";
    default:
      fail(ErrorKind::kUnsupported, "safetensors has no {}, the type of tensor '{}'", name_of(t.dtype),
           printable(t.name));
  }
}

uint64_t bytes_of(const TensorToWrite& t) {
  uint64_t n = info(t.dtype).block_bytes;
  for (const uint64_t d : t.shape) {
    const auto product = checked_mul(n, d);
    HUNCH_CHECK(product, "the shape of tensor '{}' overflows", t.name);
    n = *product;
  }
  return n;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const Progress& progress, const Stop* stop) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t total = 0;
  for (const TensorToWrite& t : tensors) {
    if (header.contains(t.name)) fail(ErrorKind::kFormat, "two tensors are named '{}'", printable(t.name));
    const uint64_t n = bytes_of(t);
    header[t.name] = {{"dtype", safetensors_name(t)}, {"shape", t.shape}, {"data_offsets", {total, total + n}}};
    total += n;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that data is aligned
  AtomicFile file(path);
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = char(uint64_t{text.size()} >> 8 * i & 255);
  file.write(length);
  file.write(text);
  uint64_t done = 0;
  for (const TensorToWrite& t : tensors) {
    throw_if_stopped(stop);
    if (progress) progress(t.name, done, total);
    const std::span<const std::byte> data = t.produce();
    HUNCH_CHECK(data.size() == bytes_of(t), "tensor '{}': produced {} bytes, expected {}", t.name, data.size(),
                bytes_of(t));
    constexpr size_t kSliceBytes = size_t{1} << 20;  // the file copies what it is given into its buffer
    for (size_t begin = 0; begin < data.size(); begin += kSliceBytes) {
      throw_if_stopped(stop);
      file.write(data.subspan(begin, std::min(kSliceBytes, data.size() - begin)));
    }
    done += data.size();
  }
  file.commit();
  if (progress) progress("", total, total);
}

}  // namespace hunch
