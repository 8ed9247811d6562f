#include "io/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "io/byte_reader.h"
#include "io/gguf.h"
#include "io/gguf_layout.h"
#include "io/naming.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr const char* kType = "imatrix";
constexpr const char* kTexts = "imatrix.datasets";
constexpr const char* kChunks = "imatrix.chunk_count";
constexpr const char* kChunkTokens = "imatrix.chunk_size";

void check_numbers(const std::string& name, std::span<const float> values) {
  for (const float v : values)
    if (!(v >= 0 && v < INFINITY))
      fail(ErrorKind::kFormat, "importance of '{}' holds {}; expected numbers from 0 on", printable(name), v);
}

std::vector<float> f32_values(const Tensor& t) {
  if (t.dtype != DType::kF32)
    fail(ErrorKind::kFormat, "tensor '{}' is {}, expected f32", printable(t.name), name_of(t.dtype));
  std::vector<float> values(t.n_elems());
  if (!values.empty()) std::memcpy(values.data(), t.data.data(), values.size() * sizeof(float));
  check_numbers(t.name, values);
  return values;
}

ImportanceMatrix from_gguf(const ModelFile& file) {
  if (const std::string type = file.meta.get_string("general.type", ""); type != kType)
    fail(ErrorKind::kFormat, "this GGUF file is no importance matrix: general.type is '{}', expected '{}'",
         printable(type, 40), kType);
  ImportanceMatrix out;
  if (file.meta.has(kTexts)) out.texts = file.meta.get_strings(kTexts);
  const auto small = [&](const char* key) {
    return uint32_t(std::min<uint64_t>(UINT32_MAX, file.meta.get_uint(key, 0)));
  };
  out.n_chunks = small(kChunks);
  out.chunk_tokens = small(kChunkTokens);
  for (const Tensor& sums : file.tensors) {
    if (!sums.name.ends_with(kSums)) continue;
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    const Tensor& counts = file.get(name + std::string(kCounts));
    ImportanceMatrix::Entry entry{sums.cols(), f32_values(sums), f32_values(counts)};
    if (entry.n_columns == 0 || entry.counts.empty() || sums.rows() != entry.n_matrices())
      fail(ErrorKind::kFormat, "'{}' has shape [{}] and {} counts, expected one for each row", printable(sums.name),
           fmt::join(sums.shape, ", "), entry.n_matrices());
    out.entries.emplace(name, std::move(entry));
  }
  return out;
}

// int32 entries; of each: int32 length, name, int32 calls, int32 values, f32 values (means times calls, of all experts
// after each other); then perhaps int32 chunks and the text's name.
ImportanceMatrix from_list(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "the importance matrix");
  const auto count = [&](const char* what) {
    const int32_t n = in.read<int32_t>(what);
    if (n < 0) fail(ErrorKind::kFormat, "{} is {}; is this an importance matrix?", what, n);
    return size_t(n);
  };
  ImportanceMatrix out;
  const size_t n_entries = count("the number of entries");
  if (n_entries == 0) fail(ErrorKind::kFormat, "the importance matrix has no entries");
  for (size_t i = 0; i < n_entries; ++i) {
    const std::string name(in.take_text(count("the length of a name"), "a name"));
    const size_t n_calls = count("a number of calls"), n_values = count("a number of values");
    const auto data = in.take(uint64_t{n_values} * sizeof(float), "values");
    if (n_values == 0) fail(ErrorKind::kFormat, "the entry '{}' is empty", printable(name));
    ImportanceMatrix::Entry entry;
    entry.n_columns = n_values;  // of all experts, until the model says how many there are
    entry.sums.resize(n_values);
    std::memcpy(entry.sums.data(), data.data(), data.size());
    check_numbers(name, entry.sums);
    entry.counts = {float(std::max<size_t>(1, n_calls))};
    if (!out.entries.emplace(name, std::move(entry)).second)
      fail(ErrorKind::kFormat, "the entry '{}' is there twice", printable(name));
  }
  if (in.remaining() >= sizeof(int32_t)) out.n_chunks = uint32_t(count("the number of chunks"));
  if (in.remaining() >= sizeof(int32_t)) {
    const size_t n = count("the length of the text's name");
    out.texts = {std::string(in.take_text(n, "the text's name"))};
  }
  return out;
}

}  // namespace

std::vector<float> ImportanceMatrix::Entry::means(size_t matrix) const {
  std::vector<float> out(n_columns);
  if (counts[matrix] > 0) {
    for (size_t i = 0; i < n_columns; ++i) out[i] = sums[matrix * n_columns + i] / counts[matrix];
    return out;
  }
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  for (size_t i = 0; i < n_columns && all > 0; ++i) {
    double sum = 0;
    for (size_t m = 0; m < n_matrices(); ++m) sum += sums[m * n_columns + i];
    out[i] = float(sum / all);
  }
  return out;
}

const ImportanceMatrix::Entry* ImportanceMatrix::find(const std::string& tensor) const {
  const auto it = entries.find(tensor);
  return it == entries.end() ? nullptr : &it->second;
}

ImportanceMatrix parse_imatrix(std::span<const std::byte> bytes) {
  const bool is_gguf = bytes.size() >= 4 && std::memcmp(bytes.data(), gguf::kMagic.data(), 4) == 0;
  ImportanceMatrix out = is_gguf ? from_gguf(parse_gguf(bytes)) : from_list(bytes);
  if (out.entries.empty()) fail(ErrorKind::kFormat, "the importance matrix has no entries");
  return out;
}

ImportanceMatrix open_imatrix(const std::filesystem::path& path) {
  const MappedFile file(path);
  return naming(path, [&] { return parse_imatrix(file.bytes()); });
}

void write_imatrix(const std::filesystem::path& path, const ImportanceMatrix& matrix, const Stop* stop) {
  Metadata meta;
  meta.set("general.type", std::string(kType));
  meta.set(kTexts, MetaArray(matrix.texts));
  meta.set(kChunks, matrix.n_chunks);
  meta.set(kChunkTokens, matrix.chunk_tokens);
  std::vector<TensorToWrite> tensors;
  for (const auto& named : matrix.entries) {
    const std::string& name = named.first;
    const ImportanceMatrix::Entry& entry = named.second;
    const uint64_t n = entry.n_matrices();
    tensors.push_back({name + std::string(kSums), DType::kF32, {n, entry.n_columns}, [&entry] {
                         return std::as_bytes(std::span(entry.sums));
                       }});
    tensors.push_back({name + std::string(kCounts), DType::kF32, {n, 1}, [&entry] {
                         return std::as_bytes(std::span(entry.counts));
                       }});
  }
  write_gguf(path, meta, tensors, {}, stop);
}

}  // namespace hunch
