// Sparse mode without predictors, for activations that are never exactly zero: CATS, GRIFFIN and TEAL.
#include <algorithm>

#include "base/error.h"
#include "kernels/gather.h"
#include "kernels/ops.h"
#include "model/forward.h"
#include "select/magnitude.h"

namespace hunch {
namespace {

// y = bias, or 0 where there is none.
void start_sum(std::span<const float> bias, std::span<float> y) {
  if (bias.empty()) {
    std::ranges::fill(y, 0.0f);
  } else {
    std::ranges::copy(bias, y.begin());
  }
}

}  // namespace

// The MLP of a layer whose plan names a method, or of prompts that are observed for one. Returns false where neither
// is.
bool Forward::mlp_smooth(size_t layer, MatView<const float> mlp_in, MatView<float> out) {
  const MlpWeights& m = model_.weights().layers[layer].mlp;
  const bool sparse = mode == Mode::kSparse && input_->selections.empty();
  const SmoothLayerPlan none, &p = sparse ? plan->layers[layer].smooth : none;
  if (p.method == SmoothMethod::kCats || p.method == SmoothMethod::kTeal) {
    if (!restricts()) return false;
    if (p.method == SmoothMethod::kCats) {
      mlp_cats(layer, m, p.threshold, mlp_in, out);
    } else {
      mlp_teal(layer, m, mlp_in, out);
    }
    return true;
  }
  const auto packed = [&](const SequenceRun& run) {
    return p.method == SmoothMethod::kGriffin && run.packed && !run.packed->empty() && !(*run.packed)[layer].is_all();
  };
  if (std::ranges::none_of(input_->runs, [&](const SequenceRun& run) { return !run.observed.empty() || packed(run); }))
    return false;
  for (size_t r = 0; r < input_->runs.size(); ++r) {
    const SequenceRun& run = input_->runs[r];
    const MatView<const float> in = mlp_in.row_range(first_token_[r], run.n_tokens);
    const MatView<float> y = out.row_range(first_token_[r], run.n_tokens);
    if (packed(run)) {
      mlp_packed(layer, m, (*run.packed)[layer], in, y);
    } else {
      mlp_dense(layer, m, in, y, true, run.observed.empty() ? nullptr : &run.observed[layer]);
    }
  }
  return true;
}

// Gate densely, then up and down only where |act(gate)| is above the threshold (Lee et al. 2024, section 3.2). Without
// a gate: up densely, then down.
void Forward::mlp_cats(size_t layer, const MlpWeights& m, float threshold, MatView<const float> mlp_in,
                       MatView<float> out) {
  const size_t n_tokens = mlp_in.rows;
  const MatView<float> act = buffer(s_gate_, n_tokens, m.n_ff), ff_act = buffer(s_up_, n_tokens, m.n_ff);
  linear(mlp_in, m.gate.W ? m.gate : m.up, act);
  const WeightView W_down_t = m.W_down_t ? m.W_down_t
                              : columns  ? columns->layers[layer][InputPart::kNeurons]
                                         : WeightView();
  if (is_batch(n_tokens)) {
    active_rows_.resize(std::max(active_rows_.size(), n_tokens));
    compute_.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t t = begin; t < end; ++t) {
        activate(c_.activation, act.row(t));
        select_magnitude(act.row(t), threshold, active_rows_[t]);
        keep_magnitude(act.row(t), threshold);
      }
    });
    for (size_t t = 0; t < n_tokens; ++t) count_neurons(layer, active_rows_[t].size(), m.n_ff);
    return finish_batch(layer, m, W_down_t, mlp_in, act, out, true);
  }
  if (is_few(n_tokens)) {
    for (size_t t = 0; t < n_tokens; ++t) {
      activate(c_.activation, act.row(t));
      select_magnitude(act.row(t), threshold, active_);
      for (size_t k = 0; k < active_.size(); ++k)
        act.row(t)[k] = act.row(t)[active_.ids()[k]];  // never behind what is still to be read
      if (observer || !W_down_t) std::ranges::fill(ff_act.row(t), 0.0f);
      finish_neurons(m, W_down_t, mlp_in.row(t), act.row(t).first(active_.size()), ff_act.row(t), out.row(t));
      count_neurons(layer, active_.size(), m.n_ff);
    }
    if (observer) observer->on_mlp(layer, mlp_in, ff_act);
    return;
  }
  // Measuring quality: the same values, with every weight read once for all tokens.
  if (m.gate.W) linear(mlp_in, m.up, ff_act);
  kept_.resize(n_tokens);
  compute_.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      activate(c_.activation, act.row(t));
      kept_[t] = keep_magnitude(act.row(t), threshold);
      if (m.gate.W) {
        for (size_t k = 0; k < m.n_ff; ++k) ff_act.row(t)[k] *= act.row(t)[k];
      } else {
        std::ranges::copy(act.row(t), ff_act.row(t).begin());
      }
    }
  });
  for (size_t n : kept_) count_neurons(layer, n, m.n_ff);
  if (observer) observer->on_mlp(layer, mlp_in, ff_act);
  down(m, ff_act, out);
}

