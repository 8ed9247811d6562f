#include "compress/compress_store.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/sha256.h"
#include "io/gguf.h"
#include "model/fingerprint.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

constexpr const char* kCompressedSuffix = ".compressed";
constexpr const char* kKey = "hunch.compress.key";

std::string layer_name(size_t layer) { return fmt::format("layer-{}", layer); }

TensorToWrite floats(std::string name, std::span<const float> values) {
  return {std::move(name), DType::kF32, {values.size()}, [values] { return std::as_bytes(values); }};
}

std::vector<float> floats_of(const Tensor& t) {
  if (t.dtype != DType::kF32) fail(ErrorKind::kFormat, "tensor '{}' is no f32", t.name);
  std::vector<float> values(t.n_elems());
  std::memcpy(values.data(), t.data.data(), t.data.size());
  return values;
}

}  // namespace

fs::path CompressStore::path_of(const std::string& name) const { return folder_ / (name + kCompressedSuffix); }

void CompressStore::save(size_t layer, const CompressResult& result, std::span<const float> stream) const {
  std::error_code ec;
  fs::create_directories(folder_, ec);
  if (ec) fail(ErrorKind::kIo, "'{}': cannot make this folder for finished layers: {}", folder_.string(), ec.message());
  Metadata meta;
  meta.set(kKey, key_);
  std::vector<int64_t> ids, counts;
  std::vector<double> figures;
  std::vector<std::string> names;
  std::vector<TensorToWrite> tensors;
  for (size_t i = 0; i < result.matrices.size(); ++i) {
    const CompressedMatrix& m = result.matrices[i];
    ids.insert(ids.end(), {int64_t{m.id.layer}, int64_t(m.id.role), int64_t{m.id.expert}});
    counts.insert(counts.end(), {int64_t(m.n_tokens), int64_t(m.n_zeros)});
    figures.insert(figures.end(), {m.error, m.damping});
    tensors.push_back({fmt::format("matrix.{}", i), m.encoded.dtype, {m.encoded.rows, m.encoded.cols}, [&m] {
                         return std::span<const std::byte>(m.encoded.bytes.bytes());
                       }});
    if (!m.int8.scale.empty()) tensors.push_back(floats(fmt::format("int8_scale.{}", i), m.int8.scale));
    if (m.int8.input_scale > 0) tensors.push_back(floats(fmt::format("int8_input.{}", i), {&m.int8.input_scale, 1}));
    if (!m.int8.outliers.empty()) {
      const EncodedMatrix& apart = m.int8.outlier_weight;
      tensors.push_back({fmt::format("int8_outliers.{}", i), DType::kI32, {m.int8.outliers.size()}, [&m] {
                           return std::as_bytes(std::span(m.int8.outliers));
                         }});
      tensors.push_back({fmt::format("int8_outlier_weight.{}", i), apart.dtype, {apart.rows, apart.cols}, [&apart] {
                           return std::span<const std::byte>(apart.bytes.bytes());
                         }});
    }
    if (!m.coded.codes.empty()) {
      tensors.push_back({fmt::format("codes.{}", i), DType::kI8, {m.coded.codes.size()}, [&m] {
                           return std::as_bytes(std::span(m.coded.codes));
                         }});
      tensors.push_back(floats(fmt::format("scale.{}", i), m.coded.scale.values));
      tensors.push_back(floats(fmt::format("zero.{}", i), m.coded.zero.values));
    }
    if (!m.bias.empty()) tensors.push_back(floats(fmt::format("bias.{}", i), m.bias));
  }
  std::vector<int64_t> firsts;
  for (size_t v = 0; v < result.vectors.size(); ++v) {
    names.push_back(result.vectors[v].tensor);
    firsts.push_back(int64_t(result.vectors[v].first));
    tensors.push_back(floats(fmt::format("vector.{}", v), result.vectors[v].values));
  }
  meta.set("hunch.compress.ids", MetaArray(ids));
  meta.set("hunch.compress.counts", MetaArray(counts));
  meta.set("hunch.compress.figures", MetaArray(figures));
  meta.set("hunch.compress.vectors", MetaArray(names));
  meta.set("hunch.compress.firsts", MetaArray(firsts));
  write_gguf(path_of(layer_name(layer)), meta, tensors);
  Metadata last;
  last.set(kKey, key_);
  last.set("hunch.compress.layer", uint64_t{layer});
  const TensorToWrite all = floats("stream", stream);
  write_gguf(path_of("stream"), last, {&all, 1});
}

