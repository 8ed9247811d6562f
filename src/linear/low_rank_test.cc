#include "linear/low_rank.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "formats/format.h"
#include "linear/layouts.h"
#include "linear/test_weights.h"
#include "linear/together.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kOut = 96, kIn = 128, kRank = 64;

// W = U V and its bias, as a form and as numbers.
struct Example {
  explicit Example(DType dtype, size_t rank = kRank, uint32_t seed = 1)
      : rank(rank),
        U(dtype, kOut, rank, seed),
        V(dtype, rank, kIn, seed + 1),
        bias(random_values(kOut, seed + 2)),
        W(std::make_unique<LowRank>(
            LinearId{}, std::make_unique<Stored>(LinearId{}, U.view, WeightView(), bias, layouts),
            std::make_unique<Stored>(LinearId{}, V.view, WeightView(), std::vector<float>(), layouts))) {}

  double weight(size_t r, size_t i) const {
    double w = 0;
    for (size_t k = 0; k < rank; ++k) w += double(U.values[r * rank + k]) * double(V.values[k * kIn + i]);
    return w;
  }
  // Of one token, over the inputs that it has.
  std::vector<float> product(std::span<const float> x, const Rows& in) const {
    std::vector<float> y(kOut);
    for (size_t r = 0; r < kOut; ++r) {
      double sum = bias[r];
      for (size_t i = 0; i < kIn; ++i)
        if (in.is_all() || std::ranges::binary_search(in.ids(), i)) sum += weight(r, i) * double(x[i]);
      y[r] = float(sum);
    }
    return y;
  }

  size_t rank;
  Weights U, V;
  std::vector<float> bias;
  Layouts layouts;
  std::unique_ptr<Linear> W;
};

// About one row in three, another third for every token; one token wants all.
std::vector<Rows> some_rows(size_t n_tokens, size_t n_rows) {
  std::mt19937 rng{uint32_t(n_tokens)};
  std::vector<Rows> own;
  for (size_t t = 0; t < n_tokens; ++t) {
    if (t == 2) {
      own.push_back(Rows::all(n_rows));
      continue;
    }
    std::vector<uint32_t> ids;
    for (uint32_t r = 0; r < n_rows; ++r)
      if (rng() % 3 == 0) ids.push_back(r);
    own.push_back(Rows::of(std::move(ids), n_rows));
  }
  return own;
}

bool wants(const Rows& rows, size_t r) { return rows.is_all() || std::ranges::binary_search(rows.ids(), r); }

// Quantised products round their inputs to 8 bits: X once, the hidden values once more.
float tolerance(DType dtype) { return info(dtype).block_elems == 1 ? 2e-4f : 0.08f; }

// Costs under which every batch takes one path.
RowCosts only(RowPath path) {
  RowCosts costs{.own_call = 1, .union_call = 1, .all = 1};
  if (path == RowPath::kOwn) costs.own_call = 0;
  if (path == RowPath::kUnion) costs.union_call = 0;
  if (path == RowPath::kAll) costs.all = 0;
  return costs;
}

class LowRankForm : public ::testing::TestWithParam<DType> {
 protected:
  Example example_{GetParam()};
  Compute compute_{2};
};

TEST_P(LowRankForm, DotIsTheProductOfTheFactorsInEveryBatchAndPath) {
  for (const size_t n : {1, 2, 5, 17})
    for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll})
      for (const bool restricted : {false, true}) {
        SCOPED_TRACE(fmt::format("{} tokens, {}, restricted {}", n, name_of(path), restricted));
        example_.layouts.costs().fix(only(path));
        const std::vector<float> X = random_values(n * kIn, 7);
        const std::vector<Rows> own = restricted ? some_rows(n, kOut) : std::vector<Rows>();
        std::vector<float> Y(n * kOut, 777.0f);
        example_.W->dot(compute_, std::vector<TokenTraits>(n), {X.data(), n, kIn}, {own}, {Y.data(), n, kOut});
        for (size_t t = 0; t < n; ++t) {
          const std::vector<float> want = example_.product(std::span(X).subspan(t * kIn, kIn), Rows::all(kIn));
          for (size_t r = 0; r < kOut; ++r) {
            const bool wanted = own.empty() || wants(own[t], r);
            ASSERT_NEAR(Y[t * kOut + r], wanted ? want[r] : 0.0f, wanted ? tolerance(GetParam()) : 0.0f)
                << t << " " << r;
          }
        }
      }
}