// Gate and up from the large entries of the input, down from the large activations (Liu et al. 2024, section 4.1).
void Forward::mlp_teal(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out) {
  const size_t n_tokens = mlp_in.rows;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  const MatView<float> ff_gate = m.gate.W ? buffer(s_gate_, n_tokens, m.n_ff) : MatView<float>();
  tasks_.clear();
  if (m.gate.W) tasks_.push_back({m.gate.W, m.gate.bias, ff_gate});
  tasks_.push_back({m.up.W, m.up.bias, ff_act});
  project(layer, InputPart::kMlp, mlp_in, tasks_);
  activate_rows(ff_gate, ff_act);
  if (observer) observer->on_mlp(layer, mlp_in, ff_act);
  if (m.W_down_t) {
    const float threshold = plan->layers[layer].smooth.inputs[size_t(InputPart::kNeurons)];
    if (is_few(n_tokens) && threshold >= 0) {
      const MatmulTask task{{}, m.down.bias, out};
      return project_gathered(layer, InputPart::kNeurons, m.W_down_t, threshold, ff_act, {&task, 1});
    }
    return down(m,
                threshold < 0 ? MatView<const float>(ff_act)
                              : without_small(layer, InputPart::kNeurons, m.W_down_t.cols, ff_act, threshold),
                out);
  }
  tasks_ = {{m.down.W, m.down.bias, out}};
  project(layer, InputPart::kNeurons, ff_act, tasks_);
}

// Products that share the input X. Where the layer's plan is TEAL's, only the entries of X above a threshold count:
// their columns are gathered for a few tokens that have copies by input, else the others become zeros.
void Forward::project(size_t layer, InputPart part, MatView<const float> X, std::span<const MatmulTask> tasks) {
  const bool teal = restricts() && plan->layers[layer].smooth.method == SmoothMethod::kTeal;
  const float threshold = teal ? plan->layers[layer].smooth.inputs[size_t(part)] : -1.0f;
  if (threshold >= 0 && is_few(X.rows) && columns && columns->layers[layer][part])
    return project_gathered(layer, part, columns->layers[layer][part], threshold, X, tasks);
  size_t n_out = 0;
  for (const MatmulTask& task : tasks) {
    n_out += task.W.rows;
    stats.weight_bytes += task.W.bytes();
  }
  matmul(compute_, threshold >= 0 ? without_small(layer, part, n_out, X, threshold) : X, tasks, bits_);
}

