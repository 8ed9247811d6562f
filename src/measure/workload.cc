#include "measure/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/format.h"
#include "io/sparse_tensors.h"
#include "model/recurrent.h"

namespace hunch {
namespace {

constexpr size_t kMost = size_t{1} << 30;  // sequences, or tokens, that a turning point is looked for among

const char* name_of(Mixer mixer) {
  switch (mixer) {
    case Mixer::kAttention: return "attention";
    case Mixer::kNone: return "none";
    case Mixer::kShortConv: return "convolution";
    case Mixer::kMamba2: return "Mamba-2";
    case Mixer::kDeltaNet: return "delta net";
  }
  return "?";
}

bool is_mlp(Role role) { return role == Role::kGate || role == Role::kUp || role == Role::kDown; }
bool is_routed(const LinearId& id) { return is_mlp(id.role) && id.expert < LinearId::kShared; }

// Whether a matrix is the MLP's, or stands beside it, and not the mixer's.
bool is_of_mlp(Role role) {
  switch (role) {
    case Role::kRouter:
    case Role::kSharedGate:
    case Role::kPerLayerGate:
    case Role::kPerLayerOut:
    case Role::kLaurelLeft:
    case Role::kLaurelRight: return true;
    default: return is_mlp(role);
  }
}

KeyWork keys_of(const LayerConfig& c) {
  if (!c.has_attention()) return {};
  // A latent is a key of n_rot + rank numbers, of which the last rank are the value; the cache holds both.
  const size_t width_sum = c.latent.rank ? c.latent.rank : c.d_head;
  return {2 * c.n_kv_head, c.d_head, c.n_head, c.d_head, width_sum, !c.borrows_keys(), c.window, c.causal};
}

StateWork state_of(const LayerConfig& c) {
  if (!c.is_recurrent()) return {};
  const RecurrentConfig& r = c.recurrent;
  const uint64_t conv = 2 * r.n_taps * r.n_conv(), states = uint64_t{r.n_head} * r.d_head * r.d_state;
  // Of each number of a state, h' = a h + (dt x) B and y += h' C: five. The delta rule reads it once more, for what its
  // key recalls: a h, k (a h), + u k, q h': seven. A short convolution has none, and is gated twice.
  const uint64_t each = c.mixer == Mixer::kMamba2 ? 5 : c.mixer == Mixer::kDeltaNet ? 7 : 0;
  const uint64_t gates = c.mixer == Mixer::kShortConv ? 2 * r.width() : 0;
  const RecurrentSize size = recurrent_size(c);
  return {size.n_state, conv + each * states + gates, size.n_input};
}

LayerWork layer_work(const Layer& layer) {
  const LayerConfig& c = layer.config;
  LayerWork work;
  work.mixer = c.latent.rank ? "latent attention" : name_of(c.mixer);
  if (c.has_attention() && c.window) work.mixer += fmt::format(", window {}", c.window);
  if (c.has_experts()) work.n_expert = c.moe.n_expert, work.n_used = c.moe.n_expert_used;
  work.mlp = !c.has_mlp()      ? "none"
             : c.has_experts() ? fmt::format("{} of {} experts", work.n_used, work.n_expert)
                               : "mlp";
  work.keys = keys_of(c);
  work.state = state_of(c);
  layer.for_each_linear([&](const Linear& linear) {
    const LinearId& id = linear.id;
    (is_routed(id) ? work.expert : is_of_mlp(id.role) ? work.shared : work.mixing).add(linear);
  });
  return work;
}

double sum_to(double n) { return n * (n + 1) / 2; }

// Keys that the new tokens of one sequence see, all together, and the keys of the cache that any of them sees.
struct KeysSeen {
  double by_all = 0, at_least_once = 0;
};
KeysSeen keys_seen(const KeyWork& keys, const Pass& pass) {
  const double n = double(pass.n_tokens), before = double(pass.n_before), end = before + n;
  if (!keys.causal) return {n * end, end};
  if (keys.window == 0) return {sum_to(end) - sum_to(before), end};
  const double window = double(keys.window);
  // Tokens at positions before window - 1 see all up to themselves; the others a window each.
  const double narrow = std::clamp(window - before, 0.0, n), wide = n - narrow;
  const double first = before >= window ? before + 1 - window : 0;
  return {sum_to(before + narrow) - sum_to(before) + wide * window, end - first};
}

Work matrices(const MatrixWork& m, double n_tokens) {
  return {2 * double(m.weights) * n_tokens, n_tokens > 0 ? double(m.bytes) : 0};
}

// The least n in [1, kMost] for which `holds`, which goes on holding.
template <class Holds>
std::optional<size_t> least(const Holds& holds) {
  if (!holds(kMost)) return std::nullopt;
  size_t low = 0, high = 1;  // does not, does
  while (!holds(high)) low = high, high *= 2;
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    (holds(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace

void MatrixWork::add(const Linear& linear) {
  const Linear &outer = linear.factor(Axis::kOut), &inner = linear.factor(Axis::kIn);
  weights += uint64_t{outer.n_out} * outer.n_in;
  if (&outer != &inner) weights += uint64_t{inner.n_out} * inner.n_in;
  bytes += linear.bytes();
}

Workload workload_of(const Model& model) {
  for (const LayerConfig& layer : model.config().layers)
    if (layer.relative.on)
      fail(ErrorKind::kUnsupported,
           "what Transformer-XL's relative positions and its memory of earlier segments read is not counted");
  const ModelWeights& w = model.weights();
  Workload work;
  for (const Layer& layer : w.layers) work.layers.push_back(layer_work(layer));
  for (const auto* linear : {&w.words_in, &w.per_layer.project})
    if (*linear) work.around.add(**linear);
  for (const auto* ends : {&w.streams.spread, &w.streams.merge})
    for (const auto& linear : *ends) work.around.add(*linear);
  if (w.words_out) work.words_out.add(*w.words_out);
  if (w.output) work.logits.add(*w.output);
  const auto table = [&](const WeightView& W) {
    if (!W) return;
    work.embedding.weights += uint64_t{W.rows} * W.cols;
    work.embedding.bytes += W.bytes();
    work.lookup_bytes += row_bytes(W.dtype, W.cols);
  };
  table(w.token_embd);
  table(w.per_layer.table);
  work.tied = w.output && w.output->rows() && w.output->rows().data == w.token_embd.data;
  uint64_t counted = work.around.weights + work.words_out.weights + work.logits.weights + work.embedding.weights;
  if (work.tied) counted -= uint64_t{w.token_embd.rows} * w.token_embd.cols;
  for (const LayerWork& layer : work.layers) counted += layer.weights();
  uint64_t all = 0;
  for (const Tensor& t : model.file().tensors) all += n_weights(t);
  work.other_weights = all - std::min(all, counted);
  return work;
}

const char* name_of(Part part) {
  constexpr const char* kNames[kNumParts] = {"mixer's matrices", "keys and values", "state", "mlp", "experts"};
  return kNames[size_t(part)];
}

Work work_of(const LayerWork& layer, Part part, const Pass& pass) {
  const double n = double(pass.tokens());
  switch (part) {
    case Part::kMixing: return matrices(layer.mixing, n);
    case Part::kMlp: return matrices(layer.shared, n);
    case Part::kExperts: {
      if (layer.n_expert == 0) return {};
      const double used = double(layer.n_used) / double(layer.n_expert);
      const double read = -std::expm1(n * std::log1p(-used));  // 1 - (1 - used)^n, of all experts
      return {2 * double(layer.expert.weights) * used * n, double(layer.expert.bytes) * read};
    }
    case Part::kKeys: {
      const KeyWork& keys = layer.keys;
      if (keys.n_rows == 0) return {};
      const KeysSeen seen = keys_seen(keys, pass);
      const double sequences = double(pass.n_sequences);
      return {2 * double(keys.n_head) * double(keys.width_dot + keys.width_sum) * seen.by_all * sequences,
              double(keys.n_rows * kv_value_bytes(pass.kv, keys.width)) * seen.at_least_once * sequences};
    }
    case Part::kState: {
      const double moved = 2 * sizeof(float) * double(layer.state.values);  // read and written
      return {double(layer.state.flops) * n, moved * double(pass.n_sequences)};
    }
  }
  return {};
}

Work work_of(const LayerWork& layer, const Pass& pass) {
  Work all;
  for (size_t p = 0; p < kNumParts; ++p) all += work_of(layer, Part(p), pass);
  return all;
}

Work ends_of(const Workload& model, const Pass& pass) {
  Work all = matrices(model.around, double(pass.tokens()));
  for (const MatrixWork* m : {&model.words_out, &model.logits})
    all += matrices(*m, double(pass.n_sequences * pass.n_logits));
  all.bytes += double(pass.tokens()) * double(model.lookup_bytes);
  return all;
}

Work work_of(const Workload& model, const Pass& pass) {
  Work all = ends_of(model, pass);
  for (const LayerWork& layer : model.layers) all += work_of(layer, pass);
  return all;
}

double Roofline::seconds(const Work& work) const {
  return std::max(work.flops / flops_per_s, work.bytes / bytes_per_s);
}

double seconds_of(const Workload& model, const Pass& pass, const Roofline& machine) {
  double seconds = machine.seconds(ends_of(model, pass));
  for (const LayerWork& layer : model.layers)
    for (size_t p = 0; p < kNumParts; ++p) seconds += machine.seconds(work_of(layer, Part(p), pass));
  return seconds;
}

std::optional<size_t> turning_batch(const LayerWork& layer, Part part, Pass pass, const Roofline& machine) {
  return least([&](size_t n) {
    pass.n_sequences = n;
    return machine.computes(work_of(layer, part, pass));
  });
}

std::optional<size_t> turning_batch(const Workload& model, Pass pass, const Roofline& machine) {
  return least([&](size_t n) {
    pass.n_sequences = n;
    return machine.computes(work_of(model, pass));
  });
}

std::optional<size_t> keys_outweigh_weights(const Workload& model, KvType kv) {
  return least([&](size_t n) {
    const Pass pass{.n_before = n - 1, .kv = kv};
    double keys = 0;
    for (const LayerWork& layer : model.layers) keys += work_of(layer, Part::kKeys, pass).bytes;
    return keys >= work_of(model, pass).bytes - keys;
  });
}

std::optional<size_t> attention_outweighs_matrices(const Workload& model) {
  return least([&](size_t n) {
    const Pass pass{.n_tokens = n};
    Work keys, all;
    for (const LayerWork& layer : model.layers) {
      keys += work_of(layer, Part::kKeys, pass);
      all += work_of(layer, pass);
    }
    return keys.flops >= all.flops - keys.flops;
  });
}

}  // namespace hunch
