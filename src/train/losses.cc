#include "train/losses.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/ops.h"

namespace hunch {
namespace {

// of(row of the batch, its logits) by several threads, summed up in the rows' order. Rows without a target count
// nothing, and their gradient is 0.
template <class OfRow>
double sum_of_rows(Compute& compute, const TokenBatch& batch, size_t first, MatView<float> logits, bool wants_gradient,
                   const OfRow& of) {
  const Arena::Scope scope(compute.arena);
  const std::span<double> sums = compute.arena.take<double>(logits.rows);
  compute.threads.parallel_for(logits.rows, 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const bool counts = batch.targets[first + t] != TokenBatch::kNoTarget;
      sums[t] = counts ? of(t, logits.row(t)) : 0.0;
      if (!counts && wants_gradient) std::ranges::fill(logits.row(t), 0.0f);
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// -log p[target]; with a gradient, x becomes weight * (p - one at the target).
double cross_entropy_of(std::span<float> x, size_t target, double weight, bool wants_gradient) {
  const float own = x[target];
  if (!wants_gradient) return double(log_sum_exp(x)) - own;
  const double loss = double(softmax(x)) - own;
  scale(float(weight), x);
  x[target] -= float(weight);
  return loss;
}

// x becomes log softmax(x / temperature).
void log_probabilities(float temperature, std::span<float> x) {
  scale(1 / temperature, x);
  const float total = log_sum_exp(x);
  for (float& v : x) v -= total;
}

// Of log probabilities of teacher and student; with a gradient, `student` becomes that with respect to the logits that
// were divided by the temperature. Forward: p_s - p_t. Reverse: p_s * (log p_s - log p_t - KL).
double divergence_of(Divergence kind, std::span<const float> teacher, std::span<float> student, bool wants_gradient) {
  const bool forward = kind == Divergence::kForward;
  double sum = 0;
  for (size_t i = 0; i < student.size(); ++i) {
    const double p = std::exp(forward ? teacher[i] : student[i]), d = double(teacher[i]) - student[i];
    if (p > 0) sum += p * (forward ? d : -d);
  }
  for (size_t i = 0; wants_gradient && i < student.size(); ++i) {
    const double p = std::exp(student[i]);
    student[i] = forward ? float(p - std::exp(teacher[i])) : p > 0 ? float(p * (student[i] - teacher[i] - sum)) : 0.0f;
  }
  return sum;
}

}  // namespace

LossOfRows cross_entropy(Compute& compute, const TokenBatch& batch, double weight) {
  const double each = weight / double(std::max<size_t>(1, batch.n_counted()));
  return [&compute, &batch, each](size_t first, MatView<float> logits, bool wants_gradient) {
    return each * sum_of_rows(compute, batch, first, logits, wants_gradient, [&](size_t t, std::span<float> x) {
             return cross_entropy_of(x, size_t(batch.targets[first + t]), each, wants_gradient);
           });
  };
}

namespace {

// Log probabilities of all sequences' targets, and what the loss of each changes with them: share - 1 of the right
// choice, share of the others, over the questions.
struct ChoiceShares {
  double loss = 0;                 // the mean
  std::vector<double> derivative;  // [n_sequences] of the loss by a sequence's log probability, negated
};

ChoiceShares choice_shares(Network& network, const TokenBatch& batch) {
  Compute& compute = network.compute();
  network.forward(batch);
  std::vector<double> scores(batch.shape.n_sequences, 0.0);
  for (size_t row = 0; row < batch.targets.size(); ++row) {  // of a prompt's tokens nobody wants logits
    if (batch.targets[row] == TokenBatch::kNoTarget) continue;
    const Arena::Scope scope(compute.arena);
    const std::span<float> logits = compute.arena.take<float>(network.model().config().n_vocab);
    network.logits(row, {logits.data(), 1, logits.size()});
    scores[row / batch.shape.n_tokens] += double(logits[size_t(batch.targets[row])]) - double(log_sum_exp(logits));
  }
  ChoiceShares out{0, std::vector<double>(scores.size(), 0.0)};
  const double each = 1 / double(batch.questions.size());
  for (const ChoiceGroup& q : batch.questions) {
    const std::span<const double> own = std::span<const double>(scores).subspan(q.first, q.n);
    const double most = *std::ranges::max_element(own);
    double sum = 0;
    for (const double s : own) sum += std::exp(s - most);
    out.loss += each * (most + std::log(sum) - own[q.gold]);
    for (size_t c = 0; c < q.n; ++c)
      out.derivative[q.first + c] = each * (double(c == q.gold) - std::exp(own[c] - most) / sum);
  }
  return out;
}

}  // namespace

double choice_loss(Network& network, const TokenBatch& batch, double weight) {
  return weight * choice_shares(network, batch).loss;
}

LossOfRows choice_gradient(Network& network, const TokenBatch& batch, double weight) {
  Compute& compute = network.compute();
  return [&compute, &batch, shares = choice_shares(network, batch), weight](size_t first, MatView<float> logits,
                                                                            bool wants_gradient) {
    sum_of_rows(compute, batch, first, logits, wants_gradient, [&](size_t t, std::span<float> x) {
      const double each = weight * shares.derivative[(first + t) / batch.shape.n_tokens];
      return cross_entropy_of(x, size_t(batch.targets[first + t]), each, wants_gradient);
    });
    return first == 0 ? weight * shares.loss : 0.0;
  };
}

LossOfRows distillation(Compute& compute, const TokenBatch& batch, TeacherLogits teacher, const DistillOptions& options,
                        double weight) {
  const double each = weight / double(std::max<size_t>(1, batch.n_counted()));
  return [&compute, &batch, teacher = std::move(teacher), options, each](size_t first, MatView<float> logits,
                                                                         bool wants_gradient) {
    const Arena::Scope scope(compute.arena);
    const auto like = [&] {
      return MatView<float>(compute.arena.take<float>(logits.rows * logits.cols).data(), logits.rows, logits.cols);
    };
    const MatView<float> theirs = like(), hard = like();
    teacher(first, theirs);
    const float T = options.temperature;
    return each * sum_of_rows(compute, batch, first, logits, wants_gradient, [&](size_t t, std::span<float> x) {
             const std::span<float> own = hard.row(t);
             std::ranges::copy(x, own.begin());
             const size_t target = size_t(batch.targets[first + t]);
             const double ce = cross_entropy_of(own, target, each * (1 - options.share), wants_gradient);
             log_probabilities(T, theirs.row(t));
             log_probabilities(T, x);
             const double kl = divergence_of(options.divergence, theirs.row(t), x, wants_gradient);
             if (wants_gradient) {
               scale(float(each * options.share * T), x);  // T^2, divided by T once more on the way to the logits
               add(own, x);
             }
             return options.share * T * T * kl + (1 - options.share) * ce;
           });
  };
}

}  // namespace hunch
