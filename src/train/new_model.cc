#include "train/new_model.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "io/printable.h"
#include "train/random_values.h"

namespace hunch {
namespace {

// What an index of a tensor counts.
enum class ShapeAxis : uint8_t { kOne, kWord, kPosition, kStream, kQuery, kKey, kNeuron, kHead };

// A tensor by the end of its name: rows and columns, and over which of the two its reader sums.
struct TensorKind {
  const char* name;
  ShapeAxis rows, cols;
  ShapeAxis summed = ShapeAxis::kOne;  // one of the two, or neither
  bool adds = false;                   // what it gives is added to the stream
};
constexpr TensorKind kKinds[] = {
    {"token_embd.weight", ShapeAxis::kWord, ShapeAxis::kStream},
    {"position_embd.weight", ShapeAxis::kPosition, ShapeAxis::kStream},
    {"output.weight", ShapeAxis::kWord, ShapeAxis::kStream, ShapeAxis::kStream},
    {"attn_q.weight", ShapeAxis::kQuery, ShapeAxis::kStream, ShapeAxis::kStream},
    {"attn_k.weight", ShapeAxis::kKey, ShapeAxis::kStream, ShapeAxis::kStream},
    {"attn_v.weight", ShapeAxis::kKey, ShapeAxis::kStream, ShapeAxis::kStream},
    {"attn_output.weight", ShapeAxis::kStream, ShapeAxis::kQuery, ShapeAxis::kQuery, true},
    {"ffn_gate.weight", ShapeAxis::kNeuron, ShapeAxis::kStream, ShapeAxis::kStream},
    {"ffn_up.weight", ShapeAxis::kNeuron, ShapeAxis::kStream, ShapeAxis::kStream},
    {"ffn_down.weight", ShapeAxis::kStream, ShapeAxis::kNeuron, ShapeAxis::kNeuron, true},
    {"ffn_down_t.weight", ShapeAxis::kNeuron, ShapeAxis::kStream, ShapeAxis::kNeuron, true},
    {"attn_q.bias", ShapeAxis::kOne, ShapeAxis::kQuery},
    {"attn_k.bias", ShapeAxis::kOne, ShapeAxis::kKey},
    {"attn_v.bias", ShapeAxis::kOne, ShapeAxis::kKey},
    {"attn_output.bias", ShapeAxis::kOne, ShapeAxis::kStream, ShapeAxis::kOne, true},
    {"ffn_gate.bias", ShapeAxis::kOne, ShapeAxis::kNeuron},
    {"ffn_up.bias", ShapeAxis::kOne, ShapeAxis::kNeuron},
    {"ffn_down.bias", ShapeAxis::kOne, ShapeAxis::kStream, ShapeAxis::kOne, true},
    {"attn_q_norm.weight", ShapeAxis::kOne, ShapeAxis::kHead},
    {"attn_k_norm.weight", ShapeAxis::kOne, ShapeAxis::kHead},
    {"attn_norm.weight", ShapeAxis::kOne, ShapeAxis::kStream},
    {"attn_norm.bias", ShapeAxis::kOne, ShapeAxis::kStream},
    {"ffn_norm.weight", ShapeAxis::kOne, ShapeAxis::kStream},
    {"ffn_norm.bias", ShapeAxis::kOne, ShapeAxis::kStream},
    {"post_attention_norm.weight", ShapeAxis::kOne, ShapeAxis::kStream},
    {"post_ffw_norm.weight", ShapeAxis::kOne, ShapeAxis::kStream},
    {"output_norm.weight", ShapeAxis::kOne, ShapeAxis::kStream},
    {"output_norm.bias", ShapeAxis::kOne, ShapeAxis::kStream},
};

struct Sizes {
  size_t n_layer, n_embd, n_ff, n_head, n_kv_head, d_head, n_vocab, n_position;

