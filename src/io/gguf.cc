#include "io/gguf.h"

#include <algorithm>
#include <array>

#include "base/checked_math.h"
#include "io/byte_reader.h"
#include "io/gguf_layout.h"
#include "io/printable.h"
#include "io/stand_in.h"

namespace hunch {
namespace gguf {

uint64_t alignment_of(const Metadata& meta) {
  const uint64_t alignment = meta.get_uint(kAlignmentKey, kDefaultAlignment);
  if (alignment < 8 || alignment > (1u << 20) || (alignment & (alignment - 1)) != 0)
    fail(ErrorKind::kFormat, "{}: expected a power of two from 8 to 1048576, found {}", kAlignmentKey, alignment);
  return alignment;
}

namespace {

constexpr uint64_t kMaxNameBytes = 65535;

std::string read_string(ByteReader& in, const char* part) {
  const uint64_t n = in.read<uint64_t>(part);
  return std::string(in.take_text(n, part));
}

std::string read_name(ByteReader& in, const char* part) {
  const uint64_t n = in.read<uint64_t>(part);
  if (n == 0 || n > kMaxNameBytes)
    fail(ErrorKind::kFormat, "{} at offset {} has {} bytes; expected 1 to {}", part, in.position(), n, kMaxNameBytes);
  return std::string(in.take_text(n, part));
}

bool read_bool(ByteReader& in) {
  const uint8_t byte = in.read<uint8_t>("a bool");
  if (byte > 1) fail(ErrorKind::kFormat, "a bool at offset {} is {}; expected 0 or 1", in.position() - 1, byte);
  return byte != 0;
}

template <class T>
std::vector<T> read_numbers(ByteReader& in, uint64_t n) {
  in.expect_items(n, sizeof(T), "array elements");
  std::vector<T> numbers(n);
  const auto bytes = in.take(n * sizeof(T), "an array");
  if (n > 0) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

MetaArray read_array(ByteReader& in, std::string_view key) {
  const uint32_t type = in.read<uint32_t>("an array's type");
  const uint64_t n = in.read<uint64_t>("an array's length");
  switch (ValueType(type)) {
    case ValueType::kUint8: return read_numbers<uint8_t>(in, n);
    case ValueType::kInt8: return read_numbers<int8_t>(in, n);
    case ValueType::kUint16: return read_numbers<uint16_t>(in, n);
    case ValueType::kInt16: return read_numbers<int16_t>(in, n);
    case ValueType::kUint32: return read_numbers<uint32_t>(in, n);
    case ValueType::kInt32: return read_numbers<int32_t>(in, n);
    case ValueType::kFloat32: return read_numbers<float>(in, n);
    case ValueType::kUint64: return read_numbers<uint64_t>(in, n);
    case ValueType::kInt64: return read_numbers<int64_t>(in, n);
    case ValueType::kFloat64: return read_numbers<double>(in, n);
    case ValueType::kBool: {
      in.expect_items(n, 1, "bools");
      std::vector<bool> flags(n);
      for (uint64_t i = 0; i < n; ++i) flags[i] = read_bool(in);
      return flags;
    }
    case ValueType::kString: {
      in.expect_items(n, sizeof(uint64_t), "strings");
      std::vector<std::string> strings;
      strings.reserve(n);
      for (uint64_t i = 0; i < n; ++i) strings.push_back(read_string(in, "a string of an array"));
      return strings;
    }
    case ValueType::kArray:
      fail(ErrorKind::kUnsupported, "metadata key '{}' holds an array of arrays, which hunch does not read",
           printable(key));
  }
  fail(ErrorKind::kFormat, "metadata key '{}' holds an array of unknown type {}", printable(key), type);
}

MetaValue read_value(ByteReader& in, std::string_view key) {
  const uint32_t type = in.read<uint32_t>("a value's type");
  switch (ValueType(type)) {
    case ValueType::kUint8: return in.read<uint8_t>("a value");
    case ValueType::kInt8: return in.read<int8_t>("a value");
    case ValueType::kUint16: return in.read<uint16_t>("a value");
    case ValueType::kInt16: return in.read<int16_t>("a value");
    case ValueType::kUint32: return in.read<uint32_t>("a value");
    case ValueType::kInt32: return in.read<int32_t>("a value");
    case ValueType::kFloat32: return in.read<float>("a value");
    case ValueType::kUint64: return in.read<uint64_t>("a value");
    case ValueType::kInt64: return in.read<int64_t>("a value");
    case ValueType::kFloat64: return in.read<double>("a value");
    case ValueType::kBool: return read_bool(in);
    case ValueType::kString: return read_string(in, "a string value");
    case ValueType::kArray: return read_array(in, key);
  }
  fail(ErrorKind::kFormat, "metadata key '{}' has unknown type {}", printable(key), type);
}

// A tensor's header entry: `tensor` without data yet, and where the data lies.
struct TensorEntry {
  Tensor tensor;
  uint64_t offset = 0;   // from the start of the data section
  uint64_t n_bytes = 0;  // without padding
};

TensorEntry read_tensor_entry(ByteReader& in) {
  TensorEntry entry;
  entry.tensor.name = read_name(in, "a tensor name");
  const std::string shown = printable(entry.tensor.name);
  const uint32_t n_dims = in.read<uint32_t>("a tensor's dimension count");
  if (n_dims > kMaxDims)
    fail(ErrorKind::kFormat, "tensor '{}' has {} dimensions; expected at most {}", shown, n_dims, kMaxDims);
  std::array<uint64_t, kMaxDims> dims{};
  for (uint32_t i = 0; i < n_dims; ++i) dims[i] = in.read<uint64_t>("a tensor's shape");
  const uint32_t type = in.read<uint32_t>("a tensor's type");
  entry.offset = in.read<uint64_t>("a tensor's offset");

  const Format* geometry = find_format(DType(type));
  if (!geometry || geometry->in_memory_only)
    fail(ErrorKind::kUnsupported,
         "tensor '{}' has the unknown type {}; convert the model to a type that hunch reads: {}", shown, type,
         fmt::join(format_names([](const Format& f) { return f.reads() && !f.in_memory_only; }), ", "));
  entry.tensor.dtype = geometry->dtype;
  entry.tensor.shape.assign(dims.rend() - n_dims, dims.rend());

  const uint64_t cols = n_dims ? dims[0] : 1;
  if (cols % geometry->block_elems != 0)
    fail(ErrorKind::kFormat, "tensor '{}' of type {} has rows of {} elements; expected a multiple of {}", shown,
         geometry->name, cols, geometry->block_elems);
  std::optional<uint64_t> n_bytes = checked_mul(cols / geometry->block_elems, geometry->block_bytes);
  std::optional<uint64_t> n_elems = cols;
  for (uint32_t i = 1; i < n_dims; ++i) {
    if (n_bytes) n_bytes = checked_mul(*n_bytes, dims[i]);
    if (n_elems) n_elems = checked_mul(*n_elems, dims[i]);
  }
  if (!n_bytes || !n_elems) fail(ErrorKind::kFormat, "tensor '{}': the product of its dimensions overflows", shown);
  entry.n_bytes = *n_bytes;
  return entry;
}

// Gives every tensor its bytes, once all are seen to lie inside `data` and apart from each other.
void place_tensors(std::vector<TensorEntry>& entries, std::span<const std::byte> data, uint64_t alignment) {
  for (TensorEntry& entry : entries) {
    const std::string shown = printable(entry.tensor.name);
    if (entry.offset % alignment != 0)
      fail(ErrorKind::kFormat, "tensor '{}' begins at offset {}; expected a multiple of the alignment {}", shown,
           entry.offset, alignment);
    if (entry.offset > data.size() || entry.n_bytes > data.size() - entry.offset)
      fail(ErrorKind::kFormat,
           "tensor '{}' spans {} bytes from offset {}, but the data section has {} bytes; the file is truncated or "
           "damaged",
           shown, entry.n_bytes, entry.offset, data.size());
    entry.tensor.data = data.subspan(entry.offset, entry.n_bytes);
  }
  std::vector<const TensorEntry*> by_offset;
  for (const TensorEntry& entry : entries)
    if (entry.n_bytes > 0) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const TensorEntry &before = *by_offset[i - 1], &after = *by_offset[i];
    if (before.offset + before.n_bytes > after.offset)
      fail(ErrorKind::kFormat, "tensors '{}' and '{}' overlap in the file", printable(before.tensor.name),
           printable(after.tensor.name));
  }
}

void check_version(uint32_t version) {
  if (version == 2 || version == 3) return;
  if (version == 1)
    fail(ErrorKind::kUnsupported, "GGUF version 1 is not read (expected 2 or 3); convert the model anew");
  // The version is a small number: set high bytes only mean that it was stored the other way round.
  if ((version & 0xffff) == 0)
    fail(ErrorKind::kUnsupported, "this is a big-endian GGUF file; hunch reads little-endian ones only");
  fail(ErrorKind::kUnsupported, "GGUF version {} is not known (expected 2 or 3)", version);
}

}  // namespace
}  // namespace gguf

ModelFile parse_gguf(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "the GGUF file");
  if (in.take_text(gguf::kMagic.size(), "the magic") != gguf::kMagic)
    fail(ErrorKind::kFormat, "this is not a GGUF file: it does not begin with 'GGUF'{}", stand_in_text(bytes));
  gguf::check_version(in.read<uint32_t>("the version"));
  const uint64_t n_tensors = in.read<uint64_t>("the tensor count");
  const uint64_t n_pairs = in.read<uint64_t>("the metadata count");

