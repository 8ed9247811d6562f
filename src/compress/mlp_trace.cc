#include "compress/mlp_trace.h"

#include <array>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/memory_info.h"
#include "engine/oracle.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr int kStepsPerOctave = 8;

// Watches a dense pass and appends what it sees.
class Recorder : public Observer {
 public:
  Recorder(const Engine& engine, const MlpTraceOptions& options, size_t n_tokens, Observer* also)
      : compute_(*engine.compute), options_(options), also_(also) {
    const ModelConfig& c = engine.config();
    traces_.resize(options.n_layers);
    for (size_t i = 0; i < options.n_layers; ++i) {
      MlpTrace& t = traces_[i];
      t.layer = options.first_layer + i;
      t.n_embd = c.n_embd;
      t.n_ff = c.layers[t.layer].n_ff;
      t.input.reserve(n_tokens * c.n_embd);
      if (options.input == Look::kAttention) t.mlp_input.reserve(n_tokens * c.n_embd);
      t.code.reserve(n_tokens * t.n_ff);
      norms_.push_back(neuron_norms(compute_, *engine.model->weights().layers[t.layer].mlp.down));
    }
  }

  void on_attention_input(size_t layer, MatView<const float> x) override {
    if (also_) also_->on_attention_input(layer, x);
    MlpTrace* t = trace_of(layer);
    if (t && options_.input == Look::kAttention) append(x, t->input);
  }

  void on_heads(size_t layer, MatView<const float> attn_out) override {
    if (also_) also_->on_heads(layer, attn_out);
  }

  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override {
    const size_t layer = place.layer;
    MlpTrace* t = place.is_dense() ? trace_of(layer) : nullptr;
    if (!t) return;
    append(mlp_in, options_.input == Look::kHere ? t->input : t->mlp_input);
    const std::vector<float>& norm = norms_[layer - options_.first_layer];
    if (t->n_tokens == 0) set_scale(*t, ff_act, norm);
    const size_t first = t->n_tokens;
    t->n_tokens += ff_act.rows;
    t->code.resize(t->n_tokens * t->n_ff);
    std::vector<size_t> bad(compute_.threads.n_threads(), SIZE_MAX);
    compute_.threads.parallel_for(ff_act.rows, 8, [&](size_t begin, size_t end, size_t thread) {
      for (size_t i = begin; i < end; ++i) {
        const auto act = ff_act.row(i);
        uint8_t* code = &t->code[(first + i) * t->n_ff];
        for (size_t k = 0; k < act.size(); ++k) {
          const float c = std::abs(act[k]) * norm[k];
          if (c == 0) continue;
          if (!std::isfinite(c)) bad[thread] = std::min(bad[thread], first + i);
          code[k] = uint8_t(std::clamp(std::lround(std::log2(c / t->scale) * kStepsPerOctave) + 128L, 1L, 255L));
        }
      }
    });
    for (size_t token : bad)
      if (token != SIZE_MAX)
        fail(ErrorKind::kFormat,
             "layer {}, token {} of the text: an activation is not finite; is the model file damaged?", layer, token);
  }

  std::vector<MlpTrace> take() { return std::move(traces_); }

 private:
  MlpTrace* trace_of(size_t layer) {
    return layer >= options_.first_layer && layer < options_.first_layer + traces_.size()
               ? &traces_[layer - options_.first_layer]
               : nullptr;
  }
  static void append(MatView<const float> x, std::vector<f16>& to) {
    const size_t first = to.size();
    to.resize(first + x.rows * x.cols);
    for (size_t r = 0; r < x.rows; ++r) to_f16(x.row(r), std::span(to).subspan(first + r * x.cols, x.cols));
  }
  // The root mean square of the first batch's contributions that are not zero.
  static void set_scale(MlpTrace& t, MatView<const float> ff_act, const std::vector<float>& norm) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < ff_act.rows; ++i)
      for (size_t k = 0; k < ff_act.cols; ++k)
        if (const double c = std::abs(ff_act.row(i)[k]) * norm[k]; c > 0 && std::isfinite(c)) sum += c * c, ++n;
    t.scale = n ? std::max(float(std::sqrt(sum / double(n))), 1e-20f) : 1.0f;
  }

  Compute& compute_;
  MlpTraceOptions options_;
  Observer* also_;
  std::vector<MlpTrace> traces_;
  std::vector<std::vector<float>> norms_;
};

}  // namespace

void MlpTrace::read(const std::vector<f16>& from, size_t first, MatView<float> out) const {
  for (size_t r = 0; r < out.rows; ++r)
    for (size_t c = 0; c < n_embd; ++c) out.row(r)[c] = to_f32(from[(first + r) * n_embd + c]);
}

float squared_contribution(uint8_t code) {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> t{};
    for (int i = 1; i < 256; ++i) t[size_t(i)] = std::exp2(2.0f * float(i - 128) / kStepsPerOctave);
    return t;
  }();
  return table[code];
}

size_t trace_bytes_per_token(const ModelConfig& c, Look input) {
  return c.n_ff + c.n_embd * sizeof(f16) * (input == Look::kAttention ? 2 : 1);
}

std::vector<MlpTrace> trace_mlps(const Engine& engine, std::span<const int32_t> ids, const MlpTraceOptions& options,
                                 const Progress& progress, Observer* also) {
  const uint64_t needed = trace_bytes_per_token(engine.config(), options.input) * ids.size() * options.n_layers;
  if (const uint64_t available = available_memory_bytes(); available && needed > available)
    fail(ErrorKind::kMemory,
         "not enough memory: {} tokens of {} layers take {} MB, {} MB are available; try fewer tokens of the text "
         "(max_tokens)",
         ids.size(), options.n_layers, needed >> 20, available >> 20);
  ContextOptions context_options;
  context_options.mode = "dense";
  context_options.n_ctx = std::min({options.n_window, engine.config().n_ctx_train, Context::kBatchTokens});
  Context context(engine, context_options);
  Recorder recorder(engine, options, ids.size(), also);
  context.set_observer(&recorder);
  for (size_t begin = 0; begin < ids.size(); begin += context.n_ctx()) {
    engine.compute->throw_if_stopped();
    const size_t n = std::min(context.n_ctx(), ids.size() - begin);
    context.truncate(0);
    context.append(ids.subspan(begin, n));
    if (progress) progress("trace", begin + n, ids.size());
  }
  return recorder.take();
}

}  // namespace hunch
