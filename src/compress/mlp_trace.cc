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
    for (size_t l = options.first_layer; l < options.first_layer + options.n_layers; ++l) {
      const Layer& layer = engine.model->weights().layers[l];
      firsts_.push_back(traces_.size());
      if (layer.config.has_experts()) {
        for (uint32_t e = 0; e < layer.experts.experts.size(); ++e) add(c, l, e, layer.experts.experts[e]);
      } else {
        MlpTrace& t = add(c, l, LinearId::kNone, layer.mlp);
        t.input.reserve(n_tokens * c.n_embd);
        if (options.input == Look::kAttention) t.mlp_input.reserve(n_tokens * c.n_embd);
        t.code.reserve(n_tokens * t.n_ff);
      }
    }
  }

  // The next pass is of the text's tokens from `first` on.
  void begin(size_t first) { first_ = first; }

  void on_attention_input(size_t layer, MatView<const float> x) override {
    if (also_) also_->on_attention_input(layer, x);
    MlpTrace* t = trace_of({layer, LinearId::kNone, {}});
    if (t && options_.input == Look::kAttention) append(x, t->input);
  }

  void on_heads(size_t layer, MatView<const float> attn_out) override {
    if (also_) also_->on_heads(layer, attn_out);
  }

  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override {
    MlpTrace* t = trace_of(place);
    if (!t) return;
    append(mlp_in, options_.input == Look::kHere || !place.is_dense() ? t->input : t->mlp_input);
    const std::vector<float>& norm = norms_[size_t(t - traces_.data())];
    float& scale = scales_[place.layer - options_.first_layer];
    if (scale == 0) scale = scale_of(ff_act, norm);
    t->scale = scale;
    for (size_t i = 0; i < ff_act.rows; ++i)
      t->n_first += first_ + (place.tokens.empty() ? i : place.tokens[i]) < options_.n_first;
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
             "layer {}, token {} of the text: an activation is not finite; is the model file damaged?", place.layer,
             token);
  }

  std::vector<MlpTrace> take() { return std::move(traces_); }

 private:
  MlpTrace& add(const ModelConfig& c, size_t layer, uint32_t expert, const Mlp& mlp) {
    norms_.push_back(neuron_norms(compute_, *mlp.down));
    scales_.resize(layer - options_.first_layer + 1, 0.0f);
    MlpTrace& t = traces_.emplace_back();
    t.layer = layer, t.expert = expert, t.n_embd = c.n_embd, t.n_ff = mlp.n_ff;
    return t;
  }
  MlpTrace* trace_of(const MlpPlace& place) {
    if (place.layer < options_.first_layer || place.layer >= options_.first_layer + firsts_.size()) return nullptr;
    for (size_t i = firsts_[place.layer - options_.first_layer]; i < traces_.size(); ++i)
      if (traces_[i].layer == place.layer && traces_[i].expert == place.expert) return &traces_[i];
    return nullptr;
  }
  static void append(MatView<const float> x, std::vector<f16>& to) {
    const size_t first = to.size();
    to.resize(first + x.rows * x.cols);
    for (size_t r = 0; r < x.rows; ++r) to_f16(x.row(r), std::span(to).subspan(first + r * x.cols, x.cols));
  }
  // The root mean square of the first batch's contributions that are not zero.
  static float scale_of(MatView<const float> ff_act, const std::vector<float>& norm) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < ff_act.rows; ++i)
      for (size_t k = 0; k < ff_act.cols; ++k)
        if (const double c = std::abs(ff_act.row(i)[k]) * norm[k]; c > 0 && std::isfinite(c)) sum += c * c, ++n;
    return n ? std::max(float(std::sqrt(sum / double(n))), 1e-20f) : 1.0f;
  }

  Compute& compute_;
  MlpTraceOptions options_;
  Observer* also_;
  std::vector<MlpTrace> traces_;
  std::vector<std::vector<float>> norms_;  // of each of them
  std::vector<size_t> firsts_;             // of each layer, its first trace
  std::vector<float> scales_;              // of each layer; 0: not known yet
  size_t first_ = 0;                       // of the pass, in the text
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
  size_t most = 0;
  for (const LayerConfig& l : c.layers) {
    const size_t inputs = c.n_embd * sizeof(f16) * (input == Look::kAttention ? 2 : 1);
    most =
        std::max(most, l.has_experts() ? l.moe.n_expert_used * (l.moe.n_ff + c.n_embd * sizeof(f16)) : l.n_ff + inputs);
  }
  return most;
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
    recorder.begin(begin);
    context.append(ids.subspan(begin, n));
    if (progress) progress("trace", begin + n, ids.size());
  }
  return recorder.take();
}

}  // namespace hunch
