#include "kernels/ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// Every tail of every vector width, and lengths over one block of a sum.
constexpr size_t kSizes[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 257, 2047, 2049, 5000};
constexpr Activation kActivations[] = {Activation::kRelu,    Activation::kReluSquared, Activation::kSilu,
                                       Activation::kGeluErf, Activation::kGeluTanh,    Activation::kGeluQuick};

// A heap block of exactly n values, so that ASan sees a read or write past either end.
std::vector<float> normal(size_t n, uint32_t seed, float mean = 0, float sd = 1) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> distribution(mean, sd);
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  x.shrink_to_fit();
  return x;
}

// |got - want| <= abs + rel * |want|, with NaN equal to NaN.
void expect_close(std::span<const float> got, std::span<const float> want, double rel, double abs) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << "i=" << i << " of " << got.size();
    } else if (got[i] != want[i]) {
      EXPECT_NEAR(got[i], want[i], abs + rel * std::fabs(want[i])) << "i=" << i << " of " << got.size();
    }
  }
}

TEST(LayerNorm, MatchesReferenceOnEveryTarget) {
  for_each_target([] {
    for (size_t n : kSizes)
      for (float mean : {0.0f, 30.0f}) {
        const auto x = normal(n, 1, mean), w = normal(n, 2, 1, 0.2f), b = normal(n, 3);
        for (int which = 0; which < 4; ++which) {
          const std::span<const float> weight = which & 1 ? std::span<const float>(w) : std::span<const float>();
          const std::span<const float> bias = which & 2 ? std::span<const float>(b) : std::span<const float>();
          std::vector<float> got(n), want(n);
          layer_norm(x, weight, bias, 1e-5f, got);
          ref::layer_norm(x, weight, bias, 1e-5f, want);
          // x - mean rounds to 2^-24 of the mean, and the result divides by the deviation: for n = 1 that
          // is sqrt(eps).
          double variance = 0;
          const double centre = std::accumulate(x.begin(), x.end(), 0.0) / double(n);
          for (float v : x) variance += (v - centre) * (v - centre) / double(n);
          expect_close(got, want, 1e-6, 5e-7 + 3e-7 * std::fabs(centre) / std::sqrt(variance + 1e-5));
          std::vector<float> in_place = x;
          layer_norm(in_place, weight, bias, 1e-5f, in_place);
          EXPECT_EQ(in_place, got);
        }
      }
  });
}

TEST(Nonzero, IdsAndTheirNumberOnEveryTarget) {
  for_each_target([] {
    for (size_t n : kSizes) {
      auto x = normal(n, 7);
      for (size_t i = 0; i < n; i += 3) x[i] = i % 2 ? 0.0f : -0.0f;
      if (n > 4) x[4] = kNaN;
      std::vector<uint32_t> want, got(n);
      for (size_t i = 0; i < n; ++i)
        if (!(x[i] == 0)) want.push_back(uint32_t(100 + i));
      got.resize(nonzero_ids(x, 100, got.data()));
      EXPECT_EQ(got, want);
      EXPECT_EQ(count_nonzero(x), want.size());
    }
  });
}

TEST(RmsNorm, MatchesReferenceOnEveryTarget) {
  for_each_target([] {
    for (size_t n : kSizes)
      for (float sd : {1.0f, 1e-4f, 1e6f}) {
        const auto x = normal(n, 4, 0, sd), w = normal(n, 5, 1, 0.2f);
        std::vector<float> got(n), want(n), in_place = x;
        rms_norm(x, w, 1e-6f, got);
        ref::rms_norm(x, w, 1e-6f, want);
        expect_close(got, want, 1e-6, 0);
        rms_norm(in_place, w, 1e-6f, in_place);
        EXPECT_EQ(in_place, got);
        rms_norm(x, {}, 1e-6f, got);
        ref::rms_norm(x, {}, 1e-6f, want);
        expect_close(got, want, 1e-6, 0);
      }
  });
}