TEST_P(LowRankForm, AddLeavesOutInputsInEveryLayout) {
  for (const bool by_input : {false, true}) {
    Linear* const matrix[] = {example_.W.get()};
    if (by_input) example_.layouts.store_by_input(compute_, matrix, "a test");
    const bool plain = info(GetParam()).block_elems == 1;
    EXPECT_EQ(example_.W->reads_less_by_input(1), by_input && plain);
    for (const size_t n : {1, 2, 5, 17})
      for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
        SCOPED_TRACE(fmt::format("{} tokens, {}, by input {}", n, name_of(path), by_input));
        example_.layouts.costs().fix(only(path));
        const std::vector<float> A = random_values(n * kIn, 8);
        const std::vector<Rows> own = some_rows(n, kIn);
        std::vector<float> Y(n * kOut, 777.0f);
        example_.W->add(compute_, std::vector<TokenTraits>(n), {A.data(), n, kIn}, {own}, {Y.data(), n, kOut});
        for (size_t t = 0; t < n; ++t) {
          const std::vector<float> want = example_.product(std::span(A).subspan(t * kIn, kIn), own[t]);
          for (size_t r = 0; r < kOut; ++r)
            ASSERT_NEAR(Y[t * kOut + r], want[r], tolerance(GetParam())) << t << " " << r;
        }
      }
  }
}

// The bits of a token that is computed as alone do not tell who came with it.
TEST_P(LowRankForm, AsAloneHasTheBitsOfOneToken) {
  constexpr size_t kTokens = 9;
  const std::vector<TokenTraits> tokens(kTokens, {.as_alone = true});
  const std::vector<float> X = random_values(kTokens * kIn, 9);
  for (const bool restricted : {false, true}) {
    const std::vector<Rows> out = restricted ? some_rows(kTokens, kOut) : std::vector<Rows>();
    const std::vector<Rows> in = restricted ? some_rows(kTokens, kIn) : std::vector<Rows>();
    std::vector<float> dots(kTokens * kOut), sums(kTokens * kOut), dot(kOut), sum(kOut);
    example_.W->dot(compute_, tokens, {X.data(), kTokens, kIn}, {out}, {dots.data(), kTokens, kOut});
    example_.W->add(compute_, tokens, {X.data(), kTokens, kIn}, {in}, {sums.data(), kTokens, kOut});
    for (size_t t = 0; t < kTokens; ++t) {
      const Tokens one(&tokens[t], 1);
      const MatView<const float> x(&X[t * kIn], 1, kIn);
      example_.W->dot(compute_, one, x, RowSet{out}.subset(t, restricted), {dot.data(), 1, kOut});
      example_.W->add(compute_, one, x, RowSet{in}.subset(t, restricted), {sum.data(), 1, kOut});
      for (size_t r = 0; r < kOut; ++r) {
        ASSERT_EQ(dots[t * kOut + r], dot[r]) << t << " " << r;
        ASSERT_EQ(sums[t * kOut + r], sum[r]) << t << " " << r;
      }
    }
  }
}

