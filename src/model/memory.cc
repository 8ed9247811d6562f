#include "model/memory.h"

#include <fmt/format.h>

#include "base/error.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "io/printable.h"
#include "model/fingerprint.h"
#include "model/model_parts.h"

namespace hunch {
namespace {

constexpr size_t kMostLayers = 4096, kMostTokens = size_t{1} << 28;
constexpr std::string_view kArch = "hunch-memory";

size_t size_at(const Metadata& meta, const char* key, size_t most) {
  const uint64_t n = meta.get_uint(key);
  if (n == 0 || n > most) fail(ErrorKind::kFormat, "'{}' is {}, expected 1 to {}", key, n, most);
  return n;
}

// [n_head * n_tokens, d]: head by head.
std::vector<WeightView> heads_of(const Tensor& t, size_t n_tokens) {
  if (t.shape.size() != 2 || t.shape[0] == 0 || t.shape[0] % n_tokens != 0 || t.shape[1] == 0)
    fail(ErrorKind::kFormat, "tensor '{}': expected a multiple of {} rows, the file has [{}]", t.name, n_tokens,
         fmt::join(t.shape, ", "));
  if (t.dtype != DType::kF16 && t.dtype != DType::kF32)
    fail(ErrorKind::kFormat, "tensor '{}' is {}, expected f16 or f32", t.name, name_of(t.dtype));
  std::vector<WeightView> heads;
  for (size_t row = 0; row < t.shape[0]; row += n_tokens) heads.push_back(t.view().row_range(row, n_tokens));
  return heads;
}

std::string described(const std::string& name, const std::string& arch, size_t n_layer, size_t n_embd) {
  return fmt::format("'{}' ({}, {} layers of {})", printable(name.empty() ? "unnamed" : name), printable(arch), n_layer,
                     n_embd);
}

}  // namespace

size_t Memory::bytes() const {
  size_t n = 0;
  for (const auto& heads : layers)
    for (const MemoryHead& head : heads) n += head.keys.bytes() + head.values.bytes();
  return n;
}

Memory parse_memory(ModelFile file) {
  const Metadata& meta = file.meta;
  if (const std::string arch = meta.get_string("general.architecture", ""); arch != kArch)
    fail(ErrorKind::kFormat, "not a memory: general.architecture is '{}', expected '{}'", printable(arch), kArch);
  if (const uint64_t version = meta.get_uint("hunch.version"); version != kMemoryVersion)
    fail(ErrorKind::kUnsupported, "the memory has version {}, this hunch reads {}; make it anew with `hunch memory`",
         version, kMemoryVersion);
  Memory m;
  m.fingerprint = meta.get_string("hunch.base.fingerprint");
  m.vectors = meta.get_string("hunch.base.vectors", "");
  m.arch = meta.get_string("hunch.base.architecture");
  m.name = meta.get_string("hunch.base.name", "");
  m.n_layer = size_at(meta, "hunch.base.n_layer", kMostLayers);
  m.n_embd = size_at(meta, "hunch.base.n_embd", size_t{1} << 24);
  m.n_tokens = size_at(meta, "hunch.memory.n_tokens", kMostTokens);
  m.layers.resize(m.n_layer);
  bool any = false;
  for (size_t l = 0; l < m.n_layer; ++l) {
    const std::string name = fmt::format("blk.{}.memory_", l);
    if (!file.find(name + "k")) continue;
    const std::vector<WeightView> keys = heads_of(file.get(name + "k"), m.n_tokens),
                                  values = heads_of(file.get(name + "v"), m.n_tokens);
    if (keys.size() != values.size() || keys[0].cols != values[0].cols)
      fail(ErrorKind::kFormat, "layer {}: keys of {} heads of {}, values of {} of {}", l, keys.size(), keys[0].cols,
           values.size(), values[0].cols);
    for (size_t h = 0; h < keys.size(); ++h) m.layers[l].push_back({keys[h], values[h]});
    any = true;
  }
  if (!any) fail(ErrorKind::kFormat, "the memory has no layer: expected tensors like 'blk.0.memory_k'");
  m.owners = std::move(file.owners);
  return m;
}

Memory open_memory(const std::filesystem::path& path) {
  try {
    return parse_memory(open_gguf(path));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kFormat && e.kind() != ErrorKind::kNotFound && e.kind() != ErrorKind::kUnsupported)
      throw;
    const std::string what = e.what();
    fail(e.kind(), "{}{}", what.find(path.string()) == what.npos ? fmt::format("'{}': ", path.string()) : "", what);
  }
}