TEST(Activate, IsWithinAMillionthOfTheExactFunctionOnEveryTarget) {
  std::vector<float> x = {0.0f, -0.0f, 1e-30f, -1e-30f, 87, -87, 88.5f, -88.5f, 150, -150, 1e10f, -1e10f, kNaN};
  for (int i = -20000; i <= 20000; ++i) x.push_back(float(i) * 0.001f + 1e-5f);
  for_each_target([&] {
    for (Activation activation : kActivations) {
      SCOPED_TRACE(int(activation));
      std::vector<float> got = x, want = x;
      activate(activation, got);
      for (float& v : want) v = ref::activation(activation, v);
      // Absolute for the vanishing tails on the left, relative for large values.
      expect_close(got, want, 6e-7, activation == Activation::kGeluErf ? 4e-7 : 1e-7);
    }
  });
}

TEST(Activate, ReluLeavesExactZerosAndKeepsNaN) {
  for_each_target([] {
    for (size_t n : {1, 7, 40}) {
      std::vector<float> x(n, -0.0f);
      x[n / 2] = -3;
      activate(Activation::kRelu, x);
      for (float v : x) EXPECT_TRUE(v == 0 && !std::signbit(v));
      x[n - 1] = kNaN;
      activate(Activation::kReluSquared, x);
      EXPECT_TRUE(std::isnan(x[n - 1]));
    }
  });
}

TEST(Activate, LetsThroughWhatIsAboveTheThreshold) {
  for_each_target([] {
    for (const size_t n : kSizes)
      for (const float threshold : {0.01f, 0.5f})
        for (const Activation activation : {Activation::kRelu, Activation::kReluSquared}) {
          auto got = normal(n, 5, 0, 1);
          if (n) got[n / 2] = threshold;
          auto want = got;
          for (float& x : want) x = x <= threshold ? 0 : activation == Activation::kRelu ? x : x * x;
          activate(activation, got, threshold);
          EXPECT_EQ(got, want);
        }
  });
}

TEST(Activate, MatchesTheReferenceOnEveryTarget) {
  for_each_target([] {
    for (Activation activation : kActivations)
      for (size_t n : kSizes) {
        auto got = normal(n, 6, 0, 2), want = got;
        activate(activation, got);
        for (float& v : want) v = ref::activation(activation, v);
        expect_close(got, want, 1e-6, 4e-7);
      }
  });
}

TEST(Elementwise, MatchesPlainLoopsOnEveryTarget) {
  for_each_target([] {
    for (size_t n : kSizes) {
      const auto a = normal(n, 8), b = normal(n, 9);
      auto got = b, want = b;
      add(a, got);
      for (size_t i = 0; i < n; ++i) want[i] = a[i] + b[i];
      EXPECT_EQ(got, want);
      multiply(a, got);
      for (size_t i = 0; i < n; ++i) want[i] *= a[i];
      EXPECT_EQ(got, want);
      scale(0.3f, got);
      for (float& v : want) v *= 0.3f;
      EXPECT_EQ(got, want);
      got = want = b;
      axpy(-0.7f, a, got);
      double abs_dot = 0, exact = 0;
      for (size_t i = 0; i < n; ++i) {
        want[i] = float(b[i] - double(0.7f) * a[i]);
        exact += double(a[i]) * b[i];
        abs_dot += std::fabs(double(a[i]) * b[i]);
      }
      expect_close(got, want, 2e-7, 3e-7);
      EXPECT_NEAR(dot(a, b), exact, 4e-7 * abs_dot);
    }
    EXPECT_EQ(dot({}, {}), 0.0f);
  });
}

TEST(SoftCap, IsTheHyperbolicTangentOnEveryTarget) {
  std::vector<float> x = {0.0f, 1e-8f, -1e-8f, 1e9f, -1e9f, kInf, -kInf, kNaN};
  for (int i = -3000; i < 3000; ++i) x.push_back(float(i) * 0.1f);
  for_each_target([&] {
    for (float cap : {0.7f, 30.0f, 50.0f}) {
      auto got = x, want = x;
      soft_cap(cap, got);
      for (float& v : want) v = float(cap * std::tanh(double(v) / cap));
      expect_close(got, want, 7e-7, 0);
    }
  });
}

