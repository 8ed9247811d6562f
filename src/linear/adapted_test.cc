// The adapted form against the sums written out, in every way that a product is asked for.
#include "linear/adapted.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <optional>
#include <random>

#include "formats/format.h"
#include "linear/together.h"
#include "linear/transpose.h"

namespace hunch {
namespace {

constexpr size_t kIn = 96, kOut = 64;

struct Matrix {
  size_t rows, cols;
  std::vector<float> x;
  Matrix(size_t rows, size_t cols, uint32_t seed) : rows(rows), cols(cols), x(rows * cols) {
    std::mt19937 rng(seed);
    for (float& v : x) v = float(rng() % 2001) * 1e-3f - 1.0f;
  }
  MatView<const float> view() const { return {x.data(), rows, cols}; }
  MatView<float> view() { return {x.data(), rows, cols}; }
  float at(size_t r, size_t c) const { return x[r * cols + c]; }
};

// An adapter of one matrix, and what it does, dense.
struct Effect {
  Matrix A, B_by_rank;
  std::vector<float> gain;
  std::optional<Matrix> saved;
  Adapter adapter{"test"};

  Effect(size_t rank, uint32_t seed, bool dora, bool saves) : A(rank, kIn, seed), B_by_rank(rank, kOut, seed + 1) {
    if (dora) gain = Matrix(1, kOut, seed + 2).x;
    AdapterPart part(A.view(), B_by_rank.view(), gain);
    if (saves) part.replace(LinearId(), saved.emplace(kOut, kIn, seed + 3).view(), bias());
    adapter.parts.emplace(LinearId(), std::move(part));
  }
  static std::vector<float> bias() { return Matrix(1, kOut, 99).x; }
  double weight(const Matrix& W, size_t r, size_t c) const {
    double w = double((saved ? *saved : W).at(r, c)) * (1 + (gain.empty() ? 0.0 : double(gain[r])));
    for (size_t k = 0; k < A.rows; ++k) w += double(B_by_rank.at(k, r)) * double(A.at(k, c));
    return w;
  }
};

// One matrix in the formats and layouts that Stored has.
struct Form {
  const char* name;
  DType dtype;
  bool rows, by_input;
};

class AdaptedForms : public ::testing::TestWithParam<Form> {
 protected:
  AdaptedForms() : W_(kOut, kIn, 1) {
    const DType dtype = GetParam().dtype;
    const size_t stride = row_bytes(dtype, kIn);
    bytes_.resize(kOut * stride);
    for (size_t r = 0; r < kOut; ++r) {
      codec(dtype).encode(W_.view().row(r).data(), bytes_.data() + r * stride, kIn);
      codec(dtype).decode(bytes_.data() + r * stride, W_.view().row(r).data(), kIn);
    }
    const WeightView rows{dtype, bytes_.data(), kOut, kIn, stride};
    WeightView by_input;
    if (GetParam().by_input) {
      turned_.resize(kIn * row_bytes(dtype, kOut));
      transpose_plain(compute_, rows, turned_.data(), row_bytes(dtype, kOut));
      by_input = {dtype, turned_.data(), kIn, kOut, row_bytes(dtype, kOut)};
    }
    adapted_ = std::make_unique<Adapted>(std::make_unique<Stored>(LinearId(), GetParam().rows ? rows : WeightView(),
                                                                  by_input, Effect::bias(), layouts_));
    effects_.emplace_back(4, 10, false, false);
    effects_.emplace_back(7, 20, true, false);
    effects_.emplace_back(3, 30, false, true);
    // Neighbours and strangers of one adapter, and tokens without any.
    for (const int which : {0, 0, -1, 1, 2, 0, 1, -1, 2}) {
      which_.push_back(which);
      traits_.push_back({false, which < 0 ? nullptr : &effects_[size_t(which)].adapter});
    }
  }
  size_t n() const { return traits_.size(); }
  double weight(size_t token, size_t r, size_t c) const {
    return which_[token] < 0 ? double(W_.at(r, c)) : effects_[size_t(which_[token])].weight(W_, r, c);
  }
  // Every token rows of its own: none, all, or some.
  std::vector<Rows> some(size_t n_rows) const {
    std::vector<Rows> rows;
    for (size_t t = 0; t < n(); ++t) {
      if (t == 3) {
        rows.push_back(Rows::all(n_rows));
        continue;
      }
      std::vector<uint32_t> ids;
      for (uint32_t i = uint32_t(t) % 3; t != 5 && i < n_rows; i += 2 + uint32_t(t) % 4) ids.push_back(i);
      rows.push_back(Rows::of(ids, n_rows));
    }
    return rows;
  }
  static bool has(const std::vector<Rows>& rows, size_t t, size_t i, size_t unit) {
    return rows.empty() || rows[t].is_all() || std::ranges::binary_search(rows[t].ids(), uint32_t(i / unit));
  }
  void expect(const Matrix& X, const Matrix& Y, const std::vector<Rows>& in, size_t in_unit,
              const std::vector<Rows>& out, size_t out_unit) const {
    for (size_t t = 0; t < n(); ++t)
      for (size_t r = 0; r < kOut; ++r) {
        double want = Effect::bias()[r], size = 1;
        for (size_t c = 0; c < kIn; ++c) {
          const double term = has(in, t, c, in_unit) ? weight(t, r, c) * double(X.at(t, c)) : 0.0;
          want += term, size += std::abs(term);
        }
        if (!has(out, t, r, out_unit)) want = 0;
        // Quantised products round the inputs to 8 bits.
        const double tolerance = (is_plain(GetParam().dtype) ? 1e-6 : 6e-3) * size;
        ASSERT_NEAR(double(Y.at(t, r)), want, tolerance) << "token " << t << ", row " << r;
      }
  }

