// Every operator's gradient against differences of the operator in double precision.
#include "train/gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "train/causal_attention.h"
#include "train/losses.h"

namespace hunch {
namespace {

using Doubles = std::vector<double>;

std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// Of f at x, in its i-th value.
double difference(const std::function<double(const Doubles&)>& f, Doubles x, size_t i) {
  constexpr double kStep = 1e-5;
  const double at = x[i];
  x[i] = at + kStep;
  const double above = f(x);
  x[i] = at - kStep;
  return (above - f(x)) / (2 * kStep);
}

void expect_gradient(const std::vector<float>& got, const std::function<double(const Doubles&)>& f,
                     const std::vector<float>& at, const char* what) {
  ASSERT_EQ(got.size(), at.size());
  const Doubles x(at.begin(), at.end());
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = difference(f, x, i);
    EXPECT_NEAR(got[i], want, 2e-5 + 1e-4 * std::abs(want)) << what << " " << i;
  }
}

double dot_of(const Doubles& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// The exact functions, of doubles.
double act(Activation activation, double threshold, double x) {
  switch (activation) {
    case Activation::kRelu: return x > threshold ? x : 0;
    case Activation::kReluSquared: return x > threshold ? x * x : 0;
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kGeluErf: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluQuick: return x / (1 + std::exp(-1.702 * x));
  }
  return 0;
}

TEST(ActivateGradient, IsTheSlopeOfEveryActivation) {
  const std::vector<float> x = {-7, -2.3f, -1, -0.3f, 0.05f, 0.2f, 0.7f, 1.9f, 3.3f, 8};
  const std::vector<float> dy = normal_values(x.size(), 1);
  for (const Activation a : {Activation::kRelu, Activation::kReluSquared, Activation::kSilu, Activation::kGeluErf,
                             Activation::kGeluTanh, Activation::kGeluQuick})
    for (const float threshold : {0.0f, 0.1f}) {
      std::vector<float> dx(x.size());
      activate_gradient(a, threshold, x, dy, dx);
      const double cut = is_relu_family(a) ? threshold : 0;
      expect_gradient(
          dx,
          [&](const Doubles& at) {
            double sum = 0;
            for (size_t i = 0; i < at.size(); ++i) sum += dy[i] * act(a, cut, at[i]);
            return sum;
          },
          x, "activation");
    }
}

struct NormCase {
  NormKind kind;
  bool weight, bias;
};

class NormGradient : public ::testing::TestWithParam<NormCase> {};

TEST_P(NormGradient, IsThatOfTheNorm) {
  constexpr size_t kTokens = 5, kWidth = 7;
  constexpr float kEps = 1e-3f;
  const NormCase c = GetParam();
  const std::vector<float> x = normal_values(kTokens * kWidth, 1), dy = normal_values(kTokens * kWidth, 2);
  const std::vector<float> w = c.weight ? normal_values(kWidth, 3) : std::vector<float>(),
                           b = c.bias ? normal_values(kWidth, 4) : std::vector<float>();
  const auto loss = [&](const Doubles& at, const Doubles& weight, const Doubles& bias) {
    double sum = 0;
    for (size_t t = 0; t < kTokens; ++t) {
      const double* row = at.data() + t * kWidth;
      double mean = 0, squares = 0;
      for (size_t i = 0; i < kWidth && c.kind == NormKind::kLayer; ++i) mean += row[i] / kWidth;
      for (size_t i = 0; i < kWidth; ++i) squares += (row[i] - mean) * (row[i] - mean) / kWidth;
      for (size_t i = 0; i < kWidth; ++i) {
        double y = (row[i] - mean) / std::sqrt(squares + double(kEps));
        if (!weight.empty()) y *= weight[i];
        if (!bias.empty()) y += bias[i];
        sum += dy[t * kWidth + i] * y;
      }
    }
    return sum;
  };
  const Doubles xs(x.begin(), x.end()), ws(w.begin(), w.end()), bs(b.begin(), b.end());
  for (const size_t n_threads : {1, 3}) {
    Compute compute(n_threads);
    // What is there is added to.
    std::vector<float> dx(x.size(), 0.5f), dw(w.size(), 0.25f), db(b.size(), -1.0f);
    norm_gradient(compute, c.kind, kEps, {x.data(), kTokens, kWidth}, w, {dy.data(), kTokens, kWidth},
                  {dx.data(), kTokens, kWidth}, dw, db);
    for (float& v : dx) v -= 0.5f;
    for (float& v : dw) v -= 0.25f;
    for (float& v : db) v += 1.0f;
    expect_gradient(
        dx, [&](const Doubles& at) { return loss(at, ws, bs); }, x, "x");
    expect_gradient(
        dw, [&](const Doubles& at) { return loss(xs, at, bs); }, w, "weight");
    expect_gradient(
        db, [&](const Doubles& at) { return loss(xs, ws, at); }, b, "bias");
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, NormGradient,
                         ::testing::Values(NormCase{NormKind::kRms, true, false},
                                           NormCase{NormKind::kLayer, true, true},
                                           NormCase{NormKind::kLayer, false, false},
                                           NormCase{NormKind::kLayer, true, false}));

struct AttentionCase {
  size_t n_head, n_kv_head, window;
  SequenceShape shape = {2, 5};
};

class AttentionGradient : public ::testing::TestWithParam<AttentionCase> {
 protected:
  static constexpr size_t kHead = 4;

  // Masked attention, plainly.
  static Doubles attention(const LayerConfig& c, const Doubles& q, const Doubles& k, const Doubles& v) {
    const SequenceShape& shape = GetParam().shape;
    const size_t n_q = c.n_head * kHead, n_kv = c.n_kv_head * kHead;
    Doubles out(shape.n_rows() * n_q, 0.0);
    for (size_t t = 0; t < shape.n_rows(); ++t)
      for (size_t h = 0; h < c.n_head; ++h) {
        const size_t g = h / c.n_group(), begins = t / shape.n_tokens * shape.n_keys(),
                     own = begins + shape.n_before + t % shape.n_tokens;
        const size_t first = c.window > 0 ? std::max(begins + c.window, own + 1) - c.window : begins;
        double total = 0;
        for (const bool adds : {false, true})
          for (size_t s = first; s <= own; ++s) {
            double score = 0;
            for (size_t i = 0; i < kHead; ++i) score += q[t * n_q + h * kHead + i] * k[s * n_kv + g * kHead + i];
            const double p = std::exp(double(c.attn_scale) * score);
            if (!adds) total += p;
            for (size_t i = 0; adds && i < kHead; ++i)
              out[t * n_q + h * kHead + i] += p / total * v[s * n_kv + g * kHead + i];
          }
      }
    return out;
  }
};

TEST_P(AttentionGradient, IsThatOfMaskedAttention) {
  LayerConfig c;
  c.n_head = GetParam().n_head;
  c.n_kv_head = GetParam().n_kv_head;
  c.d_head = kHead;
  c.window = GetParam().window;
  c.attn_scale = 0.4f;
  const SequenceShape& shape = GetParam().shape;
  const size_t n = shape.n_rows(), n_keys = shape.n_sequences * shape.n_keys(), n_q = c.n_head * kHead,
               n_kv = c.n_kv_head * kHead;
  const std::vector<float> q = normal_values(n * n_q, 1), k = normal_values(n_keys * n_kv, 2),
                           v = normal_values(n_keys * n_kv, 3), dy = normal_values(n * n_q, 4);
  const Doubles qs(q.begin(), q.end()), ks(k.begin(), k.end()), vs(v.begin(), v.end());
  Compute compute(2);
  std::vector<float> heads(n * n_q, NAN), dq(n * n_q, NAN), dk(n_keys * n_kv, NAN), dv(n_keys * n_kv, NAN);
  const auto view = [&](std::vector<float>& x) {
    const size_t width = x.size() == n * n_q ? n_q : n_kv;
    return MatView<float>(x.data(), x.size() / width, width);
  };
  const auto seen = [&](const std::vector<float>& x) -> MatView<const float> {
    return view(const_cast<std::vector<float>&>(x));
  };
  const SoloComputes solo(compute.threads.n_threads());
  const AttentionPass pass{compute, solo};
  causal_attention(pass, c, shape, seen(q), seen(k), seen(v), view(heads));
  const Doubles want = attention(c, qs, ks, vs);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(heads[i], want[i], 1e-5) << i;
  causal_attention_gradient(pass, c, shape, seen(q), seen(k), seen(v), seen(dy), view(dq), view(dk), view(dv));
  expect_gradient(
      dq, [&](const Doubles& at) { return dot_of(attention(c, at, ks, vs), dy); }, q, "q");
  expect_gradient(
      dk, [&](const Doubles& at) { return dot_of(attention(c, qs, at, vs), dy); }, k, "k");
  expect_gradient(
      dv, [&](const Doubles& at) { return dot_of(attention(c, qs, ks, at), dy); }, v, "v");
}

INSTANTIATE_TEST_SUITE_P(Heads, AttentionGradient,
                         ::testing::Values(AttentionCase{2, 2, 0}, AttentionCase{4, 2, 0}, AttentionCase{3, 1, 3},
                                           AttentionCase{1, 1, 1}, AttentionCase{4, 2, 0, {2, 5, 3}},
                                           AttentionCase{2, 1, 0, {1, 70}}, AttentionCase{2, 1, 9, {1, 70}},
                                           AttentionCase{1, 1, 0, {1, 66, 2}}));

TEST(RopeGradient, TurnsBack) {
  constexpr size_t kTokens = 6, kHeads = 2, kHead = 8, kPairs = 3;  // the last two values of a head pass through
  LayerConfig c;
  c.d_head = kHead;
  c.rotates = true;
  std::vector<float> cos(kTokens * kPairs), sin(kTokens * kPairs);
  for (size_t i = 0; i < cos.size(); ++i)
    cos[i] = 1.5f * std::cos(0.7f * float(i)), sin[i] = 1.5f * std::sin(0.7f * float(i));
  const Rotation rotation{{cos.data(), kTokens, kPairs}, {sin.data(), kTokens, kPairs}};
  Compute compute(2);
  for (const bool interleaved : {false, true}) {
    c.rope_interleaved = interleaved;
    const std::vector<float> x = normal_values(kTokens * kHeads * kHead, 1), dy = normal_values(x.size(), 2);
    std::vector<float> y = x, dx = dy;
    finish_heads(compute, c, {y.data(), kTokens, kHeads * kHead}, {}, 0, rotation);
    rotate_heads(compute, c, rotation, -1, {dx.data(), kTokens, kHeads * kHead});
    // A rotation is linear: dy . R x == (R^T dy) . x, for every x.
    for (size_t i = 0; i < x.size(); ++i) {
      std::vector<float> unit(x.size(), 0.0f);
      unit[i] = 1;
      finish_heads(compute, c, {unit.data(), kTokens, kHeads * kHead}, {}, 0, rotation);
      EXPECT_NEAR(dx[i], dot_of(Doubles(unit.begin(), unit.end()), dy), 1e-5) << i;
    }
  }
}

TEST(Transpose, OfAnyShapeAndStride) {
  Compute compute(2);
  for (const size_t rows : {1, 15, 16, 33})
    for (const size_t cols : {1, 7, 16, 50}) {
      const std::vector<float> x = normal_values(rows * (cols + 3), 1);
      std::vector<float> y(cols * (rows + 2), -1.0f);
      transpose(compute, {x.data(), rows, cols, cols + 3}, {y.data(), cols, rows, rows + 2});
      for (size_t r = 0; r < rows; ++r)
        for (size_t c = 0; c < cols; ++c) EXPECT_EQ(y[c * (rows + 2) + r], x[r * (cols + 3) + c]);
      for (size_t c = 0; c < cols; ++c) EXPECT_EQ(y[c * (rows + 2) + rows], -1.0f) << "written beyond the columns";
    }
}

Doubles log_softmax(const double* x, size_t n, double temperature) {
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += std::exp(x[i] / temperature);
  Doubles out(n);
  for (size_t i = 0; i < n; ++i) out[i] = x[i] / temperature - std::log(total);
  return out;
}

// Mean over the targets, in doubles.
double distilled(const TokenBatch& batch, const Doubles& x, const std::vector<float>& teacher,
                 const DistillOptions& o) {
  const size_t n_vocab = x.size() / batch.targets.size();
  double sum = 0;
  for (size_t t = 0; t < batch.targets.size(); ++t) {
    if (batch.targets[t] == TokenBatch::kNoTarget) continue;
    const Doubles theirs(teacher.begin(), teacher.end());
    const Doubles s = log_softmax(&x[t * n_vocab], n_vocab, o.temperature),
                  p = log_softmax(&theirs[t * n_vocab], n_vocab, o.temperature),
                  hard = log_softmax(&x[t * n_vocab], n_vocab, 1);
    double kl = 0;
    for (size_t i = 0; i < n_vocab; ++i)
      kl += o.divergence == Divergence::kForward ? std::exp(p[i]) * (p[i] - s[i]) : std::exp(s[i]) * (s[i] - p[i]);
    sum += o.share * o.temperature * o.temperature * kl - (1 - o.share) * hard[size_t(batch.targets[t])];
  }
  return sum / double(batch.n_counted());
}

class LossGradient : public ::testing::TestWithParam<DistillOptions> {};

TEST_P(LossGradient, IsThatOfTheLossInStretches) {
  constexpr size_t kVocab = 11;
  const TokenBatch batch{{1, 6}, std::vector<int32_t>(6), {3, TokenBatch::kNoTarget, 0, 10, 3, TokenBatch::kNoTarget}};
  const std::vector<float> x = normal_values(6 * kVocab, 1), teacher = normal_values(6 * kVocab, 2);
  Compute compute(2);
  const DistillOptions o = GetParam();
  const LossOfRows loss =
      o.share == 0 ? cross_entropy(compute, batch, 1)
                   : distillation(
                         compute, batch,
                         [&](size_t first, MatView<float> out) {
                           std::copy_n(teacher.begin() + ptrdiff_t(first * kVocab), out.rows * kVocab, out.data);
                         },
                         o, 1);
  const auto whole = [&](const Doubles& at) { return distilled(batch, at, teacher, o); };
  std::vector<float> gradient = x, unchanged = x;
  double sum = 0, plain = 0;
  for (const auto& [first, n] : {std::pair<size_t, size_t>{0, 4}, {4, 2}}) {
    sum += loss(first, {gradient.data() + first * kVocab, n, kVocab}, true);
    plain += loss(first, {unchanged.data() + first * kVocab, n, kVocab}, false);
  }
  EXPECT_NEAR(sum, whole(Doubles(x.begin(), x.end())), 1e-5);
  EXPECT_NEAR(plain, sum, 1e-6);
  expect_gradient(gradient, whole, x, "logit");
}

INSTANTIATE_TEST_SUITE_P(Losses, LossGradient,
                         ::testing::Values(DistillOptions{Divergence::kForward, 1, 0},
                                           DistillOptions{Divergence::kForward, 1, 1},
                                           DistillOptions{Divergence::kForward, 2, 0.5f},
                                           DistillOptions{Divergence::kReverse, 1, 1},
                                           DistillOptions{Divergence::kReverse, 2, 0.7f}));

}  // namespace
}  // namespace hunch
