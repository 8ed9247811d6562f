#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/memory_info.h"

namespace hunch {
namespace {

constexpr const char* kNames[] = {"adamw", "lion", "sgd"};
constexpr size_t kStepPiece = 4096;  // values that a thread takes at a time

size_t states_of(OptimizerKind kind) {
  return kind == OptimizerKind::kAdamW ? 2 : kind == OptimizerKind::kLion ? 1 : 0;
}

}  // namespace

const char* name_of(OptimizerKind kind) { return kNames[size_t(kind)]; }

std::vector<std::string> optimizer_names() { return {std::begin(kNames), std::end(kNames)}; }

OptimizerKind optimizer_from(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  HUNCH_CHECK(found != std::end(kNames), "an optimiser '{}'", name);
  return OptimizerKind(found - kNames);
}

Optimizer::Optimizer(Parameters& parameters, const OptimizerOptions& options)
    : parameters_(parameters), options_(options) {
  const size_t n_states = states_of(options.kind);
  require_memory(n_states * parameters.n_values() * sizeof(float), "what the optimiser remembers");
  for (const auto& p : parameters.all) {
    AlignedBuffer memory(n_states * p->size() * sizeof(float));
    const std::span<float> values = memory.as<float>();
    std::ranges::fill(values, 0.0f);
    states_.push_back({n_states > 0 ? values.first(p->size()) : std::span<float>(),
                       n_states > 1 ? values.subspan(p->size()) : std::span<float>()});
    memory_.push_back(std::move(memory));
  }
}

void Optimizer::step(Compute& compute, float learning_rate, float factor) {
  begin();
  for (size_t i = 0; i < parameters_.all.size(); ++i) step_parameter(compute, i, learning_rate, factor);
}

void Optimizer::step_layer(Compute& compute, size_t layer, float learning_rate) {
  for (size_t i = 0; i < parameters_.all.size(); ++i)
    if (parameters_.all[i]->layer == layer) step_parameter(compute, i, learning_rate, 1.0f);
}

void Optimizer::step_parameter(Compute& compute, size_t i, float learning_rate, float factor) {
  const Parameter& p = *parameters_.all[i];
  const std::span<float> x = p.values();
  const std::span<const float> g = p.grads();
  const State s = states_[i];
  const float shrink = p.decays ? 1 - learning_rate * options_.weight_decay : 1.0f;
  const float b1 = options_.beta1, b2 = options_.beta2, eps = options_.eps;
  // Of AdamW: both moments begin at 0, which is made up for.
  const float rate = float(learning_rate / (1 - std::pow(double(b1), double(n_steps_))));
  const float root = float(1 / std::sqrt(1 - std::pow(double(b2), double(n_steps_))));
  compute.threads.parallel_for(x.size(), kStepPiece, [&](size_t begin, size_t end) {
    switch (options_.kind) {
      case OptimizerKind::kAdamW:
        for (size_t j = begin; j < end; ++j) {
          const float d = factor * g[j];
          s.first[j] = b1 * s.first[j] + (1 - b1) * d;
          s.second[j] = b2 * s.second[j] + (1 - b2) * d * d;
          x[j] = shrink * x[j] - rate * s.first[j] / (std::sqrt(s.second[j]) * root + eps);
        }
        break;
      case OptimizerKind::kLion:
        for (size_t j = begin; j < end; ++j) {
          const float d = factor * g[j], way = b1 * s.first[j] + (1 - b1) * d;
          x[j] = shrink * x[j] - learning_rate * float((way > 0) - (way < 0));
          s.first[j] = b2 * s.first[j] + (1 - b2) * d;
        }
        break;
      case OptimizerKind::kSgd:
        for (size_t j = begin; j < end; ++j) x[j] = shrink * x[j] - learning_rate * factor * g[j];
        break;
    }
  });
}

double gradient_norm(Compute& compute, const Parameters& parameters) {
  double sum = 0;
  std::vector<double> sums;
  for (const auto& p : parameters.all) {
    const std::span<const float> g = p->grads();
    sums.assign((g.size() + kStepPiece - 1) / kStepPiece, 0.0);
    compute.threads.parallel_for(sums.size(), 1, [&](size_t begin, size_t end) {
      for (size_t piece = begin; piece < end; ++piece)
        for (const float v : g.subspan(piece * kStepPiece, std::min(kStepPiece, g.size() - piece * kStepPiece)))
          sums[piece] += double(v) * v;
    });
    for (const double s : sums) sum += s;
  }
  return std::sqrt(sum);
}

float clip_factor(double norm, double most) { return most <= 0 || norm <= most ? 1.0f : float(most / norm); }

double Schedule::at(size_t step) const {
  if (step < n_warmup) return peak * double(step + 1) / double(n_warmup);
  const size_t n = n_steps > n_warmup + 1 ? n_steps - n_warmup - 1 : 1;
  const double done = std::min(1.0, double(step - n_warmup) / double(n));
  return peak * (last + (1 - last) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
}

}  // namespace hunch