  Compute compute_{2};
  Layouts layouts_;
  Matrix W_;
  std::vector<std::byte> bytes_, turned_;
  std::unique_ptr<Adapted> adapted_;
  std::deque<Effect> effects_;
  std::vector<int> which_;
  std::vector<TokenTraits> traits_;
};

TEST_P(AdaptedForms, DotOfAllAndOfSomeRows) {
  const Matrix X(n(), kIn, 5);
  for (const size_t unit : {1, 8}) {
    Matrix Y(n(), kOut, 6);
    adapted_->dot(compute_, traits_, X.view(), {}, Y.view());
    expect(X, Y, {}, 1, {}, 1);
    const std::vector<Rows> out = some(kOut / unit);
    adapted_->dot(compute_, traits_, X.view(), {out, unit}, Y.view());
    expect(X, Y, {}, 1, out, unit);
  }
}

TEST_P(AdaptedForms, AddFromAllAndFromSomeInputs) {
  const Matrix X(n(), kIn, 5);
  for (const size_t unit : {1, 8}) {
    Matrix Y(n(), kOut, 6);
    adapted_->add(compute_, traits_, X.view(), {}, Y.view());
    expect(X, Y, {}, 1, {}, 1);
    const std::vector<Rows> in = some(kIn / unit);
    adapted_->add(compute_, traits_, X.view(), {in, unit}, Y.view());
    expect(X, Y, in, unit, {}, 1);
  }
}

TEST_P(AdaptedForms, SharesLoopsWithOthers) {
  const Matrix X(n(), kIn, 5);
  Matrix Y(n(), kOut, 6), other(n(), kOut, 6);
  const Product both[] = {{adapted_.get(), Y.view()}, {&adapted_->factor(Axis::kIn), other.view()}};
  dot_together(compute_, traits_, X.view(), both);
  expect(X, Y, {}, 1, {}, 1);

  for (const size_t width : {16, 8}) {  // strips, and what begins and ends within them
    Matrix parts(n(), kOut, 7);
    std::vector<PartialProduct> tasks;
    for (size_t t = 0; t < n(); ++t)
      for (size_t part = 0; part < kOut; part += width)
        tasks.push_back({adapted_.get(), part, t, parts.view().row_range(t, 1).col_range(part, width)});
    dot_parts(compute_, traits_, X.view(), tasks);
    expect(X, parts, {}, 1, {}, 1);
  }
}

// Rows that a prompt chose are read from the copy that was made of them, whoever adapts the matrix.
TEST_P(AdaptedForms, ReadsPackedCopiesOfTheBase) {
  const Matrix X(n(), kIn, 5);
  for (const Axis axis : {Axis::kOut, Axis::kIn}) {
    if (!Packed::applies(*adapted_, axis)) continue;
    std::vector<uint32_t> ids;
    for (uint32_t i = 1; i < (axis == Axis::kOut ? kOut : kIn); i += 3) ids.push_back(i);
    Rows kept = Rows::of(ids, axis == Axis::kOut ? kOut : kIn);
    const uint64_t name = layouts_.new_name();
    const Layouts::PackRequest request{adapted_.get(), axis, &kept};
    layouts_.pack(compute_, name, {&request, 1});
    ASSERT_NE(layouts_.packed(adapted_->factor(Axis::kIn), name), nullptr);
    kept.set_name(name);
    const std::vector<Rows> rows(n(), kept);
    Matrix Y(n(), kOut, 6);
    if (axis == Axis::kOut) {
      adapted_->dot(compute_, traits_, X.view(), {rows}, Y.view());
      expect(X, Y, {}, 1, rows, 1);
    } else {
      adapted_->add(compute_, traits_, X.view(), {rows}, Y.view());
      expect(X, Y, rows, 1, {}, 1);
    }
  }
}

// A token as alone has the bits of a product with it alone, whatever its neighbours have and want.
TEST_P(AdaptedForms, BitsDoNotDependOnNeighbours) {
  for (TokenTraits& token : traits_) token.as_alone = true;
  const Matrix X(n(), kIn, 5);
  const std::vector<Rows> out = some(kOut), in = some(kIn);
  const auto expect_bits = [&](const char* what, const auto& product) {
    Matrix together(n(), kOut, 6), alone(n(), kOut, 7);
    product(0, n(), together.view());
    for (size_t t = 0; t < n(); ++t) product(t, size_t{1}, alone.view().row_range(t, 1));
    EXPECT_EQ(together.x, alone.x) << what;
  };
  const Tokens tokens = traits_;
  const auto x = [&](size_t first, size_t count) { return X.view().row_range(first, count); };
  expect_bits("dot", [&](size_t first, size_t count, MatView<float> Y) {
    adapted_->dot(compute_, tokens.subspan(first, count), x(first, count), {}, Y);
  });
  expect_bits("dot of some", [&](size_t first, size_t count, MatView<float> Y) {
    adapted_->dot(compute_, tokens.subspan(first, count), x(first, count), RowSet{out}.subset(first, count), Y);
  });
  expect_bits("add of some", [&](size_t first, size_t count, MatView<float> Y) {
    adapted_->add(compute_, tokens.subspan(first, count), x(first, count), RowSet{in}.subset(first, count), Y);
  });
  expect_bits("together", [&](size_t first, size_t count, MatView<float> Y) {
    const Product product{adapted_.get(), Y};
    dot_together(compute_, tokens.subspan(first, count), x(first, count), {&product, 1});
  });
}

// What W reads is read once for all, and only the rows of B and the inputs of A that a token has are read besides.
TEST_P(AdaptedForms, CountsTheBytesThatItReads) {
  const auto bytes = [&](const Linear& linear, Tokens tokens, RowSet in) {
    const Matrix X(tokens.size(), kIn, 5);
    Matrix Y(tokens.size(), kOut, 6);
    const Bytes before = compute_.meter.bytes();
    in.own.empty() ? linear.dot(compute_, tokens, X.view(), {}, Y.view())
                   : linear.add(compute_, tokens, X.view(), in, Y.view());
    return (compute_.meter.bytes() - before).weights();
  };
  const TokenTraits plain, adapted{false, &effects_[0].adapter};
  const std::vector<TokenTraits> mixed = {adapted, plain, adapted};
  const uint64_t base = bytes(adapted_->factor(Axis::kIn), mixed, {});
  EXPECT_EQ(bytes(*adapted_, {&plain, 1}, {}), bytes(adapted_->factor(Axis::kIn), {&plain, 1}, {}));
  EXPECT_EQ(bytes(*adapted_, mixed, {}), base + 4 * (kIn + kOut) * sizeof(float));
  const std::vector<Rows> in = {Rows::of({3, 8, 77}, kIn)};
  EXPECT_EQ(bytes(*adapted_, {&adapted, 1}, {in}),
            bytes(adapted_->factor(Axis::kIn), {&adapted, 1}, {in}) + 4 * (3 + kOut) * sizeof(float));
}

constexpr Form kForms[] = {{"f32", DType::kF32, true, false},
                           {"f32_by_input", DType::kF32, false, true},
                           {"f16_both", DType::kF16, true, true},
                           {"q8_0", DType::kQ8_0, true, false}};
INSTANTIATE_TEST_SUITE_P(Forms, AdaptedForms, ::testing::ValuesIn(kForms),
                         [](const auto& i) { return std::string(i.param.name); });

TEST(Adapter, EmbeddingsAreRowsOfTheSum) {
  const Effect plain(4, 10, false, false), saves(2, 20, false, true);
  for (const Effect* e : {&plain, &saves}) {
    Adapter adapter("test");
    AdapterPart part(e->A.view(), e->B_by_rank.view(), {});
    if (e->saved) part.replace({.role = Role::kEmbedding}, e->saved->view(), {});
    adapter.parts.emplace(LinearId{.role = Role::kEmbedding}, std::move(part));
    const Matrix W(kOut, kIn, 1);
    std::vector<float> y(W.view().row(5).begin(), W.view().row(5).end());
    adapter.embed(5, y);
    for (size_t c = 0; c < kIn; ++c) EXPECT_NEAR(double(y[c]), e->weight(W, 5, c), 1e-5);
  }
}

}  // namespace
}  // namespace hunch