// Gate and up, of one rank or of two, with a whole matrix beside them: each as it is when it comes alone.
TEST_P(LowRankForm, TogetherHasTheBitsOfEach) {
  const Example same(GetParam(), kRank, 11), other(GetParam(), kRank / 2, 21);
  const Weights dense(GetParam(), kOut, kIn, 4);
  Layouts layouts;
  const Stored whole({}, dense.view, WeightView(), std::vector<float>(), layouts);
  for (const Linear* beside : {same.W.get(), other.W.get()})
    for (const bool as_alone : {false, true})
      for (const size_t n : {1, 2, 17}) {
        SCOPED_TRACE(fmt::format("{} tokens, as alone {}, rank {}", n, as_alone, beside->factor(Axis::kIn).n_out));
        const std::vector<TokenTraits> tokens(n, {.as_alone = as_alone});
        const std::vector<float> X = random_values(n * kIn, 7);
        const Linear* const matrices[] = {example_.W.get(), &whole, beside};
        std::vector<float> Y(3 * n * kOut, 777.0f), alone(n * kOut);
        std::vector<Product> products;
        for (size_t i = 0; i < 3; ++i) products.push_back({matrices[i], {&Y[i * n * kOut], n, kOut}});
        dot_together(compute_, tokens, {X.data(), n, kIn}, products);
        for (size_t i = 0; i < 3; ++i) {
          matrices[i]->dot(compute_, tokens, {X.data(), n, kIn}, {}, {alone.data(), n, kOut});
          for (size_t k = 0; k < n * kOut; ++k) ASSERT_EQ(Y[i * n * kOut + k], alone[k]) << i << " " << k;
        }
      }
}

// Rows that many tokens share are copied together, of the factor that has them: GRIFFIN's neurons.
TEST_P(LowRankForm, PacksTheRowsOfOneFactor) {
  Rows kept = Rows::of({3, 4, 40, 70, 90}, kOut);
  const uint64_t name = example_.layouts.new_name();
  kept.set_name(name);
  const Layouts::PackRequest request{example_.W.get(), Axis::kOut, &kept};
  example_.layouts.pack(compute_, name, {&request, 1});
  EXPECT_EQ(example_.layouts.packed_bytes(), 5 * row_bytes(GetParam(), kRank));
  const std::vector<float> X = random_values(kIn, 5);
  std::vector<float> y(kOut, 777.0f);
  const uint64_t before = compute_.meter.bytes()[Traffic::kWeights];
  example_.W->dot(compute_, std::vector<TokenTraits>(1), {X.data(), 1, kIn}, {{&kept, 1}}, {y.data(), 1, kOut});
  EXPECT_EQ(compute_.meter.bytes()[Traffic::kWeights] - before,
            example_.V.view.bytes() + 5 * row_bytes(GetParam(), kRank));
  const std::vector<float> want = example_.product(X, Rows::all(kIn));
  for (size_t r = 0; r < kOut; ++r) EXPECT_NEAR(y[r], wants(kept, r) ? want[r] : 0.0f, tolerance(GetParam())) << r;
}

TEST_P(LowRankForm, ValuesAreThoseOfTheProduct) {
  Linear* const matrix[] = {example_.W.get()};
  for (const bool turned : {false, true}) {
    const Layouts::TurnRequest request{static_cast<Stored*>(&example_.W->factor(Axis::kIn)), DType::kF32};
    if (turned) example_.layouts.turn(compute_, {&request, 1}, "a test");
    EXPECT_FALSE(matrix[0]->rows() || matrix[0]->by_input());
    const Values values(compute_, *matrix[0]);
    ASSERT_EQ(values.rows().rows, kOut);
    ASSERT_EQ(values.rows().cols, kIn);
    std::vector<float> row(kIn);
    for (size_t r = 0; r < kOut; ++r) {
      codec(values.rows().dtype).decode(values.rows().row(r), row.data(), kIn);
      for (size_t i = 0; i < kIn; ++i)
        ASSERT_NEAR(row[i], example_.weight(r, i), 1e-5) << turned << " " << r << " " << i;
    }
  }
}

TEST_P(LowRankForm, BytesAreThoseOfBothFactors) {
  EXPECT_EQ(example_.W->bytes(), kOut * row_bytes(GetParam(), kRank) + kRank * row_bytes(GetParam(), kIn));
  const std::vector<float> X = random_values(kIn, 5);
  std::vector<float> y(kOut);
  example_.W->dot(compute_, std::vector<TokenTraits>(1), {X.data(), 1, kIn}, {}, {y.data(), 1, kOut});
  EXPECT_EQ(compute_.meter.bytes()[Traffic::kWeights], example_.W->bytes());
}

INSTANTIATE_TEST_SUITE_P(Formats, LowRankForm, ::testing::Values(DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace hunch
