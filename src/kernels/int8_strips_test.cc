#include "kernels/int8_strips.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/each_target.h"
#include "kernels/int8_tiles.h"

namespace hunch {
namespace {

std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// A matrix of int8 with the extreme codes in it, in strips.
struct Matrix {
  Matrix(size_t n_out, size_t n_in) : n_out(n_out), n_in(n_in), rows(n_out * (n_in + 3)) {
    std::mt19937 rng(uint32_t(n_out * 1000 + n_in));
    for (int8_t& w : rows) w = rng() % 7 == 0 ? -128 : int8_t(int(rng() % 256) - 128);
    strips = AlignedBuffer(int8_strips(n_out) * int8_strip_bytes(n_in));
    for (size_t s = 0; s < int8_strips(n_out); ++s)
      pack_int8_strip(&rows[s * 16 * (n_in + 3)], n_in + 3, std::min<size_t>(16, n_out - s * 16), n_in, data(s));
    scale = normal_values(int8_strips(n_out) * 16, 5);
    bias = normal_values(int8_strips(n_out) * 16, 6);
  }
  int8_t* data(size_t s) const { return reinterpret_cast<int8_t*>(strips.data()) + s * int8_strip_bytes(n_in); }
  Int8Task task(MatView<float> Y, bool with_bias = true) const {
    return {data(0), scale.data(), with_bias ? bias.data() : nullptr, Y};
  }
  size_t n_out, n_in;
  std::vector<int8_t> rows;
  AlignedBuffer strips;
  std::vector<float> scale, bias;
};

// [rows, cols] inside a wider one.
struct Wide {
  Wide(size_t rows, size_t cols) : values(rows * (cols + 5), 77.0f), view(values.data(), rows, cols, cols + 5) {}
  std::vector<float> values;
  MatView<float> view;
};

TEST(Int8Strips, ComeBackAsTheyWerePacked) {
  for (const size_t n_in : {1, 4, 63, 64, 130}) {
    const Matrix m(19, n_in);
    std::vector<int8_t> row(n_in);
    for (const size_t r : {0, 15, 16, 18}) {
      unpack_int8_row(m.data(r / 16), r % 16, row);
      for (size_t c = 0; c < n_in; ++c) ASSERT_EQ(row[c], m.rows[r * (n_in + 3) + c]) << n_in << " " << r;
    }
  }
}

TEST(Int8Strips, TokensRoundAsTheReferenceOnEveryTarget) {
  Compute compute{2};
  for_each_target([&] {
    for (const size_t n_in : {1, 15, 64, 100, 192})
      for (const size_t n_tokens : {1, 3, 16, 21}) {
        for (const float input_scale : {0.0f, 0.02f}) {
          const Arena::Scope scope(compute.arena);
          std::vector<float> values = normal_values(n_tokens * n_in, 7);
          const MatView<float> X(values.data(), n_tokens, n_in);
          for (float& v : X.row(0)) v *= 1e-35f;  // counts as nothing
          X.row(n_tokens - 1)[n_in / 2] = 20;     // is cut off by a scale of its own
          const Int8Tokens got = round_to_int8(compute, X, input_scale),
                           want = ref::round_to_int8(compute, X, input_scale);
          for (size_t t = 0; t < n_tokens; ++t) {
            ASSERT_EQ(got.scale[t], want.scale[t]) << t;
            ASSERT_EQ(got.sum[t], want.sum[t]) << t;
            for (size_t c = 0; c < got.n_padded(); ++c) {
              const size_t at = c / 64 * got.step_bytes(t) + c % 64;
              ASSERT_EQ(got.token(t)[at], want.token(t)[at]) << n_in << " " << t << " " << c;
            }
          }
        }
      }
  });
}

TEST(Int8Strips, WhatIsNotFiniteStaysSo) {
  Compute compute{1};
  for_each_target([&] {
    for (const float bad : {INFINITY, -INFINITY, NAN, -NAN})
      for (const size_t place : {0, 30}) {
        const Arena::Scope scope(compute.arena);
        std::vector<float> x(31, 1.0f);
        x[place] = bad;
        const Matrix m(3, 31);
        Wide y(1, 3);
        const Int8Task task = m.task(y.view);
        multiply_int8(compute, round_to_int8(compute, MatView<const float>(x.data(), 1, 31), 0), {&task, 1});
        for (const float v : y.view.row(0)) ASSERT_TRUE(std::isnan(v)) << bad << " " << place;
      }
  });
}

void expect_reference(Compute& compute, const Int8Tokens& x, const Matrix& m, bool with_bias) {
  Wide got(x.n_tokens, m.n_out), want(x.n_tokens, m.n_out);
  const Int8Task task = m.task(got.view, with_bias);
  multiply_int8(compute, x, {&task, 1});
  ref::multiply_int8(x, m.task(want.view, with_bias));
  for (size_t t = 0; t < x.n_tokens; ++t)
    for (size_t r = 0; r < m.n_out; ++r) {
      const float w = want.view.row(t)[r];
      ASSERT_NEAR(got.view.row(t)[r], w, 1e-6f * (std::fabs(w) + 10))
          << x.n_tokens << " tokens, token " << t << ", row " << r;
    }
  for (size_t i = 0; i < got.values.size(); ++i)
    ASSERT_TRUE(i % (m.n_out + 5) < m.n_out || got.values[i] == 77.0f) << "written beside Y";
}

TEST(Int8Strips, ProductsAreTheReferencesOnEveryTarget) {
  Compute compute{2};
  for_each_target([&] {
    for (const size_t n_in : {1, 63, 64, 100, 257})
      for (const size_t n_out : {1, 16, 37})
        for (const size_t n_tokens : {1, 2, 3, 4, 7, 8, 17, 30}) {
          const Arena::Scope scope(compute.arena);
          const Matrix m(n_out, n_in);
          std::vector<float> x = normal_values(n_tokens * n_in, 8);
          for (size_t i = 0; i < x.size(); i += 3) x[i] = i % 2 ? 4 : -4;  // the largest codes, many of them
          expect_reference(compute, round_to_int8(compute, MatView<const float>(x.data(), n_tokens, n_in), 0), m,
                           n_in != 63);
        }
  });
}

// More columns than a piece has, more tokens than wait at once, groups of three strips and what they leave.
TEST(Int8Strips, ProductsOfManyTokensAreTheReferencesOnEveryTarget) {
  Compute compute{2};
  const std::vector<float> values = normal_values(275 * 1100, 8);
  for_each_target([&] {
    for (const size_t n_in : {600, 1100})
      for (const size_t n_out : {70, 90, 112})
        for (const size_t n_tokens : {18, 275}) {
          const Arena::Scope scope(compute.arena);
          const Matrix m(n_out, n_in);
          const MatView<const float> X(values.data(), n_tokens, n_in);
          expect_reference(compute, round_to_int8(compute, X, 0), m, true);
        }
  });
}

TEST(Int8Strips, ProductsInTilesAreTheReferences) {
  if (!multiplies_int8_tiles()) GTEST_SKIP() << "no AMX tiles of int8 on this machine";
  Compute compute{2};
  for (const size_t n_in : {1, 64, 100, 1024, 1100, 2100})
    for (const size_t n_out : {5, 16, 33, 300})
      for (const size_t n_tokens : {16, 17, 31, 32, 45}) {
        const Arena::Scope scope(compute.arena);
        const Matrix m(n_out, n_in);
        const std::vector<float> x = normal_values(n_tokens * n_in, 9);
        expect_reference(compute, round_to_int8(compute, MatView<const float>(x.data(), n_tokens, n_in), 0), m, true);
      }
  const Arena::Scope scope(compute.arena);  // more than are summed at a time
  const Matrix m(40, 70);
  const std::vector<float> x = normal_values(530 * 70, 9);
  expect_reference(compute, round_to_int8(compute, MatView<const float>(x.data(), 530, 70), 0.03f), m, true);
}

// Whatever stands beside a token, and however its sums are formed.
TEST(Int8Strips, ATokensBitsAreItsOwn) {
  Compute compute{2};
  const Arena::Scope scope(compute.arena);
  const Matrix m(50, 200);
  const std::vector<float> x = normal_values(20 * 200, 10);
  Wide all(20, 50), one(1, 50);
  const Int8Task task = m.task(all.view);
  multiply_int8(compute, round_to_int8(compute, MatView<const float>(x.data(), 20, 200), 0), {&task, 1});
  for (size_t t = 0; t < 20; ++t) {
    const Int8Task alone = m.task(one.view);
    multiply_int8(compute, round_to_int8(compute, MatView<const float>(&x[t * 200], 1, 200), 0), {&alone, 1});
    for (size_t r = 0; r < 50; ++r) ASSERT_EQ(one.view.row(0)[r], all.view.row(t)[r]) << t << " " << r;
  }
}

TEST(Int8Strips, ChosenStripsAndQuadsOnEveryTarget) {
  Compute compute{2};
  const Matrix m(70, 150), other(20, 150);
  std::vector<float> x = normal_values(3 * 150, 11);
  std::vector<uint32_t> quads;
  for (size_t c = 0; c < 150; ++c)
    if (c / 4 % 3 != 1) x[c] = 0;
  for (uint32_t q = 1; q < 38; q += 3) quads.push_back(q);
  for_each_target([&] {
    const Arena::Scope scope(compute.arena);
    Wide whole(1, 70), some(1, 70), beside(1, 20), beside_whole(1, 20);
    Int8Tokens tokens = round_to_int8(compute, MatView<const float>(x.data(), 1, 150), 0);
    Int8Task tasks[] = {m.task(whole.view), other.task(beside_whole.view)};
    multiply_int8(compute, tokens, tasks);
    tokens.quads = quads, tokens.only_quads = true;
    const uint32_t chosen[] = {1, 4};
    tasks[0] = m.task(some.view), tasks[1] = other.task(beside.view);
    tasks[0].chosen = chosen, tasks[0].only_chosen = true;
    multiply_int8(compute, tokens, tasks);
    for (size_t r = 0; r < 70; ++r)
      ASSERT_EQ(some.view.row(0)[r], r / 16 == 1 || r / 16 == 4 ? whole.view.row(0)[r] : 77.0f) << r;
    for (size_t r = 0; r < 20; ++r) ASSERT_EQ(beside.view.row(0)[r], beside_whole.view.row(0)[r]) << r;
  });
}

}  // namespace
}  // namespace hunch