  size_t of(ShapeAxis axis) const {
    switch (axis) {
      case ShapeAxis::kOne: return 1;
      case ShapeAxis::kWord: return n_vocab;
      case ShapeAxis::kPosition: return n_position;
      case ShapeAxis::kStream: return n_embd;
      case ShapeAxis::kQuery: return n_head * d_head;
      case ShapeAxis::kKey: return n_kv_head * d_head;
      case ShapeAxis::kNeuron: return n_ff;
      case ShapeAxis::kHead: return d_head;
    }
    return 0;
  }
};

Sizes sizes_of(const ModelConfig& c) {
  return {c.n_layer, c.n_embd, c.n_ff, c.n_head, c.n_kv_head, c.d_head, c.n_vocab, c.n_ctx_train};
}

// "blk.12." of a layer's tensor, or "".
std::string block_prefix(std::string_view name) {
  if (!name.starts_with("blk.")) return "";
  return std::string(name.substr(0, name.find('.', 4) + 1));
}

// Frequencies of the rotation, which belong to a width of heads.
bool is_kept(const Tensor& t, size_t d_head_before, size_t d_head) {
  if (t.name != "rope_freqs.weight") return false;
  if (d_head != d_head_before)
    fail(ErrorKind::kUnsupported, "'{}' is for heads of {} values: choose n_head so that they stay so wide", t.name,
         d_head_before);
  return true;
}

const TensorKind& kind_of(const Tensor& t, const Sizes& sizes) {
  const std::string end = t.name.substr(block_prefix(t.name).size());
  const auto found = std::ranges::find_if(kKinds, [&](const TensorKind& k) { return end == k.name; });
  if (found == std::end(kKinds) || t.n_elems() != sizes.of(found->rows) * sizes.of(found->cols))
    fail(ErrorKind::kUnsupported, "'{}' of {} values is nothing that hunch knows another shape of", printable(t.name),
         t.n_elems());
  return *found;
}

// Metadata of another shape. Sizes that a model has for each layer are refused.
Metadata reshaped(const Model& model, const Sizes& sizes, size_t n_ctx) {
  const ModelConfig& c = model.config();
  Metadata meta = model.file().meta;
  const auto set = [&](const char* key, size_t value, bool always) {
    const std::string name = c.arch + "." + key;
    const MetaValue* before = meta.find(name);
    if (before && std::holds_alternative<MetaArray>(*before))
      fail(ErrorKind::kUnsupported, "'{}' differs between layers: hunch makes models with equal ones", name);
    if (before || always) meta.set(name, uint32_t(value));
  };
  set("block_count", sizes.n_layer, true);
  set("embedding_length", sizes.n_embd, true);
  set("feed_forward_length", sizes.n_ff, true);
  set("attention.head_count", sizes.n_head, true);
  set("attention.head_count_kv", sizes.n_kv_head, true);
  set("context_length", n_ctx, true);
  const bool narrow = sizes.d_head * sizes.n_head != sizes.n_embd;
  set("attention.key_length", sizes.d_head, narrow);
  set("attention.value_length", sizes.d_head, narrow);
  // Which layers have a window: new ones as those that they take the place of.
  const std::string pattern = c.arch + ".attention.sliding_window_pattern";
  if (const MetaValue* found = meta.find(pattern); found && std::holds_alternative<MetaArray>(*found)) {
    MetaArray layers = std::get<MetaArray>(*found);
    std::visit(
        [&](auto& values) {
          auto grown = values;
          grown.resize(sizes.n_layer);
          for (size_t l = 0; l < sizes.n_layer && !values.empty(); ++l)
            grown[l] = values[l * values.size() / sizes.n_layer];
          values = std::move(grown);
        },
        layers);
    meta.set(pattern, std::move(layers));
  }
  set("rope.dimension_count", sizes.d_head * std::max<size_t>(1, c.rope.n_rot) / std::max<size_t>(1, c.d_head), false);
  return meta;
}

// Tensors that are made one after the other, in memory of the file.
class MadeFile {
 public:
  MadeFile(Metadata meta, DType dtype) : dtype_(dtype) {
    file_.meta = std::move(meta);
    file_.meta.set("general.file_type", info(dtype).file_type);
  }

  // fill(row, out) gives the rows.
  void add(const std::string& name, std::vector<uint64_t> shape,
           const std::function<void(size_t, std::span<float>)>& fill) {
    const size_t cols = shape.back(), rows = shape.size() > 1 ? shape[0] : 1;
    const DType dtype = shape.size() > 1 && name.ends_with(".weight") ? dtype_ : DType::kF32;
    const size_t stride = row_bytes(dtype, cols);
    require_memory(rows * stride, "a new model");
    auto memory = std::make_shared<AlignedBuffer>(rows * stride);
    const std::span<std::byte> bytes = memory->as<std::byte>();
    std::vector<float> row(cols);
    for (size_t r = 0; r < rows; ++r) {
      fill(r, row);
      codec(dtype).encode(row.data(), bytes.data() + r * stride, cols);
    }
    file_.tensors.push_back({name, dtype, std::move(shape), bytes});
    file_.owners.push_back(std::move(memory));
  }

  void keep(const Tensor& t) {
    const WeightView values = t.view();
    add(t.name, t.shape,
        [&](size_t row, std::span<float> out) { codec(t.dtype).decode(values.row(row), out.data(), out.size()); });
  }

