#include "io/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/checked_math.h"
#include "io/byte_reader.h"
#include "io/printable.h"
#include "io/stand_in.h"

namespace hunch {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr int kMaxJsonDepth = 4;                   // header, tensor, array; one to spare
constexpr size_t kMaxDims = 8;
constexpr const char* kMetadataKey = "__metadata__";

struct Located {
  Tensor tensor;
  uint64_t begin = 0, end = 0;  // in the data section
};

// Parses the header, and refuses what a JSON library lets through: a name that appears twice, depth.
json parse_header(std::string_view text) {
  std::set<std::string> names;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxJsonDepth) fail(ErrorKind::kFormat, "the safetensors header is nested too deeply");
    if (event == json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
      fail(ErrorKind::kFormat, "the safetensors header names '{}' twice", printable(value.get<std::string>()));
    return true;
  };
  try {
    json header = json::parse(text.begin(), text.end(), watch);
    if (!header.is_object()) fail(ErrorKind::kFormat, "the safetensors header is not a JSON object");
    return header;
  } catch (const json::exception& e) {
    fail(ErrorKind::kFormat, "the safetensors header is not valid JSON: {}", printable(e.what(), 200));
  }
}

constexpr std::string_view kFloat8 = "F8_E4M3";

DType dtype_of(const std::string& name, const std::string& tensor, bool with_float8) {
  static constexpr std::pair<const char*, DType> kTable[] = {
      {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}, {"F64", DType::kF64}, {"I64", DType::kI64},
      {"I32", DType::kI32}, {"I16", DType::kI16}, {"I8", DType::kI8},     {"U8", DType::kI8},   {"BOOL", DType::kI8}};
  for (const auto& [known, dtype] : kTable)
    if (name == known) return dtype;
  if (with_float8 && name == kFloat8) return DType::kI8;
  fail(ErrorKind::kUnsupported, "tensor '{}' has dtype {}, which hunch does not read; convert the model to one of {}",
       printable(tensor), printable(name), fmt::join(format_names(&Format::is_float), ", "));
}

const json& field(const json& entry, const char* key, const std::string& tensor) {
  const auto it = entry.find(key);
  if (it == entry.end()) fail(ErrorKind::kFormat, "tensor '{}' has no '{}' in the header", printable(tensor), key);
  return *it;
}

uint64_t unsigned_of(const json& value, const char* what, const std::string& tensor) {
  if (!value.is_number_unsigned())
    fail(ErrorKind::kFormat, "tensor '{}': {} is {}; expected a non-negative integer", printable(tensor), what,
         printable(value.dump(-1, ' ', true, json::error_handler_t::replace)));
  return value.get<uint64_t>();
}

Located read_entry(const std::string& name, const json& entry, std::set<std::string>* float8) {
  if (!entry.is_object())
    fail(ErrorKind::kFormat, "tensor '{}' is not described by a JSON object in the header", printable(name));
  const json& dtype = field(entry, "dtype", name);
  const json& shape = field(entry, "shape", name);
  const json& offsets = field(entry, "data_offsets", name);
  if (!dtype.is_string()) fail(ErrorKind::kFormat, "tensor '{}': its dtype is not a string", printable(name));
  if (!shape.is_array() || shape.size() > kMaxDims)
    fail(ErrorKind::kFormat, "tensor '{}': its shape is not an array of at most {} integers", printable(name),
         kMaxDims);
  if (!offsets.is_array() || offsets.size() != 2)
    fail(ErrorKind::kFormat, "tensor '{}': its data_offsets are not [begin, end]", printable(name));

  Located found;
  found.tensor.name = name;
  found.tensor.dtype = dtype_of(dtype.get<std::string>(), name, float8 != nullptr);
  if (float8 && dtype == kFloat8) float8->insert(name);
  std::optional<uint64_t> n_bytes = info(found.tensor.dtype).block_bytes;
  for (const json& dim : shape) {
    found.tensor.shape.push_back(unsigned_of(dim, "a dimension", name));
    if (n_bytes) n_bytes = checked_mul(*n_bytes, found.tensor.shape.back());
  }
  if (!n_bytes) fail(ErrorKind::kFormat, "tensor '{}': the product of its dimensions overflows", printable(name));
  found.begin = unsigned_of(offsets[0], "data_offsets", name);
  found.end = unsigned_of(offsets[1], "data_offsets", name);
  if (found.begin > found.end || found.end - found.begin != *n_bytes)
    fail(ErrorKind::kFormat, "tensor '{}' lies at [{}, {}), but its shape and dtype need {} bytes", printable(name),
         found.begin, found.end, *n_bytes);
  return found;
}

}  // namespace

std::vector<Tensor> parse_safetensors(std::span<const std::byte> bytes, std::set<std::string>* float8) {
  ByteReader in(bytes, "the safetensors file");
  const uint64_t n_header = in.read<uint64_t>("the header's length");
  if (n_header > kMaxHeaderBytes)
    fail(ErrorKind::kFormat,
         "this is not a safetensors file, or a damaged one: its header claims {} bytes (limit {}){}", n_header,
         kMaxHeaderBytes, stand_in_text(bytes));
  const json header = parse_header(in.take_text(n_header, "the header"));
  const auto data = in.take(in.remaining(), "the data");

  std::vector<Located> found;
  for (const auto& [name, entry] : header.items())
    if (name != kMetadataKey) found.push_back(read_entry(name, entry, float8));
  std::sort(found.begin(), found.end(),
            [](const Located& a, const Located& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });

  // The tensors must tile the data section: no byte unclaimed, none claimed twice.
  std::vector<Tensor> tensors;
  tensors.reserve(found.size());
  uint64_t cursor = 0;
  for (Located& located : found) {
    const std::string shown = printable(located.tensor.name);
    if (located.end > data.size())
      fail(ErrorKind::kFormat,
           "tensor '{}' ends at byte {}, but the file holds {} bytes of tensors; is the download complete?", shown,
           located.end, data.size());
    if (located.begin < cursor) fail(ErrorKind::kFormat, "tensor '{}' overlaps the one before it", shown);
    if (located.begin > cursor)
      fail(ErrorKind::kFormat, "{} bytes before tensor '{}' belong to no tensor", located.begin - cursor, shown);
    located.tensor.data = data.subspan(located.begin, located.end - located.begin);
    cursor = located.end;
    tensors.push_back(std::move(located.tensor));
  }
  if (cursor != data.size())
    fail(ErrorKind::kFormat, "{} bytes at the end of the file belong to no tensor", data.size() - cursor);
  return tensors;
}

}  // namespace hunch
