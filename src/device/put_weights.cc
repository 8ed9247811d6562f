#include "device/put_weights.h"

#include <algorithm>

#include "base/error.h"
#include "formats/format.h"
#include "linear/adapted.h"
#include "linear/stored.h"
#include "vulkan/repack.h"

namespace hunch {
namespace {

bool lies_by_neuron(const Linear& linear) { return linear.id.role == Role::kDown && linear.by_input(); }

// As it is put there.
WeightView view_of(const Linear& linear) {
  if (const auto* adapted = dynamic_cast<const Adapted*>(&linear)) return view_of(adapted->base());
  const WeightView W = lies_by_neuron(linear) ? linear.by_input() : linear.rows();
  if (!W || !dynamic_cast<const Stored*>(&linear))
    fail(ErrorKind::kUnsupported,
         "the matrix {} is held in a form that devices do not compute (low rank, rounded inputs, ...)",
         matrix_name(linear.id));
  if (!vulkan::reads_format(W.dtype))
    fail(ErrorKind::kUnsupported, "the matrix {} is {}, devices compute {}: `hunch convert --type` makes one of these",
         matrix_name(linear.id), name_of(W.dtype), vulkan::readable_formats());
  return W;
}

// Whether the output is the embedding.
bool is_tied(const ModelWeights& w) {
  const WeightView output = view_of(*w.output);
  return output.data == w.token_embd.data && output.rows == w.token_embd.rows;
}

uint64_t bytes_of(const WeightView& W) { return W.rows * vulkan::row_layout(W.dtype, W.cols).bytes(); }

// Room for the matrix, nothing in it.
vulkan::Matrix take_matrix(const WeightView& W, vulkan::DeviceArena& arena) {
  const vulkan::RowLayout row = vulkan::row_layout(W.dtype, W.cols);
  vulkan::Matrix m{W.dtype, uint32_t(W.rows), uint32_t(W.cols), arena.take(W.rows * row.codes), {}, {}};
  if (row.scales) m.scales = arena.take(W.rows * row.scales);
  if (row.extra) m.extra = arena.take(W.rows * row.extra);
  return m;
}

// Some of its rows, which `repack` writes into three arrays of the host.
template <class Repack>
void put_rows(const vulkan::Matrix& m, size_t first, size_t n, std::vector<std::byte>& part, vulkan::Uploader& uploader,
              const Repack& repack) {
  const vulkan::RowLayout row = vulkan::row_layout(m.dtype, m.n_cols);
  part.resize(n * row.bytes());
  std::byte* const codes = part.data();
  std::byte* const scales = codes + n * row.codes;
  std::byte* const extra = scales + n * row.scales;
  repack(row, codes, scales, extra);
  uploader.upload({codes, n * row.codes}, m.codes.behind(first * row.codes));
  if (row.scales) uploader.upload({scales, n * row.scales}, m.scales.behind(first * row.scales));
  if (row.extra) uploader.upload({extra, n * row.extra}, m.extra.behind(first * row.extra));
}

// Some rows of a matrix, side by side.
class GatheredRows {
 public:
  GatheredRows(const WeightView& W, std::span<const uint32_t> rows) {
    const size_t stride = row_bytes(W.dtype, W.cols);
    bytes_.resize(rows.size() * stride);
    for (size_t i = 0; i < rows.size(); ++i) std::copy_n(W.row(rows[i]), stride, bytes_.data() + i * stride);
    view = {W.dtype, bytes_.data(), rows.size(), W.cols, stride};
  }
  WeightView view;

 private:
  std::vector<std::byte> bytes_;
};

class Putting {
 public:
  Putting(Compute& compute, vulkan::Uploader& uploader, vulkan::DeviceArena& arena)
      : compute_(compute), uploader_(uploader), arena_(arena) {}

  vulkan::Matrix matrix(const WeightView& W) {
    const vulkan::Matrix m = take_matrix(W, arena_);
    constexpr size_t kPartBytes = size_t{1} << 24;
    const size_t n_part = std::max<size_t>(1, kPartBytes / vulkan::row_layout(W.dtype, W.cols).bytes());
    for (size_t first = 0; first < W.rows; first += n_part) {
      compute_.throw_if_stopped();
      const size_t n = std::min(n_part, W.rows - first);
      put_rows(m, first, n, part_, uploader_,
               [&](const auto& row, std::byte* codes, std::byte* scales, std::byte* extra) {
                 compute_.threads.parallel_for(n, 16, [&](size_t begin, size_t end) {
                   vulkan::repack_rows(W, first + begin, end - begin, codes + begin * row.codes,
                                       scales + begin * row.scales, extra + begin * row.extra);
                 });
               });
    }
    return m;
  }

  vulkan::Piece vector(std::span<const float> values) {
    return values.empty() ? vulkan::Piece() : uploader_.upload(arena_, values);
  }

  DeviceLinear linear(const std::unique_ptr<Linear>& linear) {
    if (!linear) return {};
    return {matrix(view_of(*linear)), vector(linear->bias()), lies_by_neuron(*linear), linear->id};
  }

  // Of a layer's MLP, the neurons that are hot; W_down without its bias, which comes with those that are cold.
  DeviceLinear neurons(const std::unique_ptr<Linear>& linear, std::span<const uint32_t> hot) {
    if (!linear) return {};
    const bool is_down = linear->id.role == Role::kDown;
    std::vector<float> bias;
    for (size_t i = 0; !is_down && !linear->bias().empty() && i < hot.size(); ++i)
      bias.push_back(linear->bias()[hot[i]]);
    return {matrix(GatheredRows(view_of(*linear), hot).view), vector(bias), is_down, linear->id};
  }

