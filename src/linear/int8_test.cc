#include "linear/int8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/each_target.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kOut = 132, kIn = 200, kTokens = 3;

struct Example {
  explicit Example(size_t n_tokens = kTokens)
      : codes(kOut * kIn),
        scale(kOut),
        bias(kOut),
        apart(kOut * 2 * 2),
        x(n_tokens * kIn),
        A(x.data(), n_tokens, kIn),
        tokens(n_tokens) {
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    for (int8_t& w : codes) w = int8_t(int(rng() % 255) - 127);
    for (float& s : scale) s = 0.01f + float(rng() % 100) / 1000;
    for (float& b : bias) b = normal(rng);
    for (float& v : x) v = rng() % 4 ? normal(rng) : 0;
    std::vector<float> w(kOut * 2);
    for (float& v : w) v = float(int(rng() % 64)) / 8;
    codec(DType::kF16).encode(w.data(), reinterpret_cast<std::byte*>(apart.data()), w.size());
    for (size_t r = 0; r < kOut; ++r) codes[r * kIn + 7] = codes[r * kIn + 90] = 0;
  }
  Int8::Parts parts(float input_scale = 0, bool outliers = false) const {
    Int8::Parts p{{DType::kI8, reinterpret_cast<const std::byte*>(codes.data()), kOut, kIn, kIn}, scale, input_scale};
    if (!outliers) return p;
    p.outliers = {7, 90};
    p.outlier_weight = {DType::kF16, reinterpret_cast<const std::byte*>(apart.data()), kOut, 2, 4};
    return p;
  }
  Int8 make(float input_scale = 0, bool outliers = false) {
    return {LinearId{}, compute, parts(input_scale, outliers), bias, "w"};
  }
  // In double, of the inputs that a token has.
  double product(size_t t, size_t r, const Rows& in, float input_scale, bool outliers) const {
    double max = 0, sum = 0, more = 0;
    const auto is_apart = [&](size_t i) { return outliers && (i == 7 || i == 90); };
    in.for_each([&](size_t i) {
      if (!is_apart(i)) max = std::max(max, double(std::abs(A.row(t)[i])));
    });
    const double step = input_scale > 0 ? input_scale : max / 127;
    in.for_each([&](size_t i) {
      if (!is_apart(i) && step > 0)
        sum += codes[r * kIn + i] * std::clamp(std::nearbyint(A.row(t)[i] / step), -127.0, 127.0) * step;
      if (!is_apart(i)) return;
      float w;
      codec(DType::kF16).decode(reinterpret_cast<const std::byte*>(&apart[(r * 2 + (i == 90)) * 2]), &w, 1);
      more += double(w) * A.row(t)[i];
    });
    return double(scale[r]) * sum + more + double(bias[r]);
  }

  Compute compute{2};
  std::vector<int8_t> codes;
  std::vector<float> scale, bias;
  std::vector<uint8_t> apart;  // f16
  std::vector<float> x;
  MatView<const float> A;
  std::vector<TokenTraits> tokens;
};

TEST(Int8Matrix, GivesTheRowsThatATokenWantsOnEveryTarget) {
  Example e;
  std::vector<float> y(kTokens * kOut);
  const MatView<float> Y(y.data(), kTokens, kOut);
  const Rows one[] = {Rows::of({2, 30}, kOut / 3), Rows::of({0, 40, 43}, kOut / 3), Rows::of({}, kOut / 3)};
  const Rows whole[] = {Rows::all(kOut / 3), one[1], one[2]};
  for_each_target([&] {
    for (const bool outliers : {false, true})
      for (const float input_scale : {0.0f, 0.01f}) {
        const Int8 W = e.make(input_scale, outliers);
        for (const std::span<const Rows> own :
             {std::span<const Rows>(), std::span<const Rows>(one), std::span<const Rows>(whole)}) {
          std::ranges::fill(y, 99.0f);
          W.dot(e.compute, e.tokens, e.A, {own, 3}, Y);
          for (size_t t = 0; t < kTokens; ++t)
            for (size_t r = 0; r < kOut; ++r) {
              const bool wanted =
                  own.empty() || own[t].is_all() || std::ranges::binary_search(own[t].ids(), uint32_t(r / 3));
              ASSERT_NEAR(Y.row(t)[r], wanted ? e.product(t, r, Rows::all(kIn), input_scale, outliers) : 0, 2e-3)
                  << t << " " << r;
            }
        }
      }
  });
}

