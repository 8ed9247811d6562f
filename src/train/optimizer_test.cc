// Optimisers: what they remember in bytes, orthogonal steps, and their sizes. Steps of AdamW are held to torch's in
// golden_test.cc.
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ops.h"
#include "train/orthogonal.h"
#include "train/random_values.h"

namespace hunch {
namespace {

std::vector<float> normal_values(size_t n, uint64_t seed) {
  RandomValues random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = random.normal();
  return x;
}

TEST(BlockBytes, AreNearestValuesOfSevenDecades) {
  std::vector<float> x = normal_values(600, 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::pow(10.0f, -float(i % 5));
  BlockBytes bytes(x.size(), true);
  ASSERT_EQ(bytes.n_blocks(), 3u);
  EXPECT_EQ(bytes.size_of(2), 88u);
  for (size_t b = 0; b < 3; ++b) {
    const std::span<const float> values = std::span(x).subspan(b * 256, bytes.size_of(b));
    bytes.write(b, values);
    std::vector<float> got(values.size());
    bytes.read(b, got);
    float most = 0;
    for (const float v : values) most = std::max(most, std::abs(v));
    for (size_t i = 0; i < values.size(); ++i) {
      // A decade with 2^d values has steps of 0.9 * 10^(d - 6) / 2^d: half of one, or what lies between two decades.
      const double size = std::abs(values[i]) / double(most), decade = std::ceil(std::log10(size) + 6);
      const double step = std::max(0.9 * std::pow(10, decade - 6) / std::pow(2, decade), 1e-7);
      EXPECT_LE(std::abs(got[i] - values[i]), (0.5 * step + 0.06 * size) * double(most)) << values[i] << " of " << most;
      EXPECT_GE(got[i] * values[i], 0) << "the sign";
    }
    EXPECT_EQ(*std::ranges::max_element(got), got[size_t(std::ranges::max_element(values) - values.begin())]);
  }
}

TEST(BlockBytes, UnsignedValuesAboveZeroStayThere) {
  BlockBytes bytes(4, false);
  std::vector<float> got(4);
  bytes.read(0, got);
  EXPECT_EQ(got, (std::vector<float>{0, 0, 0, 0}));
  bytes.write(0, std::vector<float>{1e-20f, 0, 3.0f, 1.5f});
  bytes.read(0, got);
  EXPECT_GT(got[0], 0.0f) << "a step would be divided by it";
  EXPECT_EQ(got[1], 0.0f);
  EXPECT_EQ(got[2], 3.0f);
  EXPECT_NEAR(got[3], 1.5f, 0.02f);
}

// The iteration in doubles, entry by entry.
std::vector<double> reference_of_schulz(std::vector<double> x, size_t rows, size_t cols) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  for (double& v : x) v /= std::sqrt(squares);
  const auto product = [](const std::vector<double>& a, const std::vector<double>& b, size_t n, size_t k, size_t m) {
    std::vector<double> y(n * m, 0.0);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < m; ++j)
        for (size_t l = 0; l < k; ++l) y[i * m + j] += a[i * k + l] * b[l * m + j];
    return y;
  };
  for (int step = 0; step < 5; ++step) {
    std::vector<double> turned(x.size());
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < cols; ++c) turned[c * rows + r] = x[r * cols + c];
    const std::vector<double> g = product(x, turned, rows, cols, rows), gg = product(g, g, rows, rows, rows);
    std::vector<double> p(g.size());
    for (size_t i = 0; i < g.size(); ++i) p[i] = -4.7750 * g[i] + 2.0315 * gg[i];
    const std::vector<double> px = product(p, x, rows, rows, cols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 3.4445 * x[i] + px[i];
  }
  return x;
}

TEST(Orthogonalise, IsTheIterationAndMakesSingularValuesNearOne) {
  for (const auto& [rows, cols] : {std::pair<size_t, size_t>{7, 33}, {33, 7}, {16, 16}, {1, 5}}) {
    Compute compute(2);
    std::vector<float> x = normal_values(rows * cols, rows);
    const std::vector<double> want = reference_of_schulz({x.begin(), x.end()}, rows, cols);
    orthogonalise(compute, {x.data(), rows, cols});
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], want[i], 2e-4) << rows << " by " << cols;
    if (rows > cols) continue;
    // |X^T z| of unit z is between the smallest and the largest singular value.
    for (const uint64_t seed : {1, 2, 3}) {
      const std::vector<float> z = normal_values(rows, seed);
      std::vector<float> sum(cols, 0.0f);
      for (size_t r = 0; r < rows; ++r) axpy(z[r], std::span(x).subspan(r * cols, cols), sum);
      const double length = std::sqrt(dot(sum, sum) / dot(z, z));
      EXPECT_GT(length, rows == cols ? 0.2 : 0.6);
      EXPECT_LT(length, 1.3);
    }
  }
}

TEST(Orthogonalise, ZerosStayZeros) {
  Compute compute(1);
  std::vector<float> x(12, 0.0f);
  orthogonalise(compute, {x.data(), 3, 4});
  EXPECT_EQ(x, std::vector<float>(12, 0.0f));
}