std::optional<CompressResult> CompressStore::load(size_t layer) const {
  std::error_code ec;
  if (!fs::exists(path_of(layer_name(layer)), ec)) return std::nullopt;
  try {
    const ModelFile file = open_gguf(path_of(layer_name(layer)));
    if (file.meta.get_string(kKey) != key_) return std::nullopt;
    const std::vector<int64_t> ids = file.meta.get_ints("hunch.compress.ids"),
                               counts = file.meta.get_ints("hunch.compress.counts"),
                               firsts = file.meta.get_ints("hunch.compress.firsts");
    const MetaValue* figures_value = file.meta.find("hunch.compress.figures");
    const auto* array = figures_value ? std::get_if<MetaArray>(figures_value) : nullptr;
    const auto* figures = array ? std::get_if<std::vector<double>>(array) : nullptr;
    const std::vector<std::string>& names = file.meta.get_strings("hunch.compress.vectors");
    const size_t n = ids.size() / 3;
    if (!figures || ids.size() != 3 * n || counts.size() != 2 * n || figures->size() != 2 * n ||
        firsts.size() != names.size())
      return std::nullopt;
    CompressResult result;
    for (size_t i = 0; i < n; ++i) {
      const Tensor& t = file.get(fmt::format("matrix.{}", i));
      CompressedMatrix m;
      m.id = {uint32_t(ids[3 * i]), Role(ids[3 * i + 1]), uint32_t(ids[3 * i + 2])};
      m.encoded = EncodedMatrix(t.dtype, t.rows(), t.cols());
      std::memcpy(m.encoded.bytes.data(), t.data.data(), t.data.size());
      if (const Tensor* scale = file.find(fmt::format("int8_scale.{}", i))) m.int8.scale = floats_of(*scale);
      if (const Tensor* input = file.find(fmt::format("int8_input.{}", i)))
        m.int8.input_scale = floats_of(*input).at(0);
      if (const Tensor* outliers = file.find(fmt::format("int8_outliers.{}", i))) {
        const Tensor& apart = file.get(fmt::format("int8_outlier_weight.{}", i));
        m.int8.outliers.resize(outliers->n_elems());
        std::memcpy(m.int8.outliers.data(), outliers->data.data(), outliers->data.size());
        m.int8.outlier_weight = EncodedMatrix(apart.dtype, apart.rows(), apart.cols());
        std::memcpy(m.int8.outlier_weight.bytes.data(), apart.data.data(), apart.data.size());
      }
      if (const Tensor* codes = file.find(fmt::format("codes.{}", i))) {
        m.coded.codes.resize(codes->n_elems());
        std::memcpy(m.coded.codes.data(), codes->data.data(), codes->data.size());
        for (auto [name, side] : {std::pair{"scale", &m.coded.scale}, {"zero", &m.coded.zero}}) {
          side->values = floats_of(file.get(fmt::format("{}.{}", name, i)));
          if (side->values.empty() || side->values.size() % m.encoded.rows != 0) return std::nullopt;
          side->rows = m.encoded.rows, side->cols = side->values.size() / m.encoded.rows;
        }
        if (m.coded.codes.size() != m.encoded.rows * m.encoded.cols) return std::nullopt;
      }
      if (const Tensor* bias = file.find(fmt::format("bias.{}", i))) m.bias = floats_of(*bias);
      m.n_tokens = size_t(counts[2 * i]), m.n_zeros = uint64_t(counts[2 * i + 1]);
      m.error = (*figures)[2 * i], m.damping = (*figures)[2 * i + 1];
      result.matrices.push_back(std::move(m));
    }
    for (size_t v = 0; v < names.size(); ++v)
      result.vectors.push_back({names[v], size_t(firsts[v]), floats_of(file.get(fmt::format("vector.{}", v)))});
    return result;
  } catch (const Error&) {
    return std::nullopt;
  }
}

CompressStore::Finished CompressStore::finished(size_t n_stream) const {
  std::error_code ec;
  if (!fs::exists(path_of("stream"), ec)) return {};
  try {
    const ModelFile file = open_gguf(path_of("stream"));
    if (file.meta.get_string(kKey) != key_) return {};
    const size_t n = file.meta.get_uint("hunch.compress.layer") + 1;
    for (size_t layer = 0; layer < n; ++layer)
      if (!load(layer)) return {};
    Finished out{n, floats_of(file.get("stream"))};
    return out.stream.size() == n_stream ? out : Finished();
  } catch (const Error&) {
    return {};
  }
}

void CompressStore::clear(const fs::path& folder) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder, ec))
    if (entry.path().extension() == kCompressedSuffix) fs::remove(entry.path(), ec);
  fs::remove(folder, ec);  // fails where something else is left in it
}

std::string compress_key(const ModelFile& model, std::span<const int32_t> ids, const CompressOptions& o) {
  Sha256 sha;
  const GridOptions grid = o.target.grid.value_or(GridOptions{0, false, 0, false});
  sha.update(fmt::format("1 {} {} {} {} {} {} {} {} {} {} {} {} {} {}\n", tensor_fingerprint(model), ids.size(),
                         name_of(o.methods), o.sparsity.share, o.sparsity.pruned, o.sparsity.m, name_of(o.target.dtype),
                         grid.bits, grid.symmetric, grid.group, o.damping, o.act_order, o.dense_inputs, o.n_tokens));
  if (grid.scale_as != DType::kF32 || o.int8.scale_as != DType::kF32)
    sha.update(fmt::format("{} {}\n", name_of(grid.scale_as), name_of(o.int8.scale_as)));
  sha.update(fmt::format("{} {} {} {} {}\n", int(o.int8.scales), o.int8.static_inputs, int(o.int8.range),
                         o.outliers_from, o.alpha.value_or(-1)));
  if (o.scope != PruneScope::kMatrix) sha.update(fmt::format("scope {}\n", int(o.scope)));
  for (const auto& [name, type] : o.types) sha.update(fmt::format("{} {}\n", name, name_of(type)));
  for (Role role : o.roles) sha.update(fmt::format("{} ", name_of(role)));
  for (Role role : o.rotated) sha.update(fmt::format("rotated {} ", name_of(role)));
  sha.update(std::as_bytes(ids));
  return sha.finish_hex();
}

}  // namespace hunch
