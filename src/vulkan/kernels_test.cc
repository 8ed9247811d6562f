// What stands between the products, against the scalar references of kernels/.
#include "vulkan/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/ops.h"
#include "vulkan/test_gpu.h"

namespace hunch::vulkan {
namespace {

using KernelsTest = GpuTest;

TEST_F(KernelsTest, NormsAreTheReferences) {
  for (const size_t n : {4, 64, 300, 1000})
    for (const bool layer : {false, true})
      for (const bool weighted : {false, true}) {
        const size_t n_rows = 3;
        std::vector<float> x = random(n_rows * n);
        for (float& v : x) v += 0.5f;
        const std::vector<float> weight = weighted ? random(n) : std::vector<float>(),
                                 bias = weighted && layer ? random(n) : std::vector<float>();
        const Kernels::Norm norm{
            .layer = layer, .eps = 1e-5f, .weight = put_floats(weight), .bias = put_floats(bias), .n = uint32_t(n)};
        const Values device_x = put(x, n), y = put(std::vector<float>(2 * n), n);
        const Piece rows = put_words({2, 0});
        run([&](Kernels& k) {
          k.norm(norm, device_x, y, 2, rows);
          k.barrier();
          k.norm(norm, device_x, device_x, 3);  // in place
        });
        const std::vector<float> chosen = get(y, n, 2), all = get(device_x, n, 3);
        for (size_t r = 0; r < n_rows; ++r) {
          std::vector<float> want(n);
          const std::span<const float> row = std::span(x).subspan(r * n, n);
          layer ? ref::layer_norm(row, weight, bias, 1e-5f, want) : ref::rms_norm(row, weight, 1e-5f, want);
          for (size_t i = 0; i < n; ++i) {
            EXPECT_NEAR(all[r * n + i], want[i], 2e-5) << n << ", row " << r << ", " << i;
            if (r != 1) EXPECT_NEAR(chosen[(r == 2 ? 0 : n) + i], want[i], 2e-5) << n << ", row " << r << ", " << i;
          }
        }
      }
}

TEST_F(KernelsTest, HeadsAreNormalisedEachWithItsWeightsOrAllWithOne) {
  const size_t n_heads = 3, d = 20;
  const std::vector<float> x = random(2 * n_heads * d), weight = random(n_heads * d);
  for (const bool own : {false, true}) {
    const Kernels::Norm norm{
        .eps = 1e-6f, .weight = put_floats(weight), .n = uint32_t(d), .n_heads = 3, .own_weights = own};
    const Values values = put(x, n_heads * d);
    run([&](Kernels& k) { k.norm(norm, values, values, 2); });
    const std::vector<float> got = get(values, n_heads * d, 2);
    for (size_t h = 0; h < 2 * n_heads; ++h) {
      std::vector<float> want(d);
      ref::rms_norm(std::span(x).subspan(h * d, d), std::span(weight).subspan(own ? h % n_heads * d : 0, d), 1e-6f,
                    want);
      for (size_t i = 0; i < d; ++i) EXPECT_NEAR(got[h * d + i], want[i], 2e-5) << h << ", " << i;
    }
  }
}

TEST_F(KernelsTest, RopeTurnsAsTheReference) {
  const size_t n_heads = 3, d = 20, n_pairs = 6, n_positions = 5;
  std::vector<float> turns;
  for (size_t p = 0; p < n_positions; ++p) {
    for (size_t i = 0; i < n_pairs; ++i) turns.push_back(float(std::cos(double(p) * 0.7 / double(i + 1))));
    for (size_t i = 0; i < n_pairs; ++i) turns.push_back(float(std::sin(double(p) * 0.7 / double(i + 1))));
  }
  const std::vector<uint32_t> positions = {4, 0, 2};
  const Piece device_turns = put_floats(turns), device_positions = put_words(positions);
  for (const bool interleaved : {false, true}) {
    std::vector<float> x = random(3 * n_heads * d);
    const Values values = put(x, n_heads * d);
    run([&](Kernels& k) { k.rope(values, n_heads, d, n_pairs, interleaved, device_turns, device_positions, 3); });
    const std::vector<float> got = get(values, n_heads * d, 3);
    for (size_t t = 0; t < 3; ++t)
      for (size_t h = 0; h < n_heads; ++h) {
        const std::span<float> head = std::span(x).subspan((t * n_heads + h) * d, d);
        const std::span<const float> turn = std::span(turns).subspan(positions[t] * 2 * n_pairs, 2 * n_pairs);
        ref::rope(head, turn.first(n_pairs), turn.last(n_pairs), interleaved);
      }
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(got[i], x[i], 1e-6) << i;
  }
}

TEST_F(KernelsTest, ActivationsAreTheReferences) {
  const size_t n = 203;
  std::vector<float> x = random(2 * n, 3), up = random(2 * n);
  x[5] = 0.0f;
  x[6] = 60.0f;
  x[7] = -60.0f;
  for (const auto& [function, activation] :
       {std::pair(Function::kRelu, Activation::kRelu), std::pair(Function::kReluSquared, Activation::kReluSquared),
        std::pair(Function::kSilu, Activation::kSilu), std::pair(Function::kGeluErf, Activation::kGeluErf),
        std::pair(Function::kGeluTanh, Activation::kGeluTanh), std::pair(Function::kGeluQuick, Activation::kGeluQuick)})
    for (const bool has_up : {false, true}) {
      const float threshold = has_up ? 0.4f : 0.0f;
      const Values values = put(x, n), ups = put(up, n);
      const Kernels::Gate gate{
          .function = function, .threshold = threshold, .up = has_up ? ups : Values(), .up_relu = has_up};
      run([&](Kernels& k) { k.activate(gate, values, uint32_t(n), 2); });
      const std::vector<float> got = get(values, n, 2);
      for (size_t i = 0; i < got.size(); ++i) {
        float want = ref::activation(activation, x[i], threshold);
        if (has_up) want *= std::max(up[i], 0.0f);
        EXPECT_NEAR(got[i], want, 2e-6f * std::abs(want) + 2e-6f) << int(function) << " of " << x[i];
      }
    }
}

TEST_F(KernelsTest, ListedActivationsAreMultipliedAndTheOthersStay) {
  const std::vector<float> x = random(50), up = random(50);
  const Values values = put(x, 50), ups = put(up, 50);
  const Piece list = put_words({3, 0, 7, 49});
  run([&](Kernels& k) { k.activate({.up = ups, .list = list}, values, 50, 1); });
  const std::vector<float> got = get(values, 50, 1);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(got[i], i == 0 || i == 7 || i == 49 ? x[i] * up[i] : x[i]) << i;
}

TEST_F(KernelsTest, ListsNameWhatIsLargeInOrderAndTheRestBecomesZero) {
  for (const size_t n : {1, 7, 31, 32, 1025, 8191, 8192, 8193, 17000})
    for (const double density : {0.0, 0.03, 0.5, 1.0}) {
      std::vector<float> x(n);
      for (float& v : x) v = std::uniform_real_distribution<double>(0, 1)(random_) < density ? -1.5f : 0.0f;
      if (n > 20) x[3] = -0.0f, x[9] = NAN;
      for (size_t i = 0; i < n; i += 5)
        if (x[i] != 0) x[i] = 0.25f;
      for (const float threshold : {0.0f, 0.25f, -1.0f}) {
        std::vector<uint32_t> want;
        for (uint32_t i = 0; i < n; ++i)
          if (!(std::abs(x[i]) <= threshold)) want.push_back(i);
        const Piece list = put_words(std::vector<uint32_t>(1 + n, 7));
        const Values values = put(x, n);
        run([&](Kernels& k) { k.list_large(values.piece, uint32_t(n), threshold, list); });
        std::vector<uint32_t> got = read<uint32_t>(list, 1 + n);
        ASSERT_EQ(got[0], want.size()) << n;
        got.erase(got.begin());
        got.resize(want.size());
        EXPECT_EQ(got, want);
        const std::vector<float> left = get(values, n, 1);
        for (size_t i = 0; i < n; ++i)
          if (!std::isnan(x[i])) ASSERT_EQ(left[i], std::ranges::binary_search(want, uint32_t(i)) ? x[i] : 0.0f) << i;
      }
    }
}

TEST_F(KernelsTest, ListsNameWhatIsAboveAThreshold) {
  std::vector<float> x = random(3000);
  x[100] = 0.25f;  // not above
  x[101] = NAN;    // shows
  std::vector<uint32_t> want;
  for (uint32_t i = 0; i < x.size(); ++i)
    if (!(x[i] <= 0.25f)) want.push_back(i);
  const Piece list = put_words(std::vector<uint32_t>(3001));
  const Values values = put(x, 3000);
  run([&](Kernels& k) { k.list_above(values.piece, 3000, 0.25f, list); });
  std::vector<uint32_t> got = read<uint32_t>(list, 1 + want.size());
  EXPECT_EQ(got[0], want.size());
  got.erase(got.begin());
  EXPECT_EQ(got, want);
}

TEST_F(KernelsTest, TheLargestIsTheFirstOfTheLargest) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  const size_t n = 777;
  std::vector<std::vector<float>> rows = {random(n), random(n), std::vector<float>(n, -kInf), random(n),
                                          std::vector<float>(n, 1.0f)};
  rows[0][700] = rows[0][13] = 99.0f;
  rows[1][5] = kNan;
  rows[3][776] = kInf;
  std::vector<float> x;
  for (const auto& row : rows) x.insert(x.end(), row.begin(), row.end());
  const Values values = put(x, n);
  const Piece best = put_words(std::vector<uint32_t>(2 * rows.size(), 9999));
  run([&](Kernels& k) { k.argmax(values, uint32_t(n), best, uint32_t(rows.size())); });
  const std::vector<uint32_t> got = read<uint32_t>(best, 2 * rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    EXPECT_EQ(got[2 * r], hunch::argmax(rows[r])) << r;
    EXPECT_EQ(std::bit_cast<float>(got[2 * r + 1]), rows[r][got[2 * r]]) << r;
  }
}

TEST_F(KernelsTest, TheLargestSeveralAreThoseOfASortAndOfEqualsTheFirst) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const size_t n : {1, 40, 300, 5000}) {
    std::vector<std::vector<float>> rows = {random(n), std::vector<float>(n, 1.5f), std::vector<float>(n, -kInf),
                                            random(n)};
    for (size_t i = 0; i < n; ++i) rows[3][i] = float(int(rows[3][i] * 2));  // many equals, zeros of both signs
    for (size_t i = 1; i < n; i += 7) rows[0][i] = i % 2 ? NAN : -kInf;
    rows[0][n / 2] = kInf;
    std::vector<float> x;
    for (const auto& row : rows) x.insert(x.end(), row.begin(), row.end());
    const Values values = put(x, n);
    for (const size_t k : {1, 7, 40, 256}) {
      if (k > n) continue;
      const Piece best = put_words(std::vector<uint32_t>(2 * k * rows.size(), 9999));
      run([&](Kernels& kernels) { kernels.largest(values, uint32_t(n), uint32_t(k), best, uint32_t(rows.size())); });
      const std::vector<uint32_t> got = read<uint32_t>(best, 2 * k * rows.size());
      for (size_t r = 0; r < rows.size(); ++r) {
        const auto value = [&](uint32_t i) { return rows[r][i]; };
        std::vector<uint32_t> want(n), ids;
        for (uint32_t i = 0; i < n; ++i) want[i] = i;
        std::ranges::stable_sort(want, [&](uint32_t a, uint32_t b) {
          return std::isnan(value(b)) ? !std::isnan(value(a)) : value(a) > value(b);
        });
        want.resize(k);
        std::ranges::sort(want);
        for (size_t i = 0; i < k; ++i) {
          const uint32_t id = got[2 * (r * k + i)];
          ASSERT_LT(id, n);
          ids.push_back(id);
          if (!std::isnan(value(id))) EXPECT_EQ(std::bit_cast<float>(got[2 * (r * k + i) + 1]), value(id));
        }
        std::ranges::sort(ids);
        EXPECT_EQ(ids, want) << n << ", " << k << " of row " << r;
      }
    }
  }
}

}  // namespace
}  // namespace hunch::vulkan