// `by_input` [n_in, n_out of all tasks]; the tasks' own W are not read.
void Forward::project_gathered(size_t layer, InputPart part, const WeightView& by_input, float threshold,
                               MatView<const float> X, std::span<const MatmulTask> tasks) {
  const bool in_mlp = part == InputPart::kMlp || part == InputPart::kNeurons;
  for (size_t t = 0; t < X.rows; ++t) {
    const std::span<const float> x = X.row(t);
    select_magnitude(x, threshold, active_);
    const std::span<const uint32_t> active = active_.ids();
    const std::span<float> values = s_values_.get<float>(X.cols).first(active.size());
    for (size_t k = 0; k < active.size(); ++k) values[k] = x[active[k]];
    const std::span<float> sums = tasks.size() == 1 ? tasks[0].Y.row(t) : s_sums_.get<float>(by_input.cols);
    size_t at = 0;
    for (const MatmulTask& task : tasks) {
      start_sum(task.bias, sums.subspan(at, task.Y.cols));
      at += task.Y.cols;
    }
    gather_axpy(compute_, by_input, active, values, sums);
    stats.weight_bytes += active.size() * row_bytes(by_input.dtype, by_input.cols);
    if (in_mlp) count_neurons(layer, active.size() * by_input.cols, X.cols * by_input.cols);
    if (tasks.size() == 1) continue;
    at = 0;
    for (const MatmulTask& task : tasks) {
      std::ranges::copy(sums.subspan(at, task.Y.cols), task.Y.row(t).begin());
      at += task.Y.cols;
    }
  }
}

// X with its small entries zeroed, until the next call.
MatView<const float> Forward::without_small(size_t layer, InputPart part, size_t n_out, MatView<const float> X,
                                            float threshold) {
  const MatView<float> masked = buffer(s_masked_, X.rows, X.cols);
  kept_.resize(X.rows);
  compute_.threads.parallel_for(X.rows, 8, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      std::ranges::copy(X.row(t), masked.row(t).begin());
      kept_[t] = keep_magnitude(masked.row(t), threshold);
    }
  });
  if (part == InputPart::kMlp || part == InputPart::kNeurons)
    for (size_t n : kept_) count_neurons(layer, n * n_out, X.cols * n_out);
  return masked;
}

// The MLP of the neurons that a prompt chose (Dong et al. 2024, section 4): a dense one, smaller.
void Forward::mlp_packed(size_t layer, const MlpWeights& m, const PackedMlp& packed, MatView<const float> mlp_in,
                         MatView<float> out) {
  const size_t n_tokens = mlp_in.rows, k = packed.neurons.size();
  const MatView<float> act = buffer(s_up_, n_tokens, k);
  const MatView<float> gate = packed.gate.W ? buffer(s_gate_, n_tokens, k) : MatView<float>();
  tasks_ = {{packed.up.W, packed.up.bias, act}};
  if (packed.gate.W) tasks_.push_back({packed.gate.W, packed.gate.bias, gate});
  matmul(compute_, mlp_in, tasks_, bits_);
  for (const MatmulTask& task : tasks_) stats.weight_bytes += task.W.bytes();
  activate_rows(gate, act);
  count_neurons(layer, n_tokens * k, n_tokens * m.n_ff);
  MatView<float> ff_act;
  if (observer || (!packed.down && !packed.W_down_t)) {
    ff_act = buffer(s_masked_, n_tokens, m.n_ff);
    for (size_t t = 0; t < n_tokens; ++t) {
      std::ranges::fill(ff_act.row(t), 0.0f);
      for (size_t i = 0; i < k; ++i) ff_act.row(t)[packed.neurons.ids()[i]] = act.row(t)[i];
    }
    if (observer) observer->on_mlp(layer, mlp_in, ff_act);
  }
  if (packed.W_down_t) {
    matmul_transposed(compute_, act, packed.W_down_t, m.down.bias, out, bits_);
    stats.weight_bytes += packed.W_down_t.bytes();
  } else if (packed.down) {
    const MatmulTask task{packed.down, m.down.bias, out};
    matmul(compute_, act, {&task, 1}, bits_);
    stats.weight_bytes += packed.down.bytes();
  } else {
    linear(ff_act, m.down, out);
  }
}

}  // namespace hunch