struct TwoParameters {
  Parameters parameters;
  explicit TwoParameters(uint64_t seed) {
    for (const auto& [name, layer] :
         {std::pair<const char*, size_t>{"blk.0.w", 0}, {"embedding", Parameter::kNoLayer}}) {
      Parameter& p = parameters.add(name, layer, 24, 40, true);
      const std::vector<float> values = normal_values(p.size(), seed++);
      std::ranges::copy(values, p.values().begin());
    }
    parameters.allocate_gradients(GradientMemory::kAll);
  }
  // Of half the sum of squares.
  void give_gradients() {
    for (const auto& p : parameters.all) std::ranges::copy(p->values(), p->grads().begin());
  }
  double squares() const {
    double sum = 0;
    for (const auto& p : parameters.all) sum += double(dot(p->values(), p->values()));
    return sum;
  }
};

// Chen et al. 2023, algorithm 2: the way is that of one mean, and what is remembered is another's.
TEST(Lion, StepsAsPublished) {
  Parameters parameters;
  Parameter& p = parameters.add("w", 0, 4, 5, true);
  std::ranges::fill(p.values(), 1.0f);
  parameters.allocate_gradients(GradientMemory::kAll);
  Compute compute(1);
  Optimizer lion(parameters, {.kind = OptimizerKind::kLion, .beta1 = 0.9f, .beta2 = 0.5f, .weight_decay = 0.1f});
  RandomValues random(3);
  std::vector<double> x(p.size(), 1.0), m(p.size(), 0.0);
  for (int step = 0; step < 12; ++step) {
    for (size_t i = 0; i < p.size(); ++i) {
      const double g = p.grads()[i] = random.normal(), way = double(0.9f) * m[i] + (1 - double(0.9f)) * g;
      x[i] = (1 - 0.01 * double(0.1f)) * x[i] - 0.01 * double((way > 0) - (way < 0));
      m[i] = 0.5 * m[i] + 0.5 * g;
    }
    lion.step(compute, 0.01f);
    for (size_t i = 0; i < p.size(); ++i) ASSERT_NEAR(p.values()[i], x[i], 1e-5) << "step " << step << " value " << i;
  }
}

TEST(AdamW8, StepsAsAdamWInAQuarterOfTheMemory) {
  Compute compute(2);
  TwoParameters plain(1), bytes(1);
  Optimizer of_floats(plain.parameters, {}), of_bytes(bytes.parameters, {.kind = OptimizerKind::kAdamW8});
  EXPECT_EQ(of_floats.n_bytes(), 2 * 4 * plain.parameters.n_values());
  EXPECT_LT(of_bytes.n_bytes(), of_floats.n_bytes() / 3.9);
  for (int step = 0; step < 20; ++step) {
    for (auto* both : {&plain, &bytes}) both->give_gradients();
    of_floats.step(compute, 0.02f);
    of_bytes.step(compute, 0.02f);
  }
  double squares = 0;
  for (size_t i = 0; i < 2; ++i) {
    const std::span<const float> a = plain.parameters.all[i]->values(), b = bytes.parameters.all[i]->values();
    for (size_t j = 0; j < a.size(); ++j) squares += double(a[j] - b[j]) * (a[j] - b[j]);
  }
  // All steps together go some 0.4 far.
  EXPECT_LT(std::sqrt(squares / double(plain.parameters.n_values())), 0.02);
  EXPECT_GT(squares, 0) << "bytes are not floats";
}

TEST(Muon, StepsOfMatricesHaveOneSizeAndTheOthersAreAdamWs) {
  Compute compute(2);
  TwoParameters muon(3), adam(3);
  Optimizer a(muon.parameters, {.kind = OptimizerKind::kMuon}), b(adam.parameters, {});
  EXPECT_EQ(a.n_bytes(), 4 * 3 * 24u * 40) << "one moment of the matrix, two of the embedding";
  const std::vector<float> before(muon.parameters.all[0]->values().begin(), muon.parameters.all[0]->values().end());
  for (auto* both : {&muon, &adam}) both->give_gradients();
  a.step(compute, 0.01f);
  b.step(compute, 0.01f);
  const auto values = [](const TwoParameters& of, size_t i) {
    const std::span<const float> v = of.parameters.all[i]->values();
    return std::vector<float>(v.begin(), v.end());
  };
  EXPECT_EQ(values(muon, 1), values(adam, 1));
  std::vector<float> step = values(muon, 0);
  for (size_t i = 0; i < step.size(); ++i) step[i] -= before[i];
  EXPECT_NEAR(std::sqrt(dot(step, step) / double(step.size())), 0.01 * 0.2, 0.0006) << "as AdamW's";
  const double squares = muon.squares();
  for (int i = 0; i < 30; ++i) {
    muon.give_gradients();
    a.step(compute, 0.05f);
  }
  EXPECT_LT(muon.squares(), 0.9 * squares);
}

}  // namespace
}  // namespace hunch
