#include "measure/trace_observer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "engine/oracle.h"
#include "kernels/ops.h"
#include "select/relu_zeros.h"

namespace hunch {
namespace {

constexpr size_t kRuns = 8, kRunTokens = 64;
constexpr size_t kComparedRows = 64;  // of a batch, whose streams are compared between layers
constexpr size_t kMapsPerKind = 2;

double norm_of(std::span<const float> x) { return std::sqrt(double(dot(x, x))); }

double quantile(std::vector<float>& sorted, double q) {
  const double at = q * double(sorted.size() - 1);
  const size_t below = size_t(at);
  const double above = double(sorted[std::min(below + 1, sorted.size() - 1)]);
  return double(sorted[below]) + (at - double(below)) * (above - double(sorted[below]));
}

Spread spread_of(std::vector<float> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {sum / double(values.size()), quantile(values, 0.1), quantile(values, 0.9)};
}

double median_of(std::vector<float> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return quantile(values, 0.5);
}

// How well a habit shows what its kind is about; 0 where the head is of another kind.
double showing(const HeadHabit& habit, HeadKind kind) {
  if (kind_of(habit) != kind) return 0;
  switch (kind) {
    case HeadKind::kUniform: return habit.entropy;
    case HeadKind::kHeavyHitter: return habit.heaviest;
    case HeadKind::kSink: return habit.to_first;
    case HeadKind::kPrevious: return habit.to_previous;
    case HeadKind::kMixed: return 1e-3 * (1 - habit.entropy);  // shown where nothing else is to be seen
  }
  return 0;
}

}  // namespace

Sample Sample::spread_over(size_t n_windows, size_t n_ctx) {
  Sample s;
  s.n_run = std::min(kRunTokens, n_ctx);
  const size_t n_slots = n_ctx / s.n_run;  // places for a run in a window
  const size_t n_runs = std::min(kRuns, n_windows * n_slots);
  for (size_t run = 0; run < n_runs; ++run) {
    const size_t slot = (2 * run + 1) * n_windows * n_slots / (2 * n_runs);
    s.firsts.push_back(slot / n_slots * n_ctx + slot % n_slots * s.n_run);
  }
  return s;
}

TraceObserver::TraceObserver(const Engine& engine, const Sample& sample, size_t n_tokens, std::span<const HeadId> heads)
    : engine_(engine), c_(engine.config()), sample_(sample), wanted_(heads.begin(), heads.end()), layers_(c_.n_layer) {
  for (size_t i = 0; i < c_.n_layer; ++i) {
    Layer& layer = layers_[i];
    layer.head_norm.assign(c_.layers[i].n_head, 0.0);
    for (auto* values : {&layer.active, &layer.stream[0], &layer.stream[1], &layer.branch[0], &layer.branch[1]})
      values->reserve(n_tokens);
    if (c_.layers[i].has_experts()) {
      layer.rule = ActiveRule::kRouted;
      layer.n_units = c_.layers[i].moe.n_expert;
      layer.load.emplace(layer.n_units);
    } else {
      layer.rule = c_.layers[i].makes_zeros() ? ActiveRule::kNonzero : ActiveRule::kNeeded;
      layer.n_units = engine.model->weights().layers[i].mlp.n_ff;
      layer.neuron_norm = neuron_norms(*engine.compute, *engine.model->weights().layers[i].mlp.down);
    }
    layer.counts.assign(layer.n_units, 0);
    layer.sets = UnitSets(sample_.n_tokens(), layer.n_units);
  }
  cosine_.assign((c_.n_layer + 1) * (c_.n_layer + 1), 0.0);
}

void TraceObserver::begin_window(size_t first_token) {
  window_first_ = first_token;
  batch_first_ = first_token;
  batch_rows_ = 0;
}

template <class Each>
void TraceObserver::for_sampled_runs(size_t n_rows, Each&& each) const {
  for (size_t run = 0; run < sample_.firsts.size(); ++run) {
    const size_t first = sample_.firsts[run];
    if (first < batch_first_ || first >= batch_first_ + n_rows) continue;
    HUNCH_CHECK(first + sample_.n_run <= batch_first_ + n_rows, "a sampled run crosses a batch");
    each(first - batch_first_, run * sample_.n_run);
  }
}

void TraceObserver::require_finite(size_t layer, const char* what, MatView<const float> values) const {
  for (size_t t = 0; t < values.rows; ++t)
    if (!std::isfinite(dot(values.row(t), values.row(t))) &&
        !std::ranges::all_of(values.row(t), [](float x) { return std::isfinite(x); }))
      fail(ErrorKind::kFormat,
           "layer {}, token {}: {} not finite (NaN or infinity): the model's file is damaged, or its numbers overflow "
           "in "
           "the type it was converted to",
           layer, batch_first_ + t, what);
}

void TraceObserver::on_residual(size_t layer, MatView<const float> resid) {
  if (layer == 0) {
    batch_first_ += batch_rows_;
    batch_rows_ = resid.rows;
    n_kept_ = std::min(resid.rows, kComparedRows);
    stream_rows_.resize((c_.n_layer + 1) * n_kept_ * c_.n_embd);
  }
  require_finite(layer, "the residual stream is", resid);
  for (size_t i = 0; i < n_kept_; ++i)
    std::ranges::copy(resid.row(i * resid.rows / n_kept_), &stream_rows_[(layer * n_kept_ + i) * c_.n_embd]);
  if (layer < c_.n_layer) return;

  const auto row = [&](size_t l, size_t i) {
    return std::span<const float>(&stream_rows_[(l * n_kept_ + i) * c_.n_embd], c_.n_embd);
  };
  const size_t n = c_.n_layer + 1;
  engine_.compute->threads.parallel_for_dynamic(n, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t a = begin; a < end; ++a)
      for (size_t b = a; b < n; ++b) {
        double sum = 0;
        for (size_t i = 0; i < n_kept_; ++i) {
          const double norms = norm_of(row(a, i)) * norm_of(row(b, i));
          if (norms > 0) sum += std::min(1.0, double(dot(row(a, i), row(b, i))) / norms);
        }
        cosine_[a * n + b] += sum;
        if (b != a) cosine_[b * n + a] += sum;
      }
  });
  n_compared_ += n_kept_;
  n_seen_ += resid.rows;
}

