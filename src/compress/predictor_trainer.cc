#include "compress/predictor_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (arXiv:1711.05101), algorithm 2.
class AdamW {
 public:
  explicit AdamW(size_t n) : m_(n), v_(n) {}

  // `step` is absolute.
  void update(Compute& compute, std::span<float> w, std::span<const float> gradient, float step, float decay) {
    ++t_;
    const float b1 = 0.9f, b2 = 0.98f;
    const float c1 = 1 - std::pow(b1, float(t_)), c2 = 1 - std::pow(b2, float(t_));
    compute.threads.parallel_for(w.size(), 1024, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        m_[i] += (1 - b1) * (gradient[i] - m_[i]);
        v_[i] += (1 - b2) * (gradient[i] * gradient[i] - v_[i]);
        w[i] -= step * (m_[i] / c1) / (std::sqrt(v_[i] / c2) + 1e-12f) + decay * w[i];
      }
    });
  }

 private:
  std::vector<float> m_, v_;
  size_t t_ = 0;
};

float root_mean_square(std::span<const float> x) {
  return std::max(std::sqrt(dot(x, x) / float(std::max<size_t>(x.size(), 1))), 1e-8f);
}

class Trainer {
 public:
  Trainer(Compute& compute, LowRankFit& fit, const MlpTrace& trace, size_t n_tokens, const TrainOptions& options)
      : compute_(compute),
        fit_(fit),
        trace_(trace),
        options_(options),
        adam_in_(fit.in.values.size()),
        adam_out_(fit.out.values.size()),
        adam_bias_(fit.bias.size()) {
    n_held_ = std::max<size_t>(n_tokens / 20, 1);
    n_train_ = n_tokens - n_held_;
    size_t active = 0;
    const size_t step = std::max<size_t>(n_train_ / 1000, 1);
    size_t n = 0;
    for (size_t t = 0; t < n_train_; t += step, n += trace.n_ff)
      for (uint8_t c : trace.codes(t)) active += c != 0;
    negative_weight_ = float(double(active) / double(std::max<size_t>(n, 1))) + 0.005f;
  }

  TrainReport train(const Progress& progress) {
    TrainReport report;
    LowRankFit best = fit_;
    report.loss = report.loss_before = held_out_loss();
    std::vector<size_t> order(n_train_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::mt19937_64 rng(options_.seed);
    const size_t n_batches = (n_train_ + options_.batch - 1) / options_.batch, n_steps = n_batches * options_.n_epochs;
    size_t step = 0;
    for (size_t epoch = 0; epoch < options_.n_epochs; ++epoch) {
      std::ranges::shuffle(order, rng);
      for (size_t b = 0; b < n_batches; ++b, ++step) {
        compute_.throw_if_stopped();
        const auto tokens =
            std::span(order).subspan(b * options_.batch, std::min(options_.batch, n_train_ - b * options_.batch));
        const float warm_up = std::min(1.0f, float(step + 1) / 20.0f), decay = 1 - 0.95f * float(step) / float(n_steps);
        gradient_step(tokens, float(options_.rate) * warm_up * decay);
        if (progress) progress("train", step + 1, n_steps);
      }
      ++report.n_epochs;
      const double loss = held_out_loss();
      if (!(loss < report.loss)) break;
      report.loss = loss;
      best = fit_;
    }
    fit_ = std::move(best);
    return report;
  }

 private:
  void load(std::span<const size_t> tokens) {
    X_ = Matrix(tokens.size(), trace_.n_embd);
    compute_.threads.parallel_for(tokens.size(), 8, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) trace_.read(trace_.input, tokens[i], X_.view().row_range(i, 1));
    });
  }

  void forward() {
    H_ = multiply_nt(compute_, X_.view(), fit_.in.weights());
    if (options_.relu)
      for (float& h : H_.values) h = std::max(h, 0.0f);
    S_ = Matrix(X_.rows, trace_.n_ff);
    const MatmulTask task{fit_.out.weights(), fit_.bias, S_.view()};
    matmul(compute_, H_.view(), {&task, 1});
  }

  // Turns scores into the gradient by them (where `gradient`), and returns the sum of the losses.
  double loss(std::span<const size_t> tokens, bool gradient) {
    std::vector<double> sums(compute_.threads.n_threads());
    const float negative = negative_weight_;
    compute_.threads.parallel_for(tokens.size(), 4, [&](size_t begin, size_t end, size_t thread) {
      for (size_t i = begin; i < end; ++i) {
        const std::span<float> s = S_.row(i);
        const std::span<const uint8_t> code = trace_.codes(tokens[i]);
        if (gradient) {
          for (size_t k = 0; k < s.size(); ++k) {
            const float p = 1.0f / (1.0f + std::exp(-s[k]));
            s[k] = code[k] ? p - 1.0f : negative * p;
          }
          continue;
        }
        for (size_t k = 0; k < s.size(); ++k) {
          const float x = code[k] ? -s[k] : s[k];  // -log sigmoid(-x) = log(1 + exp(x))
          sums[thread] += (code[k] ? 1.0f : negative) * (std::max(x, 0.0f) + std::log1p(std::exp(-std::abs(x))));
        }
      }
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  double held_out_loss() {
    double sum = 0;
    std::vector<size_t> tokens;
    const size_t n = std::min<size_t>(n_held_, 4096);
    for (size_t first = 0; first < n; first += options_.batch) {
      tokens.resize(std::min(options_.batch, n - first));
      std::iota(tokens.begin(), tokens.end(), n_train_ + first);
      load(tokens);
      forward();
      sum += loss(tokens, false);
    }
    return sum / double(n);
  }

  void gradient_step(std::span<const size_t> tokens, float rate) {
    load(tokens);
    forward();
    loss(tokens, true);
    const Matrix St = transpose(compute_, S_.view());
    const Matrix d_out = multiply_nn(compute_, St.view(), H_.weights());
    std::vector<float> d_bias(trace_.n_ff);
    for (size_t k = 0; k < trace_.n_ff; ++k) {
      float sum = 0;
      for (float g : St.row(k)) sum += g;
      d_bias[k] = sum;
    }
    Matrix d_H = multiply_nn(compute_, S_.view(), fit_.out.weights());
    if (options_.relu)
      for (size_t i = 0; i < d_H.values.size(); ++i)
        if (H_.values[i] == 0) d_H.values[i] = 0;
    const Matrix d_in = multiply_nn(compute_, transpose(compute_, d_H.view()).view(), X_.weights());
    const float decay = rate * float(options_.weight_decay);
    adam_out_.update(compute_, fit_.out.values, d_out.values, rate * root_mean_square(fit_.out.values), decay);
    adam_in_.update(compute_, fit_.in.values, d_in.values, rate * root_mean_square(fit_.in.values), decay);
    adam_bias_.update(compute_, fit_.bias, d_bias, rate * root_mean_square(fit_.bias), 0);
  }

  Compute& compute_;
  LowRankFit& fit_;
  const MlpTrace& trace_;
  TrainOptions options_;
  AdamW adam_in_, adam_out_, adam_bias_;
  size_t n_train_ = 0, n_held_ = 0;
  float negative_weight_ = 1;
  Matrix X_, H_, S_;
};

}  // namespace

TrainReport train_low_rank(Compute& compute, LowRankFit& fit, const MlpTrace& trace, size_t n_tokens,
                           const TrainOptions& options, const Progress& progress) {
  if (n_tokens < 2) fail(ErrorKind::kUsage, "a predictor cannot be trained on {} tokens", n_tokens);
  return Trainer(compute, fit, trace, n_tokens, options).train(progress);
}

}  // namespace hunch
