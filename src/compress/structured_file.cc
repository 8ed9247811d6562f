#include "compress/structured_file.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "formats/format.h"
#include "io/file_types.h"
#include "model/norm_names.h"

namespace hunch {
namespace {

// The layer of a tensor's name; none for those of the whole model.
std::optional<size_t> layer_of(const std::string& name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  return size_t(std::strtoull(name.c_str() + 4, nullptr, 10));
}

// Ids of what units of `unit` values consist of, from `first` on.
void append(std::vector<uint32_t>& ids, size_t first, const std::vector<uint32_t>& units, size_t unit) {
  for (const uint32_t u : units)
    for (size_t i = 0; i < unit; ++i) ids.push_back(uint32_t(first + u * unit + i));
}

MetaValue by_layer(const std::vector<int32_t>& values) {
  if (std::ranges::all_of(values, [&](int32_t v) { return v == values[0]; })) return uint32_t(values[0]);
  return MetaArray(values);
}

// The entries of layers that stay, where an array has one for each.
MetaValue without_dropped(const MetaArray& array, const std::vector<KeptUnits>& layers) {
  return std::visit(
      [&](const auto& values) -> MetaValue {
        auto left = values;
        left.clear();
        for (size_t i = 0; i < values.size(); ++i)
          if (!layers[i].dropped) left.push_back(values[i]);
        return MetaArray(left);
      },
      array);
}

size_t size_of(const MetaArray& array) {
  return std::visit([](const auto& values) { return values.size(); }, array);
}

}  // namespace

StructuredFile::StructuredFile(const Engine& engine, const StructuredOptions& options, StructuredReport& report)
    : engine_(engine), options_(options), report_(report) {
  size_t n = 0;
  for (const KeptUnits& layer : report.layers) numbers_.push_back(layer.dropped ? SIZE_MAX : n++);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    if (!report.layers[layer.config.index].dropped) place(layer);
}

void StructuredFile::place(const Layer& layer) {
  const LayerConfig& c = layer.config;
  const KeptUnits& kept = report_.layers[c.index];
  const std::string blk = fmt::format("blk.{}.", c.index);
  if (kept.cuts_groups()) {
    for (const Linear* w : {layer.attention.q.get(), layer.attention.k.get(), layer.attention.v.get()})
      cut_rows(*w, kept.groups, w->id.role == Role::kQuery ? c.group_width() : c.d_head);
    cut_cols(*layer.attention.o, kept.groups, c.group_width(), kept.heads_bias);
    const auto cut_vector = [&](const std::string& name, size_t unit) {
      if (!engine_.model->file().find(name)) return;
      Cut& cut = cuts_[name];
      cut.all_rows = false;
      cut.by_value = true;
      append(cut.rows, 0, kept.groups, unit);
    };
    cut_vector(blk + "attn_sinks.weight", c.n_group());
    if (c.qk_norm == QkNorm::kPerHead)
      for (const char* kind : {"weight", "bias"}) {
        cut_vector(blk + "attn_q_norm." + kind, c.group_width());
        cut_vector(blk + "attn_k_norm." + kind, c.d_head);
      }
  }
  if (kept.cuts_neurons()) {
    for (const Linear* w : {layer.mlp.gate.get(), layer.mlp.up.get()})  // the order that fused ones have
      if (w) cut_rows(*w, kept.neurons, 1);
    cut_cols(*layer.mlp.down, kept.neurons, 1, kept.down_bias);
  }
}

// Matrices of one tensor come in the order in which they stand there.
void StructuredFile::cut_rows(const Linear& matrix, const std::vector<uint32_t>& units, size_t unit) {
  const TensorRows& where = std::as_const(*engine_.model).weights().tensors.at(matrix.id);
  for (const std::string& name : {where.stored, bias_name(where.name)}) {
    Cut& cut = cuts_[name];
    cut.all_rows = false;
    append(cut.rows, where.first, units, unit);
  }
}

void StructuredFile::cut_cols(const Linear& matrix, const std::vector<uint32_t>& units, size_t unit,
                              const std::vector<float>& bias) {
  const TensorRows& where = std::as_const(*engine_.model).weights().tensors.at(matrix.id);
  Cut& cut = cuts_[where.stored];
  (where.by_input ? cut.all_rows : cut.all_cols) = false;
  append(where.by_input ? cut.rows : cut.cols, 0, units, unit);
  if (bias.empty()) return;
  const std::string name = bias_name(where.name);
  biases_[name] = &bias;
  if (!engine_.model->file().find(name)) cut.bias = &bias, cut.bias_name = name;
}

std::string StructuredFile::new_name(const std::string& name) const {
  const std::optional<size_t> layer = layer_of(name);
  if (!layer || *layer >= numbers_.size()) return name;
  return fmt::format("blk.{}{}", numbers_[*layer], name.substr(name.find('.', 4)));
}

std::vector<TensorToWrite> StructuredFile::tensors() {
  std::vector<TensorToWrite> out;
  const auto add = [&](TensorToWrite w) {
    uint64_t n = 1;
    for (const uint64_t d : w.shape) n *= d;
    report_.bytes += w.shape.empty() ? 0 : n / w.shape.back() * row_bytes(w.dtype, w.shape.back());
    out.push_back(std::move(w));
  };
  for (const Tensor& t : engine_.model->file().tensors) {
    report_.bytes_before += t.data.size();
    const std::optional<size_t> layer = layer_of(t.name);
    if (layer && *layer < numbers_.size() && report_.layers[*layer].dropped) continue;
    const auto floats = [](const std::vector<float>* values) { return std::as_bytes(std::span(*values)); };
    if (const auto bias = biases_.find(t.name); bias != biases_.end()) {
      const std::vector<float>* values = bias->second;
      add({new_name(t.name), DType::kF32, {values->size()}, [=] { return floats(values); }});
    } else if (const auto cut = cuts_.find(t.name); cut != cuts_.end()) {
      add(written(t, cut->second));
      if (const std::vector<float>* values = cut->second.bias)
        add({new_name(cut->second.bias_name), DType::kF32, {values->size()}, [=] { return floats(values); }});
    } else {
      add({new_name(t.name), t.dtype, t.shape, [&t] { return t.data; }});
    }
  }
  return out;
}

TensorToWrite StructuredFile::written(const Tensor& tensor, const Cut& cut) {
  DType dtype = tensor.dtype;
  std::vector<uint64_t> shape = tensor.shape;
  if (!cut.all_cols) {
    shape.back() = cut.cols.size();
    dtype = fitting_dtype(info(dtype).writes() ? dtype : DType::kF16, shape.back());
    if (dtype != tensor.dtype)
      report_.notes.push_back(fmt::format("{}: rows of {} are no whole {} blocks of {}, written as {}", tensor.name,
                                          shape.back(), name_of(tensor.dtype), info(tensor.dtype).block_elems,
                                          name_of(dtype)));
  }
  if (!cut.all_rows) {
    const size_t at = shape.size() > 1 ? shape.size() - 2 : 0;
    shape[at] = cut.rows.size() / (cut.by_value && shape.size() > 1 ? tensor.cols() : 1);
  }
  return {new_name(tensor.name), dtype, std::move(shape),
          [this, &tensor, &cut, dtype] { return produce(tensor, cut, dtype); }};
}

// Valid until the next call.
std::span<const std::byte> StructuredFile::produce(const Tensor& tensor, const Cut& cut, DType dtype) {
  engine_.compute->throw_if_stopped();
  bytes_.clear();
  const bool is_vector = cut.by_value || tensor.shape.size() == 1;
  const size_t width = is_vector ? 1 : tensor.cols(), stride = row_bytes(tensor.dtype, width);
  const size_t n_rows = tensor.n_elems() / width;
  std::vector<uint32_t> rows = cut.rows;
  if (cut.all_rows) rows.resize(n_rows), std::iota(rows.begin(), rows.end(), 0u);
  std::vector<float> whole(width), left(cut.cols.size());
  for (const uint32_t r : rows) {
    HUNCH_CHECK(r < n_rows, "row {} of {} in {}", r, n_rows, tensor.name);
    const std::byte* const from = tensor.data.data() + r * stride;
    if (cut.all_cols) {
      bytes_.insert(bytes_.end(), from, from + stride);
      continue;
    }
    codec(tensor.dtype).decode(from, whole.data(), width);
    for (size_t i = 0; i < left.size(); ++i) left[i] = whole[cut.cols[i]];
    const size_t at = bytes_.size();
    bytes_.resize(at + row_bytes(dtype, left.size()));
    codec(dtype).encode(left.data(), bytes_.data() + at, left.size());
  }
  return bytes_;
}

Metadata StructuredFile::metadata() const {
  const ModelFile& file = engine_.model->file();
  const ModelConfig& c = engine_.config();
  Metadata meta = file.meta;
  for (const std::string& key : file.meta.keys()) {
    const MetaValue* value = file.meta.find(key);
    const auto* array = std::get_if<MetaArray>(value);
    if (options_.n_dropped && array && key.starts_with(c.arch + ".") && size_of(*array) == c.n_layer)
      meta.set(key, without_dropped(*array, report_.layers));
  }
  const auto key = [&](const char* name) { return c.arch + "." + name; };
  std::vector<int32_t> n_head, n_kv_head, n_ff;
  bool cuts_groups = false, cuts_neurons = false;
  for (size_t i = 0; i < report_.layers.size(); ++i) {
    const KeptUnits& kept = report_.layers[i];
    if (kept.dropped) continue;
    const LayerConfig& l = config(i);
    n_kv_head.push_back(int32_t(kept.cuts_groups() ? kept.groups.size() : l.has_attention() ? l.n_kv_head : 0));
    n_head.push_back(int32_t(kept.cuts_groups() ? kept.groups.size() * l.n_group() : l.n_head));
    n_ff.push_back(int32_t(kept.cuts_neurons() ? kept.neurons.size() : l.n_ff));
    cuts_groups = cuts_groups || kept.cuts_groups();
    cuts_neurons = cuts_neurons || kept.cuts_neurons();
  }
  if (options_.n_dropped) meta.set(key("block_count"), uint32_t(n_ff.size()));
  if (cuts_groups) {
    meta.set(key("attention.head_count"), by_layer(n_head));
    meta.set(key("attention.head_count_kv"), by_layer(n_kv_head));
    // Without these keys a head's width would be that of the stream by the number of heads.
    for (const char* name : {"attention.key_length", "attention.value_length"})
      if (!meta.has(key(name))) meta.set(key(name), uint32_t(c.d_head));
  }
  if (cuts_neurons) meta.set(key("feed_forward_length"), by_layer(n_ff));
  meta.set("hunch.structured.sparsity", float(options_.sparsity));
  meta.set("hunch.structured.layers_dropped", uint32_t(options_.n_dropped));
  meta.set("hunch.structured.text", options_.text_name);
  meta.set("hunch.structured.tokens", uint64_t{report_.n_tokens});
  return meta;
}

}  // namespace hunch