  ModelFile model;
  // Smallest pair: key length, one-byte key, type, one-byte value. Smallest tensor entry: name
  // length, one-byte name, dimension count, type, offset.
  in.expect_items(n_pairs, 8 + 1 + 4 + 1, "metadata pairs");
  for (uint64_t i = 0; i < n_pairs; ++i) {
    std::string key = gguf::read_name(in, "a metadata key");
    if (model.meta.has(key)) fail(ErrorKind::kFormat, "metadata key '{}' appears twice", printable(key));
    MetaValue value = gguf::read_value(in, key);
    model.meta.set(std::move(key), std::move(value));
  }
  const uint64_t alignment = gguf::alignment_of(model.meta);

  in.expect_items(n_tensors, 8 + 1 + 4 + 4 + 8, "tensors");
  std::vector<gguf::TensorEntry> entries;
  entries.reserve(n_tensors);
  for (uint64_t i = 0; i < n_tensors; ++i) entries.push_back(gguf::read_tensor_entry(in));

  // A file without tensors (a vocabulary) may end before the padding.
  const uint64_t data_begin = std::min<uint64_t>(round_up(in.position(), alignment), bytes.size());
  gguf::place_tensors(entries, bytes.subspan(data_begin), alignment);
  model.tensors.reserve(entries.size());
  for (gguf::TensorEntry& entry : entries) model.tensors.push_back(std::move(entry.tensor));
  model.index();
  return model;
}

}  // namespace hunch