  vulkan::Kernels::Norm norm(NormKind kind, float eps, const NormWeights& weights, size_t n) {
    return {.layer = kind == NormKind::kLayer,
            .eps = eps,
            .weight = vector(weights.weight),
            .bias = vector(weights.bias),
            .n = uint32_t(n)};
  }

  vulkan::Kernels::Norm head_norm(const LayerConfig& c, const NormWeights& weights, size_t n_head) {
    if (c.qk_norm == QkNorm::kNone) return {};
    const bool all = c.qk_norm == QkNorm::kAllHeads;
    vulkan::Kernels::Norm own = norm(c.qk_norm_kind, c.norm_eps, weights, all ? n_head * c.d_head : c.d_head);
    own.n_heads = all ? 1 : uint32_t(n_head);
    own.own_weights = c.qk_norm == QkNorm::kPerHead;
    return own;
  }

 private:
  Compute& compute_;
  vulkan::Uploader& uploader_;
  vulkan::DeviceArena& arena_;
  std::vector<std::byte> part_;
};

}  // namespace

std::string matrix_name(const LinearId& id) {
  return id.layer == LinearId::kNone ? std::string(name_of(id.role))
                                     : fmt::format("{} of layer {}", name_of(id.role), id.layer);
}

vulkan::Matrix put_matrix(const WeightView& W, vulkan::Uploader& uploader, vulkan::DeviceArena& arena,
                          std::span<const uint32_t> rows) {
  if (!rows.empty()) return put_matrix(GatheredRows(W, rows).view, uploader, arena);
  const vulkan::Matrix m = take_matrix(W, arena);
  std::vector<std::byte> part;
  put_rows(m, 0, W.rows, part, uploader, [&](const auto&, std::byte* codes, std::byte* scales, std::byte* extra) {
    vulkan::repack_rows(W, 0, W.rows, codes, scales, extra);
  });
  return m;
}

uint64_t weight_bytes_on_device(const Model& model, size_t first_layer, std::span<const NeuronSplit> split) {
  const ModelWeights& w = model.weights();
  uint64_t bytes = bytes_of(view_of(*w.output));
  if (first_layer == 0) {
    if (!vulkan::reads_format(w.token_embd.dtype))
      fail(ErrorKind::kUnsupported, "the embedding is {}, devices compute {}", name_of(w.token_embd.dtype),
           vulkan::readable_formats());
    if (!is_tied(w)) bytes += bytes_of(w.token_embd);
    bytes += w.position_embd.size() * sizeof(float);
  }
  for (const Layer& layer : std::span(w.layers).subspan(first_layer)) {
    layer.for_each_linear([&](const Linear& linear) { bytes += bytes_of(view_of(linear)); });
    if (!split.empty()) bytes -= cold_bytes(layer, split[layer.config.index]);
  }
  return bytes;
}

DeviceWeights put_weights(const Model& model, size_t first_layer, std::vector<NeuronSplit> split, Compute& compute,
                          vulkan::Uploader& uploader, vulkan::DeviceArena& arena) {
  const ModelConfig& c = model.config();
  const ModelWeights& w = model.weights();
  Putting putting(compute, uploader, arena);
  DeviceWeights d;
  d.first_layer = first_layer;
  d.split = std::move(split);
  if (first_layer == 0) {
    d.token_embd = putting.matrix(w.token_embd);
    d.position_embd = putting.vector(w.position_embd);
    if (!w.embd_norm.empty()) d.embd_norm = putting.norm(c.norm, c.norm_eps, w.embd_norm, c.n_embd);
  }
  if (c.final_norm) d.output_norm = putting.norm(c.norm, c.norm_eps, w.output_norm, c.n_embd);
  if (first_layer == 0 && is_tied(w)) {
    d.output = {d.token_embd, putting.vector(w.output->bias()), false, w.output->id};
  } else {
    d.output = putting.linear(w.output);
  }
  d.layers.resize(first_layer);
  for (const Layer& l : std::span(w.layers).subspan(first_layer)) {
    const LayerConfig& lc = l.config;
    DeviceLayer layer;
    layer.attn_norm = putting.norm(lc.norm, lc.norm_eps, l.attn_norm, lc.n_embd);
    layer.ffn_norm = putting.norm(lc.norm, lc.norm_eps, l.ffn_norm, lc.n_embd);
    layer.q_norm = putting.head_norm(lc, l.attention.q_norm, lc.n_head);
    layer.k_norm = putting.head_norm(lc, l.attention.k_norm, lc.n_kv_head);
    layer.q = putting.linear(l.attention.q);
    layer.k = putting.linear(l.attention.k);
    layer.v = putting.linear(l.attention.v);
    layer.o = putting.linear(l.attention.o);
    layer.n_neurons = uint32_t(lc.n_ff);
    if (!d.split.empty() && !d.split[lc.index].cold.empty()) {
      const NeuronSplit& own = d.split[lc.index];
      layer.n_neurons = uint32_t(own.hot.size());
      layer.n_cold = uint32_t(own.cold.size());
      layer.gate = putting.neurons(l.mlp.gate, own.hot);
      layer.up = putting.neurons(l.mlp.up, own.hot);
      layer.down = putting.neurons(l.mlp.down, own.hot);
    } else {
      layer.gate = putting.linear(l.mlp.gate);
      layer.up = putting.linear(l.mlp.up);
      layer.down = putting.linear(l.mlp.down);
    }
    d.layers.push_back(layer);
  }
  return d;
}

}  // namespace hunch