void TraceObserver::on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float>) {
  if (batch_first_ != 0) return;  // the excerpt is the beginning of the text
  const size_t n = std::min(kExcerptTokens, q.rows);
  q = q.row_range(0, n);
  k = k.row_range(0, n);
  std::vector<HeadHabit>& habits = layers_[layer].habits;
  habits.resize(c_.layers[layer].n_head);
  engine_.compute->threads.parallel_for_dynamic(habits.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t h = begin; h < end; ++h) habits[h] = head_habit(attention_weights(c_.layers[layer], h, q, k), n);
  });
  keep_maps(layer, habits, q, k);
}

// Keeps the wanted heads' maps, or the most telling ones of each kind so far: never all of a large model.
void TraceObserver::keep_maps(size_t layer, std::span<const HeadHabit> habits, MatView<const float> q,
                              MatView<const float> k) {
  const auto map_of = [&](size_t h) {
    AttentionMap map{{layer, h}, habits[h], attention_weights(c_.layers[layer], h, q, k), {}};
    map.heavy = heavy_hitters(map.weights, q.rows);
    return map;
  };
  if (!wanted_.empty()) {
    for (const HeadId& id : wanted_)
      if (id.layer == layer) maps_.push_back(map_of(id.head));
    return;
  }
  for (size_t h = 0; h < habits.size(); ++h) {
    const HeadKind kind = kind_of(habits[h]);
    std::vector<size_t> rivals;
    for (size_t i = 0; i < maps_.size(); ++i)
      if (kind_of(maps_[i].habit) == kind) rivals.push_back(i);
    if (rivals.size() < kMapsPerKind) {
      maps_.push_back(map_of(h));
      continue;
    }
    const size_t worst = *std::ranges::min_element(rivals, {}, [&](size_t i) { return showing(maps_[i].habit, kind); });
    if (showing(habits[h], kind) > showing(maps_[worst].habit, kind)) maps_[worst] = map_of(h);
  }
}