TEST(Int8Matrix, LeavesInputsOutOnEveryTarget) {
  Example e;
  std::vector<float> y(kTokens * kOut), dense(kTokens * kOut);
  const MatView<float> Y(y.data(), kTokens, kOut), Dense(dense.data(), kTokens, kOut);
  for_each_target([&] {
    for (const bool outliers : {false, true})
      for (const size_t unit : {1, 2, 5, 8})
        for (const uint32_t every : {2, 9}) {
          std::vector<Rows> some(kTokens), inputs(kTokens), nonzero(kTokens);
          for (size_t t = 0; t < kTokens; ++t) {
            auto &ids = some[t].refill(kIn / unit), &each = inputs[t].refill(kIn), &live = nonzero[t].refill(kIn);
            for (uint32_t i = 0; i < kIn; ++i) {
              if (i % unit == 0 && i / unit % every == t) ids.push_back(uint32_t(i / unit));
              if (i / unit % every == t) each.push_back(i);
              if (e.A.row(t)[i] != 0) live.push_back(i);
            }
          }
          const Int8 W = e.make(0, outliers);
          W.add(e.compute, e.tokens, e.A, {some, unit}, Y);
          for (size_t t = 0; t < kTokens; ++t)
            for (size_t r = 0; r < kOut; ++r)
              ASSERT_NEAR(Y.row(t)[r], e.product(t, r, inputs[t], 0, outliers), 2e-3) << unit << " " << t << " " << r;
          // Sums of integers are the same bits whatever zeros are left out, and whoever is computed with them.
          W.add(e.compute, e.tokens, e.A, {nonzero}, Y);
          W.dot(e.compute, e.tokens, e.A, {}, Dense);
          ASSERT_EQ(y, dense);
          for (size_t t = 0; t < kTokens; ++t) {
            const MatView<float> row = Dense.row_range(t, 1);
            W.add(e.compute, std::span(e.tokens).first(1), e.A.row_range(t, 1), {std::span(some).subspan(t, 1), unit},
                  row);
          }
          W.add(e.compute, e.tokens, e.A, {some, unit}, Y);
          ASSERT_EQ(y, dense);
        }
  });
}

TEST(Int8Matrix, ReadsLessWhereInputsAreLeftOut) {
  Example e(1);
  std::vector<float> y(kOut);
  const Int8 W = e.make();
  const Rows few = Rows::of({0, 3, 77}, kIn);
  const auto read = [&](RowSet in) {
    const uint64_t before = e.compute.meter.bytes().weights();
    W.add(e.compute, e.tokens, e.A, in, {y.data(), 1, kOut});
    return e.compute.meter.bytes().weights() - before;
  };
  EXPECT_EQ(read({}), kOut * kIn);
  EXPECT_EQ(read({{&few, 1}}), kOut * 2 * 4) << "two lines of four inputs in every strip";
}

// What is read alike is rounded once; the sums are each matrix's own.
TEST(Int8Matrix, TogetherAsAlone) {
  Example e(20);
  const Int8 a = e.make(), b = e.make(0.02f), c = e.make(0.02f), d = e.make(0, true);
  std::vector<float> y(4 * 20 * kOut), alone(20 * kOut);
  const auto part = [&](size_t i) { return MatView<float>(&y[i * 20 * kOut], 20, kOut); };
  const Product products[] = {{&a, part(0)}, {&b, part(1)}, {&c, part(2)}, {&d, part(3)}};
  dot_together(e.compute, e.tokens, e.A, products);
  for (size_t i = 0; i < 4; ++i) {
    products[i].linear->dot(e.compute, e.tokens, e.A, {}, {alone.data(), 20, kOut});
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), part(i).data)) << i;
  }
}

TEST(Int8Matrix, SaysItsNumbers) {
  Example e;
  for (const bool outliers : {false, true}) {
    const Int8 W = e.make(0, outliers);
    const Values values(e.compute, W);
    std::vector<float> row(kIn);
    for (const size_t r : {size_t{0}, kOut - 1}) {
      codec(values.rows().dtype).decode(values.rows().row(r), row.data(), kIn);
      for (size_t i = 0; i < kIn; ++i) {
        if (outliers && (i == 7 || i == 90)) continue;
        ASSERT_EQ(row[i], e.scale[r] * float(e.codes[r * kIn + i]));
      }
      std::vector<float> w(2);
      codec(DType::kF16).decode(reinterpret_cast<const std::byte*>(&e.apart[r * 4]), w.data(), 2);
      ASSERT_EQ(row[7], outliers ? w[0] : 0);
      ASSERT_EQ(row[90], outliers ? w[1] : 0);
    }
  }
}

TEST(Int8Matrix, OneScaleForAll) {
  Example e(1);
  e.scale = {0.5f};
  const Int8 W = e.make();
  std::vector<float> y(kOut);
  W.dot(e.compute, e.tokens, e.A, {}, {y.data(), 1, kOut});
  e.scale.assign(kOut, 0.5f);
  for (size_t r = 0; r < kOut; ++r) ASSERT_NEAR(y[r], e.product(0, r, Rows::all(kIn), 0, false), 1e-2);
}

TEST(Int8Matrix, RefusesPartsThatDoNotFit) {
  Example e;
  const auto refusal = [&](auto change, float input_scale = 0, bool outliers = true) -> std::string {
    Int8::Parts p = e.parts(input_scale, outliers);
    change(p);
    try {
      Int8(LinearId{}, e.compute, p, {}, "w");
    } catch (const Error& error) {
      return error.what();
    }
    return "taken";
  };
  const auto expect = [](const std::string& said, const char* what) {
    EXPECT_NE(said.find(what), std::string::npos) << said;
  };
  expect(refusal([](auto& p) { p.scale.resize(5); }), "a scale for each of 132 rows");
  expect(refusal([](auto&) {}, NAN), "a scale of inputs above 0, found nan");
  expect(refusal([](auto& p) { p.outliers = {90, 7}; }), "found 7");
  expect(refusal([](auto& p) { p.outliers = {90, 200}; }), "less than 200; found 200");
  expect(refusal([](auto& p) { p.outliers = {1, 2, 3}; }), "expected weights [132, 3]");
  expect(refusal([](auto& p) { p.codes.cols = kInt8MostColumns + 1; }), "131073");
}

}  // namespace
}  // namespace hunch
