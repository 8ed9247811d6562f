#include <algorithm>
#include <set>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/file.h"
#include "base/throw_if_stopped.h"
#include "io/gguf.h"
#include "io/gguf_layout.h"
#include "io/printable.h"

namespace hunch {
namespace {

using gguf::ValueType;

template <class T>
constexpr ValueType value_type() {
  if constexpr (std::is_same_v<T, uint8_t>)
    return ValueType::kUint8;
  else if constexpr (std::is_same_v<T, int8_t>)
    return ValueType::kInt8;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return ValueType::kUint16;
  else if constexpr (std::is_same_v<T, int16_t>)
    return ValueType::kInt16;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return ValueType::kUint32;
  else if constexpr (std::is_same_v<T, int32_t>)
    return ValueType::kInt32;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return ValueType::kUint64;
  else if constexpr (std::is_same_v<T, int64_t>)
    return ValueType::kInt64;
  else if constexpr (std::is_same_v<T, float>)
    return ValueType::kFloat32;
  else if constexpr (std::is_same_v<T, double>)
    return ValueType::kFloat64;
  else if constexpr (std::is_same_v<T, bool>)
    return ValueType::kBool;
  else if constexpr (std::is_same_v<T, std::string>)
    return ValueType::kString;
  else
    return ValueType::kArray;
}

template <class T>
requires std::is_arithmetic_v<T>
void put(std::string& out, T value) { out.append(reinterpret_cast<const char*>(&value), sizeof(value)); }
void put(std::string& out, std::string_view text) {
  put(out, uint64_t{text.size()});
  out.append(text);
}
void put(std::string& out, ValueType type) { put(out, uint32_t(type)); }

void put(std::string& out, const MetaArray& array) {
  std::visit(
      [&](const auto& items) {
        using T = typename std::decay_t<decltype(items)>::value_type;
        put(out, value_type<T>());
        put(out, uint64_t{items.size()});
        for (const auto& item : items) put(out, item);
      },
      array);
}

void put(std::string& out, std::string_view key, const MetaValue& value) {
  put(out, key);
  std::visit(
      [&](const auto& v) {
        put(out, value_type<std::decay_t<decltype(v)>>());
        put(out, v);
      },
      value);
}

uint64_t n_bytes_of(const TensorToWrite& tensor) {
  const Format& geometry = info(tensor.dtype);
  const uint64_t cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (tensor.shape.size() > gguf::kMaxDims)
    fail(ErrorKind::kUnsupported, "tensor '{}' has {} dimensions; GGUF stores at most {}", printable(tensor.name),
         tensor.shape.size(), gguf::kMaxDims);
  if (cols % geometry.block_elems != 0)
    fail(ErrorKind::kUnsupported,
         "tensor '{}' has rows of {} elements, which {} cannot store (it needs a multiple of {})",
         printable(tensor.name), cols, geometry.name, geometry.block_elems);
  uint64_t n = row_bytes(tensor.dtype, cols);
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    const auto product = checked_mul(n, tensor.shape[i]);
    HUNCH_CHECK(product, "the shape of tensor '{}' overflows", tensor.name);
    n = *product;
  }
  return n;
}

// Everything before the data section, padding included.
std::string header_of(const Metadata& meta, std::span<const TensorToWrite> tensors,
                      std::span<const uint64_t> tensor_bytes, uint64_t alignment) {
  std::string out(gguf::kMagic);
  put(out, uint32_t{3});
  put(out, uint64_t{tensors.size()});
  put(out, uint64_t{meta.keys().size()});
  for (const std::string& key : meta.keys()) put(out, key, *meta.find(key));
  uint64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorToWrite& tensor = tensors[i];
    put(out, tensor.name);
    put(out, uint32_t(tensor.shape.size()));
    for (size_t d = tensor.shape.size(); d-- > 0;) put(out, tensor.shape[d]);
    put(out, uint32_t(tensor.dtype));
    put(out, offset);
    offset += round_up(tensor_bytes[i], alignment);
  }
  out.resize(round_up(out.size(), alignment), '\0');
  return out;
}

// In slices, because AtomicFile copies what it is given into its buffer.
void write_slices(AtomicFile& file, std::span<const std::byte> data, const Stop* stop) {
  constexpr size_t kSliceBytes = size_t{1} << 20;
  for (size_t begin = 0; begin < data.size(); begin += kSliceBytes) {
    throw_if_stopped(stop);
    file.write(data.subspan(begin, std::min(kSliceBytes, data.size() - begin)));
  }
}

// A full disk is better known before the work than after it.
void require_space(const std::filesystem::path& path, uint64_t n_bytes) {
  std::error_code ec;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const auto space = std::filesystem::space(folder, ec);
  if (!ec && space.available < n_bytes)
    fail(ErrorKind::kIo, "cannot write '{}': it needs {:.1f} MB, its disk has {:.1f} MB free", path.string(),
         double(n_bytes) / 1e6, double(space.available) / 1e6);
}

}  // namespace

void write_gguf(const std::filesystem::path& path, const Metadata& meta, std::span<const TensorToWrite> tensors,
                const Progress& progress, const Stop* stop) {
  const uint64_t alignment = gguf::alignment_of(meta);
  std::vector<uint64_t> tensor_bytes;
  std::set<std::string_view> names;
  uint64_t total = 0;
  for (const TensorToWrite& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      fail(ErrorKind::kFormat, "two tensors are named '{}'", printable(tensor.name));
    tensor_bytes.push_back(n_bytes_of(tensor));
    total += tensor_bytes.back();
  }

  const std::string header = header_of(meta, tensors, tensor_bytes, alignment);
  require_space(path, header.size() + total);
  AtomicFile file(path);
  file.write(header);
  const std::string padding(alignment, '\0');
  uint64_t done = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    throw_if_stopped(stop);
    if (progress) progress(tensors[i].name, done, total);
    const std::span<const std::byte> data = tensors[i].produce();
    HUNCH_CHECK(data.size() == tensor_bytes[i], "tensor '{}': produced {} bytes, expected {}", tensors[i].name,
                data.size(), tensor_bytes[i]);
    write_slices(file, data, stop);
    file.write(std::string_view(padding).substr(0, round_up(data.size(), alignment) - data.size()));
    done += data.size();
  }
  file.commit();
  if (progress) progress("", total, total);
}

void write_gguf(const std::filesystem::path& path, const ModelFile& model, const Progress& progress, const Stop* stop) {
  std::vector<TensorToWrite> tensors;
  tensors.reserve(model.tensors.size());
  for (const Tensor& tensor : model.tensors)
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, [&tensor] { return tensor.data; }});
  write_gguf(path, model.meta, tensors, progress, stop);
}

}  // namespace hunch