bool can_remember(const LayerConfig& c) {
  return c.has_attention() && !c.borrows_keys() && c.latent.rank == 0 && !c.relative.on;
}

void check_memory(const Memory& m, const ModelFile& model, const ModelConfig& c) {
  const bool same_shape = m.n_layer == c.n_layer && m.n_embd == c.n_embd;
  const bool same = same_shape && (m.fingerprint == tensor_fingerprint(model) ||
                                   (!m.vectors.empty() && m.vectors == vector_fingerprint(model)));
  if (!same)
    fail(ErrorKind::kFormat, "the memory is of {}, this model is {}{}; make one with `hunch memory`",
         described(m.name, m.arch, m.n_layer, m.n_embd), described(c.name, c.arch, c.n_layer, c.n_embd),
         same_shape ? ", of the same shape but with other weights" : "");
  for (size_t l = 0; l < c.n_layer; ++l) {
    if (m.layers[l].empty()) continue;
    const LayerConfig& own = c.layers[l];
    if (!can_remember(own) || m.layers[l].size() != own.n_kv_head || m.layers[l][0].keys.cols != own.d_head)
      fail(ErrorKind::kFormat, "layer {}: the memory is of {} heads of {}, the model has {} of {}{}", l,
           m.layers[l].size(), m.layers[l][0].keys.cols, own.n_kv_head, own.d_head,
           can_remember(own) ? "" : " and cannot remember there");
  }
}

void keep_part(Memory& memory, const ModelParts& parts) {
  for (size_t l = 0; l < memory.layers.size() && !parts.is_whole(); ++l) {
    const LayerCut& cut = parts.cut(l);
    if (cut.mixer) keep_part(memory.layers[l], cut.kv_heads);
  }
}

void write_memory(const std::filesystem::path& path, const Memory& m) {
  HUNCH_CHECK(m.layers.size() == m.n_layer && m.n_tokens > 0, "a memory of {} layers", m.layers.size());
  Metadata meta;
  meta.set("general.architecture", std::string(kArch));
  if (!m.name.empty()) meta.set("general.name", m.name + " memory");
  meta.set("hunch.version", kMemoryVersion);
  meta.set("hunch.base.fingerprint", m.fingerprint);
  if (!m.vectors.empty()) meta.set("hunch.base.vectors", m.vectors);
  meta.set("hunch.base.architecture", m.arch);
  meta.set("hunch.base.name", m.name);
  meta.set("hunch.base.n_layer", uint64_t{m.n_layer});
  meta.set("hunch.base.n_embd", uint64_t{m.n_embd});
  meta.set("hunch.memory.n_tokens", uint64_t{m.n_tokens});
  std::vector<TensorToWrite> tensors;
  std::vector<std::byte> rows;  // of the tensor that is being written
  const auto add = [&](size_t layer, const char* name, WeightView MemoryHead::*which) {
    const auto& heads = m.layers[layer];
    const WeightView& first = heads[0].*which;
    tensors.push_back({fmt::format("blk.{}.memory_{}", layer, name),
                       first.dtype,
                       {heads.size() * m.n_tokens, first.cols},
                       [&rows, &heads, which] {
                         rows.clear();
                         for (const MemoryHead& head : heads) {
                           const WeightView& w = head.*which;
                           for (size_t r = 0; r < w.rows; ++r)
                             rows.insert(rows.end(), w.row(r), w.row(r) + row_bytes(w.dtype, w.cols));
                         }
                         return std::span<const std::byte>(rows);
                       }});
  };
  for (size_t l = 0; l < m.n_layer; ++l) {
    if (m.layers[l].empty()) continue;
    add(l, "k", &MemoryHead::keys);
    add(l, "v", &MemoryHead::values);
  }
  write_gguf(path, meta, tensors);
}

}  // namespace hunch
