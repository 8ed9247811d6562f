#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/memory_info.h"
#include "train/orthogonal.h"
#include "train/products.h"

namespace hunch {
namespace {

constexpr const char* kNames[] = {"adamw", "adamw8", "lion", "muon", "sgd"};
constexpr size_t kStepPiece = 4096;  // values that a thread takes at a time

// Muon is for matrices through which activations pass; embeddings, norms and biases are AdamW's.
bool is_muons(const Parameter& p) { return p.layer != Parameter::kNoLayer && p.value.rows > 1 && p.value.cols > 1; }

// Vectors as long as the parameter, in floats.
size_t states_of(OptimizerKind kind, const Parameter& p) {
  switch (kind) {
    case OptimizerKind::kAdamW: return 2;
    case OptimizerKind::kLion: return 1;
    case OptimizerKind::kMuon: return is_muons(p) ? 1 : 2;
    case OptimizerKind::kAdamW8:
    case OptimizerKind::kSgd: return 0;
  }
  return 0;
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
  const bool in_bytes = options.kind == OptimizerKind::kAdamW8;
  size_t n_bytes = in_bytes ? 2 * parameters.n_values() : 0;
  for (const auto& p : parameters.all) n_bytes += states_of(options.kind, *p) * p->size() * sizeof(float);
  require_memory(n_bytes, "what the optimiser remembers");
  for (const auto& p : parameters.all) {
    const size_t n_states = states_of(options.kind, *p);
    AlignedBuffer memory(n_states * p->size() * sizeof(float));
    const std::span<float> values = memory.as<float>();
    std::ranges::fill(values, 0.0f);
    State& s = states_.emplace_back();
    if (n_states > 0) s.first = values.first(p->size());
    if (n_states > 1) s.second = values.subspan(p->size());
    if (in_bytes) {
      s.first_bytes = std::make_unique<BlockBytes>(p->size(), true);
      s.second_bytes = std::make_unique<BlockBytes>(p->size(), false);
    }
    memory_.push_back(std::move(memory));
  }
}

size_t Optimizer::n_bytes() const {
  size_t n = 0;
  for (const State& s : states_) {
    n += s.first.size_bytes() + s.second.size_bytes();
    for (BlockBytes* bytes : {s.first_bytes.get(), s.second_bytes.get()})
      if (bytes) n += bytes->codes().size_bytes() + bytes->largest().size_bytes();
  }
  return n;
}

void Optimizer::step(Compute& compute, float learning_rate, float factor) {
  begin();
  for (size_t i = 0; i < parameters_.all.size(); ++i) step_parameter(compute, i, learning_rate, factor);
}

void Optimizer::step_layer(Compute& compute, size_t layer, float learning_rate) {
  for (size_t i = 0; i < parameters_.all.size(); ++i)
    if (parameters_.all[i]->layer == layer) step_parameter(compute, i, learning_rate, 1.0f);
}

void Optimizer::adam_values(AdamRates r, std::span<float> x, std::span<const float> g, std::span<float> m,
                            std::span<float> v) const {
  const float b1 = options_.beta1, b2 = options_.beta2, eps = options_.eps;
  for (size_t j = 0; j < x.size(); ++j) {
    const float d = r.factor * g[j];
    m[j] = b1 * m[j] + (1 - b1) * d;
    v[j] = b2 * v[j] + (1 - b2) * d * d;
    x[j] = r.shrink * x[j] - r.rate * m[j] / (std::sqrt(v[j]) * r.root + eps);
  }
}

void Optimizer::adam_step(Compute& compute, size_t i, AdamRates r) {
  const Parameter& p = *parameters_.all[i];
  const State& s = states_[i];
  compute.threads.parallel_for(p.size(), kStepPiece, [&](size_t begin, size_t end) {
    const size_t n = end - begin;
    if (!s.first_bytes)
      return adam_values(r, p.values().subspan(begin, n), p.grads().subspan(begin, n), s.first.subspan(begin, n),
                         s.second.subspan(begin, n));
    for (size_t at = begin; at < end; at += BlockBytes::kBlock) {
      const size_t block = at / BlockBytes::kBlock, n_values = s.first_bytes->size_of(block);
      float m_memory[BlockBytes::kBlock], v_memory[BlockBytes::kBlock];
      const std::span<float> m(m_memory, n_values), v(v_memory, n_values);
      s.first_bytes->read(block, m);
      s.second_bytes->read(block, v);
      adam_values(r, p.values().subspan(at, n_values), p.grads().subspan(at, n_values), m, v);
      s.first_bytes->write(block, m);
      s.second_bytes->write(block, v);
    }
  });
}

// The step has the size of AdamW's, whose values are about 0.2 each: a matrix with singular values 1 has those of
// sqrt(1 / max(rows, cols)) (Liu et al. 2025, arXiv:2502.16982, section 2.2), so that one learning rate serves both.
void Optimizer::muon_step(Compute& compute, size_t i, float shrink, float learning_rate, float factor) {
  const Parameter& p = *parameters_.all[i];
  const Arena::Scope scope(compute.arena);
  const MatView<float> way = take_matrix(compute, p.value.rows, p.value.cols);
  const std::span<float> w(way.data, p.size()), x = p.values(), m = states_[i].first;
  const std::span<const float> g = p.grads();
  const float b = options_.momentum;
  compute.threads.parallel_for(p.size(), kStepPiece, [&](size_t begin, size_t end) {
    for (size_t j = begin; j < end; ++j) {
      const float d = factor * g[j];
      m[j] = b * m[j] + (1 - b) * d;
      w[j] = b * m[j] + (1 - b) * d;  // Nesterov's
    }
  });
  orthogonalise(compute, way);
  const float rate = learning_rate * 0.2f * std::sqrt(float(std::max(p.value.rows, p.value.cols)));
  compute.threads.parallel_for(p.size(), kStepPiece, [&](size_t begin, size_t end) {
    for (size_t j = begin; j < end; ++j) x[j] = shrink * x[j] - rate * w[j];
  });
}

void Optimizer::step_parameter(Compute& compute, size_t i, float learning_rate, float factor) {
  const Parameter& p = *parameters_.all[i];
  const std::span<float> x = p.values();
  const std::span<const float> g = p.grads();
  const State& s = states_[i];
  const float shrink = p.decays ? 1 - learning_rate * options_.weight_decay : 1.0f;
  const float b1 = options_.beta1, b2 = options_.beta2;
  switch (options_.kind) {
    case OptimizerKind::kMuon:
      if (is_muons(p)) return muon_step(compute, i, shrink, learning_rate, factor);
      [[fallthrough]];
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdamW8:
      return adam_step(compute, i,
                       {shrink, float(learning_rate / (1 - std::pow(double(b1), double(n_steps_)))),
                        float(1 / std::sqrt(1 - std::pow(double(b2), double(n_steps_)))), factor});
    case OptimizerKind::kLion:
      return compute.threads.parallel_for(x.size(), kStepPiece, [&](size_t begin, size_t end) {
        for (size_t j = begin; j < end; ++j) {
          const float d = factor * g[j], way = b1 * s.first[j] + (1 - b1) * d;
          x[j] = shrink * x[j] - learning_rate * float((way > 0) - (way < 0));
          s.first[j] = b2 * s.first[j] + (1 - b2) * d;
        }
      });
    case OptimizerKind::kSgd:
      return compute.threads.parallel_for(x.size(), kStepPiece, [&](size_t begin, size_t end) {
        for (size_t j = begin; j < end; ++j) x[j] = shrink * x[j] - learning_rate * factor * g[j];
      });
  }
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
