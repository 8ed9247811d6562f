#include "engine/memory_build.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/context.h"
#include "kernels/ops.h"
#include "model/fingerprint.h"
#include "model/observer.h"
#include "model/rope_table.h"

namespace hunch {
namespace {

// Keys and values of the tokens from `first_kept` of a window on, head by head.
class MemoryRecorder final : public Observer {
 public:
  MemoryRecorder(const Engine& engine, const Context& context, std::span<const size_t> layers)
      : engine_(engine), context_(context), rows_(engine.config().n_layer) {
    for (const size_t l : layers) rows_[l].resize(engine.config().layers[l].n_kv_head);
  }
  size_t first_kept = 0;

  void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) override {
    if (rows_[layer].empty()) return;
    const LayerConfig& c = engine_.config().layers[layer];
    const size_t end = context_.sequence().cache().n_tokens(context_.sequence().id()), d = c.d_head;
    const bool rotates = engine_.config().position == PositionKind::kRope && c.rotates;
    std::vector<double> own;
    std::vector<float> key(d), cos, sin;
    for (size_t t = 0; t < k.rows; ++t) {
      const size_t position = end - k.rows + t;
      if (position < first_kept) continue;
      if (rotates) turn_of(engine_.model->rope(c), position, end, own, cos, sin);
      for (size_t h = 0; h < c.n_kv_head; ++h) {
        std::copy_n(k.row(t).data() + h * d, d, key.begin());
        if (rotates) rope(key, cos, sin, c.rope_interleaved);
        append(key, rows_[layer][h].keys);
        append(v.row(t).subspan(h * d, d), rows_[layer][h].values);
      }
    }
  }

  void move_to(Memory& memory) {
    memory.layers.resize(rows_.size());
    for (size_t l = 0; l < rows_.size(); ++l)
      for (Rows16& head : rows_[l]) {
        const size_t d = engine_.config().layers[l].d_head;
        memory.n_tokens = head.keys.size() / d;
        memory.layers[l].push_back({keep(memory, std::move(head.keys), d), keep(memory, std::move(head.values), d)});
      }
  }

 private:
  struct Rows16 {
    std::vector<f16> keys, values;
  };
  static void append(std::span<const float> row, std::vector<f16>& to) {
    to.resize(to.size() + row.size());
    to_f16(row, std::span(to).last(row.size()));
  }
  // cos and sin of the way back, not scaled.
  static void turn_of(const RopeTable& table, size_t position, size_t n_text, std::vector<double>& own,
                      std::vector<float>& cos, std::vector<float>& sin) {
    cos.resize(table.n_pairs()), sin.resize(table.n_pairs());
    table.at(position, table.frequencies(n_text, own), cos, sin);
    for (size_t i = 0; i < cos.size(); ++i) {
      const float length = std::sqrt(cos[i] * cos[i] + sin[i] * sin[i]);
      cos[i] /= length, sin[i] /= -length;
    }
  }
  static WeightView keep(Memory& memory, std::vector<f16> rows, size_t d) {
    const auto kept = std::make_shared<const std::vector<f16>>(std::move(rows));
    memory.owners.push_back(kept);
    return {DType::kF16, reinterpret_cast<const std::byte*>(kept->data()), kept->size() / d, d, d * sizeof(f16)};
  }

  const Engine& engine_;
  const Context& context_;
  std::vector<std::vector<Rows16>> rows_;  // [n_layer][n_kv_head]; no heads: the layer remembers nothing
};

std::vector<size_t> layers_of(const ModelConfig& c, const std::vector<size_t>& wanted) {
  const std::vector<size_t> able = remembering_layers(c);
  if (able.empty()) fail(ErrorKind::kUnsupported, "no layer of this model has keys and values that a memory can hold");
  if (wanted.empty()) {  // the last that is not after three quarters
    const auto after = std::ranges::upper_bound(able, c.n_layer * 3 / 4);
    return {after == able.begin() ? able[0] : *(after - 1)};
  }
  for (const size_t l : wanted)
    if (std::ranges::find(able, l) == able.end())
      fail(ErrorKind::kUsage, "layer {} cannot remember (layers); expected some of 0 to {} that have keys of their own",
           l, c.n_layer - 1);
  return wanted;
}

}  // namespace

std::vector<size_t> remembering_layers(const ModelConfig& config) {
  std::vector<size_t> all;
  for (const LayerConfig& l : config.layers)
    if (can_remember(l)) all.push_back(l.index);
  return all;
}

Memory build_memory(const Engine& engine, std::span<const int32_t> ids, const MemoryBuildOptions& options,
                    const Progress& progress) {
  const ModelConfig& c = engine.config();
  if (!c.causal) fail(ErrorKind::kUnsupported, "a memory is of models whose tokens see what stands before them");
  const std::vector<size_t> layers = layers_of(c, options.layers);
  if (options.max_tokens) ids = ids.first(std::min(ids.size(), options.max_tokens));
  if (ids.empty()) fail(ErrorKind::kUsage, "nothing to remember: the text has no tokens");
  const size_t n_ctx = resolve_context(c, options.n_ctx ? options.n_ctx : std::min<size_t>(c.n_ctx_train, 2048));
  if (n_ctx < 2) fail(ErrorKind::kUsage, "a window of {} tokens, expected at least 2", n_ctx);
  ContextOptions own;
  own.n_ctx = n_ctx;
  own.plan = std::make_shared<const Plan>();  // dense, and without another memory
  Context context(engine, own);
  MemoryRecorder recorder(engine, context, layers);
  context.set_observer(&recorder);
  for (size_t begin = 0, done = 0; done < ids.size(); begin += n_ctx / 2) {
    engine.compute->throw_if_stopped();
    const size_t end = std::min(begin + n_ctx, ids.size());
    context.truncate(0);
    recorder.first_kept = done - begin;
    context.append(ids.subspan(begin, end - begin));
    done = end;
    if (progress) progress("memory", done, ids.size());
  }
  context.set_observer(nullptr);
  Memory memory{.fingerprint = tensor_fingerprint(engine.model->file()),
                .vectors = vector_fingerprint(engine.model->file()),
                .arch = c.arch,
                .name = c.name,
                .n_layer = c.n_layer,
                .n_embd = c.n_embd};
  recorder.move_to(memory);
  return memory;
}

}  // namespace hunch