  ModelFile take() {
    file_.index();
    return std::move(file_);
  }

 private:
  DType dtype_;
  ModelFile file_;
};

std::vector<uint64_t> shape_of(const TensorKind& kind, const Sizes& sizes) {
  if (kind.rows == ShapeAxis::kOne) return {sizes.of(kind.cols)};
  return {sizes.of(kind.rows), sizes.of(kind.cols)};
}

void check_size(const char* what, size_t value, size_t least) {
  constexpr size_t kMost = 1u << 20;
  if (value < least || value > kMost) fail(ErrorKind::kUsage, "{} of {}: expected {} to {}", what, value, least, kMost);
}

Sizes new_sizes(const ModelConfig& c, const ShapeChange& change) {
  Sizes s = sizes_of(c);
  s.n_layer = change.n_layer.value_or(s.n_layer);
  s.n_embd = change.n_embd.value_or(s.n_embd);
  check_size("layers (n_layer)", s.n_layer, 1);
  check_size("a width (n_embd)", s.n_embd, 8);
  s.n_ff = change.n_ff.value_or(std::max<size_t>(1, c.n_ff * s.n_embd / c.n_embd));
  check_size("neurons (n_ff)", s.n_ff, 1);
  s.n_head = change.n_head.value_or(std::max<size_t>(1, s.n_embd * c.n_head / c.n_embd));
  check_size("heads (n_head)", s.n_head, 1);
  const size_t group = c.n_head / c.n_kv_head;
  s.n_kv_head = change.n_kv_head.value_or(s.n_head % group == 0 ? s.n_head / group : s.n_head);
  if (s.n_embd % s.n_head != 0)
    fail(ErrorKind::kUsage, "a width of {} (n_embd) is no multiple of {} heads (n_head)", s.n_embd, s.n_head);
  s.d_head = s.n_embd / s.n_head;
  if (s.n_kv_head == 0 || s.n_head % s.n_kv_head != 0)
    fail(ErrorKind::kUsage, "{} heads (n_head) cannot share {} (n_kv_head)", s.n_head, s.n_kv_head);
  if (c.position == PositionKind::kRope && s.d_head % 2 != 0)
    fail(ErrorKind::kUsage,
         "heads of {} values cannot be turned in pairs: choose n_head so that n_embd / n_head is even", s.d_head);
  s.n_position = change.n_ctx.value_or(c.n_ctx_train);
  check_size("a context (n_ctx)", s.n_position, 2);
  return s;
}

// The file's tensors in its order: each that belongs to no layer, and for the first of layer 0 all layers' (`each` is
// told whose place a tensor takes, with the layer).
void for_each_tensor(const Model& model, size_t n_layer,
                     const std::function<void(const Tensor& like, const std::string& name, size_t layer)>& each) {
  bool layers_done = false;
  for (const Tensor& t : model.file().tensors) {
    if (block_prefix(t.name).empty()) {
      each(t, t.name, SIZE_MAX);
      continue;
    }
    if (std::exchange(layers_done, true)) continue;
    for (size_t l = 0; l < n_layer; ++l)
      for (const Tensor& own : model.file().tensors)
        if (block_prefix(own.name) == "blk.0.") each(own, fmt::format("blk.{}.{}", l, own.name.substr(6)), l);
  }
}

}  // namespace

ModelFile new_model(const Model& like, const ShapeChange& change, DType dtype, InitialWeights initial, uint64_t seed) {
  const Sizes before = sizes_of(like.config()), sizes = new_sizes(like.config(), change);
  MadeFile made(reshaped(like, sizes, sizes.n_position), dtype);
  for_each_tensor(like, sizes.n_layer, [&](const Tensor& t, const std::string& name, size_t) {
    if (is_kept(t, before.d_head, sizes.d_head)) return made.keep(t);
    const TensorKind& kind = kind_of(t, before);
    const bool vector = kind.rows == ShapeAxis::kOne,
               embeds = kind.rows == ShapeAxis::kWord || kind.rows == ShapeAxis::kPosition;
    double deviation = 0.02;
    if (!embeds && initial == InitialWeights::kFanIn) deviation = 1 / std::sqrt(double(sizes.of(kind.summed)));
    if (kind.adds) deviation /= std::sqrt(2 * double(sizes.n_layer));
    made.add(name, shape_of(kind, sizes), [&](size_t row, std::span<float> out) {
      RandomValues random(RandomValues(seed, name).next(), uint64_t{row});
      for (float& v : out) v = float(deviation) * random.normal();
      if (vector) std::ranges::fill(out, name.ends_with(".bias") ? 0.0f : 1.0f);
    });
  });
  return made.take();
}

namespace {

// Index i of a grown axis is what index source(i) was; of several copies each is read with its share.
struct GrownAxis {
  size_t before, after;
  size_t source(size_t i) const { return i % before; }
};

// [after] random shares by stream, which sum to 1 over the copies of each source.
std::vector<float> shares_of(const GrownAxis& axis, uint64_t seed, const std::string& stream) {
  std::vector<double> share(axis.after), sum(axis.before, 0.0);
  RandomValues random(seed, stream);
  for (size_t i = 0; i < axis.after; ++i) {
    share[i] = 0.5 + random.uniform();
    sum[axis.source(i)] += share[i];
  }
  std::vector<float> out(axis.after);
  for (size_t i = 0; i < axis.after; ++i) out[i] = float(share[i] / sum[axis.source(i)]);
  return out;
}

Sizes grown_sizes(const ModelConfig& c, const ShapeChange& change) {
  if (change.n_head || change.n_kv_head || change.n_ctx)
    fail(ErrorKind::kUsage, "heads and context (n_head, n_kv_head, n_ctx) of a model that grows follow from its width");
  Sizes s = sizes_of(c);
  const auto grow = [](const char* what, size_t& size, const std::optional<size_t>& to, bool by_whole) {
    if (!to) return;
    check_size(what, *to, 1);
    if (*to < size || (by_whole && *to % size != 0))
      fail(ErrorKind::kUsage, "{} of {}: expected {} {}", what, *to,
           by_whole ? "a multiple of the present" : "at least", size);
    size = *to;
  };
  grow("layers (n_layer)", s.n_layer, change.n_layer, false);
  grow("a width (n_embd)", s.n_embd, change.n_embd, true);
  const size_t times = s.n_embd / c.n_embd;
  s.n_head *= times;
  s.n_kv_head *= times;
  s.n_ff *= change.n_ff ? 1 : times;
  grow("neurons (n_ff)", s.n_ff, change.n_ff, false);
  return s;
}

}  // namespace

ModelFile grown_model(const Model& model, const ShapeChange& change, DType dtype, uint64_t seed) {
  const ModelConfig& c = model.config();
  const Sizes before = sizes_of(c), after = grown_sizes(c, change);
  if (after.n_embd != before.n_embd && c.embedding_scale != 1.0f)
    fail(ErrorKind::kUnsupported, "{} scales embeddings by their width: such a model grows in layers and neurons only",
         c.arch);
  MadeFile made(reshaped(model, after, c.n_ctx_train), dtype);
  const bool tied = !model.file().find("output.weight");
  const auto source_layer = [&](size_t l) { return l * before.n_layer / after.n_layer; };
  for_each_tensor(model, after.n_layer, [&](const Tensor& first, const std::string& name, size_t layer) {
    const bool in_layer = layer != SIZE_MAX;
    const Tensor& t =
        in_layer ? model.file().get(fmt::format("blk.{}.{}", source_layer(layer), first.name.substr(6))) : first;
    if (is_kept(t, before.d_head, after.d_head)) return made.keep(t);
    const TensorKind& kind = kind_of(t, before);
    const GrownAxis rows{before.of(kind.rows), after.of(kind.rows)}, cols{before.of(kind.cols), after.of(kind.cols)};
    const bool sums_rows = kind.summed != ShapeAxis::kOne && kind.summed == kind.rows,
               sums_cols = kind.summed != ShapeAxis::kOne && kind.summed == kind.cols;
    const std::vector<float> shares = sums_rows   ? shares_of(rows, seed, name)
                                      : sums_cols ? shares_of(cols, seed, name)
                                                  : std::vector<float>();
    // A copy of the layer before it gives nothing. An output that is tied to the embedding meets every value of the
    // stream as often as it stands there.
    float factor = in_layer && layer > 0 && kind.adds && source_layer(layer) == source_layer(layer - 1) ? 0.0f : 1.0f;
    if (tied && name.starts_with("output_norm.")) factor *= float(before.n_embd) / float(after.n_embd);
    const WeightView values = t.view();
    std::vector<float> own(cols.before);
    made.add(name, shape_of(kind, after), [&](size_t row, std::span<float> out) {
      codec(t.dtype).decode(values.row(rows.source(row)), own.data(), own.size());
      for (size_t i = 0; i < out.size(); ++i)
        out[i] = factor * own[cols.source(i)] * (sums_rows ? shares[row] : sums_cols ? shares[i] : 1.0f);
    });
  });
  return made.take();
}

}  // namespace hunch