namespace {

// W A, without the bias.
PartsProduct product_of(Compute& compute, const Linear& linear) {
  return [&](MatView<const float> A, MatView<float> Y) {
    linear.dot(compute, std::vector<TokenTraits>(A.rows), A, {}, Y);
    if (linear.bias().empty()) return;
    for (size_t t = 0; t < Y.rows; ++t) axpy(-1.0f, linear.bias(), Y.row(t));
  };
}

}  // namespace

void TraceObserver::on_heads(size_t layer, MatView<const float> attn_out) {
  require_finite(layer, "the heads' outputs are", attn_out);
  Layer& l = layers_[layer];
  const size_t n_head = c_.layers[layer].n_head, d_head = attn_out.cols / n_head;
  std::vector<float> norms(attn_out.rows * n_head);
  for (size_t t = 0; t < attn_out.rows; ++t)
    for (size_t h = 0; h < n_head; ++h) {
      const double norm = norm_of(attn_out.row(t).subspan(h * d_head, d_head));
      l.head_norm[h] += norm;
      norms[t * n_head + h] = float(norm);
    }
  const PartsProduct product = product_of(*engine_.compute, *engine_.model->weights().layers[layer].attention.o);
  for_sampled_runs(attn_out.rows, [&](size_t row, size_t) {
    const MatView<const float> scores(&norms[row * n_head], sample_.n_run, n_head);
    for (auto [tolerance, shares] : {std::pair(0.01, &l.heads_99), std::pair(0.1, &l.heads_90)})
      for (uint32_t n : needed_parts(*engine_.compute, attn_out.row_range(row, sample_.n_run), d_head, scores,
                                     c_.n_embd, product, tolerance)
                            .count)
        shares->push_back(float(n) / float(n_head));
  });
}

void TraceObserver::on_branch(size_t layer, Branch branch, MatView<const float> resid, MatView<const float> out) {
  Layer& l = layers_[layer];
  const size_t b = branch == Branch::kMlp;
  for (size_t t = 0; t < resid.rows; ++t) {
    const double x = norm_of(resid.row(t)), f = norm_of(out.row(t)) * double(c_.layers[layer].residual_scale);
    l.stream[b].push_back(float(x));
    l.branch[b].push_back(float(f));
    if (x > 0) l.ratio[b].push_back(float(f / x));
  }
}

void TraceObserver::on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> ff_act) {
  if (!place.is_dense() || layers_[place.layer].rule == ActiveRule::kRouted) return;
  const size_t layer = place.layer;
  require_finite(layer, "the MLP's activations are", ff_act);
  Layer& l = layers_[layer];
  const size_t n_ff = ff_act.cols;
  Rows active;
  if (l.rule == ActiveRule::kNonzero) {
    for (size_t t = 0; t < ff_act.rows; ++t) {
      select_nonzero(ff_act.row(t), active);
      for (uint32_t k : active.ids()) ++l.counts[k];
      l.active.push_back(float(active.density()));
    }
    l.n_counted += ff_act.rows;
  }
  const PartsProduct product = product_of(*engine_.compute, *engine_.model->weights().layers[layer].mlp.down);
  std::vector<float> score(sample_.n_run * n_ff);
  for_sampled_runs(ff_act.rows, [&](size_t row, size_t sampled) {
    const MatView<const float> acts = ff_act.row_range(row, sample_.n_run);
    for (size_t t = 0; t < sample_.n_run; ++t)
      for (size_t k = 0; k < n_ff; ++k) score[t * n_ff + k] = std::abs(acts.row(t)[k]) * l.neuron_norm[k];
    const MatView<const float> scores(score.data(), sample_.n_run, n_ff);
    const NeededParts needed = needed_parts(*engine_.compute, acts, 1, scores, c_.n_embd, product, 0.01);
    for (size_t t = 0; t < sample_.n_run; ++t) {
      const float share = float(needed.count[t]) / float(n_ff);
      l.needed_99.push_back(share);
      if (l.rule == ActiveRule::kNonzero) {
        for (size_t k = 0; k < n_ff; ++k)
          if (acts.row(t)[k] != 0) l.sets.insert(sampled + t, k);
      } else {
        l.active.push_back(share);
        for (size_t i = 0; i < needed.count[t]; ++i) {
          const uint32_t k = needed.order[t * n_ff + i];
          l.sets.insert(sampled + t, k);
          ++l.counts[k];
        }
        ++l.n_counted;
      }
    }
    for (uint32_t n : needed_parts(*engine_.compute, acts, 1, scores, c_.n_embd, product, 0.1).count)
      l.needed_90.push_back(float(n) / float(n_ff));
  });
}