TEST(Softmax, MatchesReferenceOnEveryTarget) {
  for_each_target([] {
    for (size_t n : kSizes)
      for (float sd : {1.0f, 20.0f}) {
        auto x = normal(n, 10, 5, sd);
        if (n > 4) x[n / 3] = -kInf;  // a banned token
        auto got = x, want = x;
        const float log_sum = softmax(got), want_log_sum = ref::softmax(want);
        // x - max rounds to 2^-24 of |x - max|, which the exponential turns into a relative error.
        expect_close(got, want, 1e-6 + 1e-7 * 8 * sd, 1e-37);
        EXPECT_NEAR(log_sum, want_log_sum, 1e-6 + 3e-7 * std::fabs(want_log_sum));
        EXPECT_EQ(log_sum_exp(x), log_sum);
        EXPECT_NEAR(std::accumulate(got.begin(), got.end(), 0.0), 1.0, 1e-6);
      }
    std::vector<float> broken = normal(40, 11);
    broken[3] = kNaN;
    softmax(broken);
    EXPECT_TRUE(std::isnan(broken[0])) << "NaN must show, not vanish";
  });
}

TEST(Argmax, FindsTheFirstLargestAndIgnoresNaN) {
  for_each_target([] {
    for (size_t n : kSizes) {
      auto x = normal(n, 12);
      EXPECT_EQ(argmax(x), size_t(std::max_element(x.begin(), x.end()) - x.begin()));
      x[n - 1] = 100;
      EXPECT_EQ(argmax(x), n - 1);
      x[n / 2] = 100;
      EXPECT_EQ(argmax(x), n / 2) << "ties go to the smaller index";
      for (size_t i = 0; i < n; ++i)
        if (i != n / 2) x[i] = kNaN;
      x[n / 2] = -kInf;
      EXPECT_EQ(argmax(x), n / 2);
      x[n / 2] = kNaN;
      EXPECT_EQ(argmax(x), 0u);
    }
  });
}

TEST(Rope, MatchesReferenceOnEveryTargetInBothLayouts) {
  for_each_target([] {
    for (size_t n_pairs : {1, 2, 3, 8, 10, 16, 20, 24, 32, 33, 48, 64, 128})
      for (bool interleaved : {false, true}) {
        std::vector<float> cos(n_pairs), sin(n_pairs);
        for (size_t i = 0; i < n_pairs; ++i) {
          cos[i] = std::cos(0.3f * float(i) + 1);
          sin[i] = std::sin(0.3f * float(i) + 1);
        }
        const auto head = normal(2 * n_pairs + 3, 13);  // a partial rotation leaves the rest alone
        auto got = head, want = head;
        rope(got, cos, sin, interleaved);
        ref::rope(want, cos, sin, interleaved);
        expect_close(got, want, 2e-7, 4e-7);
        for (size_t i = 2 * n_pairs; i < head.size(); ++i) EXPECT_EQ(got[i], head[i]);
        EXPECT_NE(got[0], head[0]);
      }
  });
}

TEST(ToF16, RoundsLikeTheScalarConversionOnEveryTarget) {
  std::vector<float> x = {0.0f, -0.0f, 65504, 65519, 65520, 1e9f, kInf, -kInf, kNaN, 6e-8f, 2.9e-8f, 3e-8f, -6.1e-5f};
  for (int i = 0; i < 4000; ++i) x.push_back(std::ldexp(1.0f + float(i % 2048) / 2048 + 1 / 4096.0f, i % 45 - 28));
  for (float v : normal(1001, 14)) x.push_back(v);
  for_each_target([&] {
    std::vector<f16> y(x.size());
    to_f16(x, y);
    for (size_t i = 0; i < x.size(); ++i)
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(to_f32(y[i])));
      } else {
        EXPECT_EQ(y[i].bits, to_f16(x[i]).bits) << x[i];
      }
  });
}

TEST(Ops, EmptyRowsAreLeftAlone) {
  layer_norm({}, {}, {}, 1e-5f, {});
  rms_norm({}, {}, 1e-5f, {});
  for (Activation activation : kActivations) activate(activation, {});
  add({}, {});
  EXPECT_EQ(argmax({}), 0u);
}

}  // namespace
}  // namespace hunch