void TraceObserver::on_router(size_t layer, MatView<const float> logits) {
  require_finite(layer, "the router's logits are", logits);
  Layer& l = layers_[layer];
  const MoeConfig& moe = c_.layers[layer].moe;
  const size_t n_used = moe.n_expert_used;
  l.load->observe(moe.gate(), logits);
  std::vector<uint32_t> run_of(logits.rows, UINT32_MAX);
  for_sampled_runs(logits.rows, [&](size_t row, size_t sampled) {
    for (size_t t = 0; t < sample_.n_run; ++t) run_of[row + t] = uint32_t(sampled + t);
  });
  for (size_t t = 0; t < logits.rows; ++t) {
    if (run_of[t] != UINT32_MAX)
      for (size_t i = 0; i < n_used; ++i) l.sets.insert(run_of[t], l.load->choices().expert[t * n_used + i]);
    l.active.push_back(float(n_used) / float(logits.cols));
  }
  l.n_counted += logits.rows;
}

void TraceObserver::finish(Trace& trace) {
  trace.n_sampled = sample_.n_tokens();
  for (size_t size = 1; size <= 64 && size <= sample_.n_run; size *= 2) trace.union_sizes.push_back(size);
  for (Layer& l : layers_) {
    LayerTrace out;
    out.rule = l.rule;
    out.n_units = l.n_units;
    out.active = spread_of(l.active);
    if (l.rule != ActiveRule::kRouted) {
      out.needed_99 = spread_of(l.needed_99);
      out.needed_90 = spread_of(l.needed_90);
    }
    for (const size_t size : trace.union_sizes) {
      std::vector<size_t> near, far;
      for (size_t run = 0; run < sample_.firsts.size(); ++run)
        for (size_t i = 0; i + size <= sample_.n_run; i += size) near.push_back(run * sample_.n_run + i);
      const size_t step = sample_.n_tokens() / size;
      for (size_t i = 0; i < step; ++i) far.push_back(i);
      out.union_near.push_back(l.sets.mean_union(near, size, 1));
      out.union_far.push_back(l.sets.mean_union(far, size, step));
    }
    out.counts = l.load ? l.load->counts() : std::move(l.counts);
    if (l.load) out.capacities = l.load->prices();
    out.n_counted = l.n_counted;
    out.head_norm = l.head_norm;
    for (double& norm : out.head_norm) norm /= double(std::max<size_t>(1, n_seen_));
    out.heads_99 = spread_of(l.heads_99);
    out.heads_90 = spread_of(l.heads_90);
    out.habits = l.habits;
    out.attention = {median_of(l.stream[0]), median_of(l.branch[0]), median_of(l.ratio[0])};
    out.mlp = {median_of(l.stream[1]), median_of(l.branch[1]), median_of(l.ratio[1])};
    trace.layers.push_back(std::move(out));
  }
  trace.cosine = cosine_;
  for (double& sum : trace.cosine) sum /= double(std::max<size_t>(1, n_compared_));
  // One of each kind first, then the seconds, until six are shown.
  if (wanted_.empty()) {
    std::ranges::stable_sort(maps_, std::greater<>(),
                             [](const AttentionMap& m) { return showing(m.habit, kind_of(m.habit)); });
    std::vector<AttentionMap> chosen;
    for (size_t round = 0; round < kMapsPerKind; ++round)
      for (const HeadKind kind :
           {HeadKind::kUniform, HeadKind::kHeavyHitter, HeadKind::kSink, HeadKind::kPrevious, HeadKind::kMixed}) {
        size_t nth = 0;
        for (const AttentionMap& map : maps_)
          if (kind_of(map.habit) == kind && nth++ == round && chosen.size() < 6) chosen.push_back(map);
      }
    maps_ = std::move(chosen);
  }
  trace.maps = std::move(maps_);
}

}  // namespace hunch
