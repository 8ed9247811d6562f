#include "kernels/gemm_tiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "base/half.h"
#include "formats/strip_shape.h"
#include "kernels/matmul_test_util.h"
#include "kernels/strips.h"

namespace hunch {
namespace {

float rounded(float v) { return to_f32(to_bf16(v)); }

std::vector<DType> suiting_types(Precision precision = Precision::kF32) {
  std::vector<DType> types = computing_types();
  std::erase_if(types, [&](DType dtype) { return !suits_tiles(dtype, precision); });
  return types;
}

// What the tiles multiply in place of w and x, and by how much the sum may be off besides: the lower parts' product,
// which is left out, and what two parts do not hold.
struct Seen {
  std::vector<float> w, x;
  float left_out;  // of sum |w x|
};
Seen seen(const TestMatrix& W, const Batch& X, Precision precision = Precision::kF32) {
  const bool in_parts = tile_parts(W.view.dtype, precision) == Bf16Parts::kBoth;
  Seen s;
  s.w = W.decoded;
  s.x.resize(X.view.rows * X.view.cols);
  for (size_t t = 0; t < X.view.rows; ++t) std::ranges::copy(X.view.row(t), &s.x[t * X.view.cols]);
  s.left_out = in_parts ? 0x1p-15f : 0;
  if (in_parts) return s;
  for (float& v : s.w) v = rounded(v);
  for (float& v : s.x) v = rounded(v);
  return s;
}

// Sums of x with w [n_out, n_in], both as seen, against Y.
void expect_sums(const Seen& s, size_t n_in, size_t n_out, bool transposed, std::span<const float> bias,
                 MatView<const float> Y, const TestMatrix& W) {
  for (size_t t = 0; t < Y.rows; ++t)
    for (size_t r = 0; r < n_out; ++r) {
      double want = bias.empty() ? 0 : bias[r], sum = std::fabs(want);
      for (size_t k = 0; k < n_in; ++k) {
        const size_t at = transposed ? k * n_out + r : r * n_in + k;
        want += double(s.w[at]) * s.x[t * n_in + k];
        sum += std::fabs(double(W.magnitude[at]) * s.x[t * n_in + k]);
      }
      // Decoded weights with minima may be an ulp of f32 off, and so, rarely, one of bf16.
      const double slack = info(W.view.dtype).has_min ? 0x1p-10 : 0;
      const double rounding = 1e-6 + 4e-9 * double(n_in);  // of additions one after the other, in f32
      ASSERT_NEAR(Y.row(t)[r], want, (rounding + s.left_out + slack) * sum + 1e-30) << "token " << t << " row " << r;
    }
}

struct Tiled {
  TileX x;
  AlignedBuffer memory, panel;
  Tiled(MatView<const float> X, DType dtype, bool transposed, Precision precision = Precision::kF32)
      : x{nullptr, X.rows, X.cols, tile_parts(dtype, precision)},
        memory(x.bytes()),
        panel(transposed ? tile_transposed_panel_bytes(X.rows) : tile_panel_bytes(X.rows)) {
    std::memset(memory.data(), 0xff, x.bytes());  // NaN, where something is not written
    std::memset(panel.data(), 0xff, panel.size());
    auto* values = reinterpret_cast<uint16_t*>(memory.data());
    pack_tile_x(X, x, 0, x.n_tiles() / 2, values);
    pack_tile_x(X, x, x.n_tiles() / 2, x.n_tiles(), values);
    x.data = values;
  }
};

void expect_rows(DType dtype, size_t n_out, size_t n_in, size_t n_tokens, bool strips, bool with_bias,
                 Precision precision) {
  SCOPED_TRACE(std::string(name_of(dtype)) + (strips ? " strips " : " ") + std::to_string(n_out) + " x " +
               std::to_string(n_in) + " tokens " + std::to_string(n_tokens));
  TestMatrix W = random_matrix(dtype, n_out, n_in, strips ? 0 : 6, uint32_t(n_in));
  AlignedBuffer interleaved;
  WeightView view = W.view;
  if (strips) {
    const size_t n = (n_out + kStripRows - 1) / kStripRows;
    view.strip_stride_bytes = strip_bytes(dtype, n_in);
    interleaved = AlignedBuffer(n * view.strip_stride_bytes);
    pack_strips(W.view, 0, n, interleaved.data());
    view.strips = interleaved.data();
  }
  const Batch X(n_tokens, n_in, 3, uint32_t(n_tokens));
  const std::vector<float> bias = with_bias ? normal_values(n_out, 5) : std::vector<float>();
  const size_t stride = n_out + 5;
  std::vector<float> got(n_tokens * stride, 777.0f);
  const MatView<float> Y(got.data(), n_tokens, n_out, stride);
  Tiled tiled(X.view, dtype, false, precision);
  const GemmArgs args{view, bias.empty() ? nullptr : bias.data(), Y};
  const size_t middle = std::min(n_out, kTilePanelRows * ((n_out + 63) / 64));
  gemm_tiles(args, tiled.x, 0, middle, tiled.panel.data());
  if (middle < n_out) gemm_tiles(args, tiled.x, middle, n_out, tiled.panel.data());
  expect_sums(seen(W, X, precision), n_in, n_out, false, bias, Y, W);
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t c = n_out; c < stride; ++c) ASSERT_EQ(got[t * stride + c], 777.0f) << "wrote beyond its columns";
}

class GemmTiles : public testing::Test {
  void SetUp() override {
    if (!multiplies_tiles()) GTEST_SKIP() << "this machine has no AMX tiles";
  }
};

// AMX, or vectors of bf16.
struct Unit {
  bool tiles;
  Precision precision;
  const char* name;
};
class Bf16Unit : public testing::TestWithParam<Unit> {
 protected:
  void SetUp() override {
    if (GetParam().tiles && !multiplies_tiles()) GTEST_SKIP() << "this machine has no AMX tiles";
    if (!GetParam().tiles) without_.emplace();
    if (suiting_types(GetParam().precision).empty()) GTEST_SKIP() << "this machine multiplies no bf16";
  }
  std::optional<WithoutTiles> without_;
};
INSTANTIATE_TEST_SUITE_P(Units, Bf16Unit,
                         testing::Values(Unit{true, Precision::kF32, "Tiles"},
                                         Unit{true, Precision::kBf16, "TilesOfRounded"},
                                         Unit{false, Precision::kBf16, "Vectors"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Bf16Unit, RowsAreTheReferences) {
  const Precision precision = GetParam().precision;
  for (const DType dtype : suiting_types(precision)) {
    const bool plain = is_plain(dtype), short_blocks = info(dtype).block_elems == 32;
    for (const size_t n_in : plain          ? std::vector<size_t>{1, 31, 33, 300, 1100}
                             : short_blocks ? std::vector<size_t>{32, 96, 544, 1056}
                                            : std::vector<size_t>{256, 768})
      for (const size_t n_tokens : {1, 16, 17, 33, 70})
        for (const size_t n_out : {1, 37, 70}) {
          expect_rows(dtype, n_out, n_in, n_tokens, false, n_tokens % 2, precision);
          if (!plain) expect_rows(dtype, n_out, n_in, n_tokens, true, n_tokens % 2, precision);
        }
  }
}

TEST_P(Bf16Unit, MoreRowsAndTokensThanABlockHolds) {
  const Precision precision = GetParam().precision;
  for (const DType dtype : {DType::kF16, DType::kQ4_K}) {
    if (!suits_tiles(dtype, precision)) continue;
    expect_rows(dtype, 300, 768, 40, dtype == DType::kQ4_K, true, precision);
    expect_rows(dtype, 40, 256, 600, dtype == DType::kQ4_K, true, precision);
  }
}

TEST_P(Bf16Unit, TransposedProductsAreTheReferences) {
  const Precision precision = GetParam().precision;
  for (const DType dtype : suiting_types(precision)) {
    const std::vector<size_t> columns = is_plain(dtype)                 ? std::vector<size_t>{1, 40, 67, 300}
                                        : info(dtype).block_elems == 32 ? std::vector<size_t>{32, 160}
                                                                        : std::vector<size_t>{256, 512};
    for (const size_t n_out : columns)
      for (const size_t n_in : {1, 45, 530})
        for (const size_t n_tokens : {1, 29, 70}) {
          SCOPED_TRACE(std::string(name_of(dtype)) + " " + std::to_string(n_in) + " x " + std::to_string(n_out));
          const TestMatrix Wt = random_matrix(dtype, n_in, n_out, 6, uint32_t(n_out));
          const Batch A(n_tokens, n_in, 2, 17);
          const std::vector<float> bias = n_tokens % 2 ? normal_values(n_out, 98) : std::vector<float>();
          std::vector<float> got(n_tokens * n_out, 777.0f);
          const MatView<float> Y(got.data(), n_tokens, n_out);
          Tiled tiled(A.view, dtype, true, precision);
          gemm_tiles_transposed({Wt.view, bias.empty() ? nullptr : bias.data(), Y}, tiled.x, 0, n_out,
                                tiled.panel.data());
          expect_sums(seen(Wt, A, precision), n_in, n_out, true, bias, Y, Wt);
        }
  }
}

// Rows from the last to the first by a list, in two parts, for few tokens.
TEST_F(GemmTiles, AddedRowsAreTheReferences) {
  for (const DType dtype : suiting_types())
    for (const size_t n_out : {is_plain(dtype) ? 67 : 256, is_plain(dtype) ? 300 : 512})
      for (const size_t n_in : {1, 77})
        for (const size_t n_tokens : {15, 32}) {
          SCOPED_TRACE(std::string(name_of(dtype)) + " " + std::to_string(n_in) + " x " + std::to_string(n_out));
          const TestMatrix W = random_matrix(dtype, n_in, n_out, 6, uint32_t(n_out));
          const Batch A(n_tokens, n_in, 2, 17);
          std::vector<uint32_t> ids(n_in);
          for (size_t k = 0; k < n_in; ++k) ids[k] = uint32_t(n_in - 1 - k);
          const size_t n_tiles = (n_tokens + 15) / 16;
          AlignedBuffer memory((n_out + 15) / 16 * n_tiles * 256 * sizeof(float));
          std::memset(memory.data(), 0, memory.size());
          auto* sums = reinterpret_cast<float*>(memory.data());
          const AxpyArgs args{W.view, ids.data(), A.view};
          add_rows_in_tiles(args, 0, n_in / 3, sums);
          add_rows_in_tiles(args, n_in / 3, n_in, sums);
          std::vector<float> got(n_tokens * n_out);
          for (size_t t = 0; t < n_tokens; ++t)
            for (size_t c = 0; c < n_out; ++c)
              got[t * n_out + c] = sums[(c / 16 * n_tiles + t / 16) * 256 + t % 16 * 16 + c % 16];
          Seen s = seen(W, A);
          for (size_t t = 0; t < n_tokens; ++t) std::reverse(&s.x[t * n_in], &s.x[t * n_in] + n_in);
          expect_sums(s, n_in, n_out, true, {}, MatView<const float>(got.data(), n_tokens, n_out), W);
        }
}

// What is rounded away from random numbers is far less than the bound.
TEST_F(GemmTiles, PlainWeightsLoseLittle) {
  const TestMatrix W = random_matrix(DType::kF16, 64, 1024, 0, 1);
  const Batch X(64, 1024, 0, 2);
  std::vector<float> y(64 * 64);
  Tiled tiled(X.view, DType::kF16, false);
  gemm_tiles({W.view, nullptr, MatView<float>(y.data(), 64, 64)}, tiled.x, 0, 64, tiled.panel.data());
  double error = 0, size = 0;
  for (size_t t = 0; t < 64; ++t)
    for (size_t r = 0; r < 64; ++r) {
      double want = 0;
      for (size_t k = 0; k < 1024; ++k) want += double(W.decoded[r * 1024 + k]) * X.view.row(t)[k];
      error += (want - y[t * 64 + r]) * (want - y[t * 64 + r]);
      size += want * want;
    }
  EXPECT_LT(std::sqrt(error / size), 6e-6);
}

// Against weights as they are decoded and x as it is.
double relative_error(Compute& compute, const TestMatrix& W, const Batch& X, TokenBits bits = TokenBits::kFastest) {
  const size_t n_tokens = X.view.rows, n_out = W.view.rows;
  std::vector<float> y(n_tokens * n_out);
  const MatmulTask task{W.view, {}, MatView<float>(y.data(), n_tokens, n_out)};
  matmul(compute, X.view, std::span(&task, 1), bits);
  double error = 0, size = 0;
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t r = 0; r < n_out; ++r) {
      double want = 0;
      for (size_t k = 0; k < W.view.cols; ++k) want += double(W.row(r)[k]) * X.view.row(t)[k];
      error += (want - y[t * n_out + r]) * (want - y[t * n_out + r]);
      size += want * want;
    }
  return std::sqrt(error / size);
}

// Who asks for bf16 gets it, many tokens at a time: an error that others do not have, and the same sums as above.
TEST_P(Bf16Unit, MatmulTakesPlainWeightsThereWhereItMayRound) {
  const Precision precision = GetParam().precision;
  if (precision == Precision::kF32) return;
  Compute rounding(2), other(2);
  rounding.precision = precision;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kFP8}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const TestMatrix W = random_matrix(dtype, 96, 1024, 0, 1);
    const Batch X(64, 1024, 0, 2);
    const double error = relative_error(rounding, W, X);                               // 0.23 %, docs/kernels.md says
    EXPECT_GT(error, dtype == DType::kF32 || dtype == DType::kF16 ? 2.1e-3 : 1.4e-3);  // others are bf16 already
    EXPECT_LT(error, 2.5e-3);
    EXPECT_LT(relative_error(rounding, W, X, TokenBits::kAsAlone), 1e-5);
    const Batch few(8, 1024, 0, 2);
    EXPECT_LT(relative_error(rounding, W, few), 1e-5);
    if (!GetParam().tiles || is_plain(dtype)) {
      EXPECT_LT(relative_error(other, W, X), 1e-5);
    }

    std::vector<float> y(64 * 1024);
    const MatView<float> Y(y.data(), 64, 1024);
    const Batch A(64, 96, 0, 3);
    matmul_transposed(rounding, A.view, W.view, {}, Y);
    expect_sums(seen(W, A, precision), 96, 1024, true, {}, Y, W);
  }
}

TEST_F(GemmTiles, QuantisedWeightsLoseLessThanWithXInInt8) {
  Compute compute(2);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    const TestMatrix W = random_matrix(dtype, 96, 1024, 0, 1);
    const Batch X(64, 1024, 0, 2);
    const double in_tiles = relative_error(compute, W, X);
    const WithoutTiles without;
    const double in_int8 = relative_error(compute, W, X);
    EXPECT_LT(in_tiles, 0.003) << name_of(dtype);
    EXPECT_LT(in_tiles, 0.5 * in_int8) << name_of(dtype);
    RecordProperty(std::string(name_of(dtype)), fmt::format("{:.5f} {:.5f}", in_tiles, in_int8));
  }
}

TEST_P(Bf16Unit, InfinityAndNanStayVisible) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float special : {inf, -inf, nan})
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      std::vector<float> w(32 * 64, 1.0f), x(16 * 64, 1.0f), y(16 * 32);
      w[5 * 64 + 3] = special;
      std::vector<std::byte> bytes(32 * row_bytes(dtype, 64));
      for (size_t r = 0; r < 32; ++r) info(dtype).encode(&w[r * 64], bytes.data() + r * row_bytes(dtype, 64), 64);
      const WeightView W{dtype, bytes.data(), 32, 64, row_bytes(dtype, 64)};
      Tiled tiled(MatView<const float>(x.data(), 16, 64), dtype, false, GetParam().precision);
      gemm_tiles({W, nullptr, MatView<float>(y.data(), 16, 32)}, tiled.x, 0, 32, tiled.panel.data());
      for (size_t t = 0; t < 16; ++t)
        for (size_t r = 0; r < 32; ++r) {
          const float got = y[t * 32 + r];
          if (r != 5) {
            ASSERT_EQ(got, 64.0f);
          } else {
            ASSERT_FALSE(std::isfinite(got)) << name_of(dtype);
          }
        }
    }
}

// The products that people call choose tiles by the number of tokens; what was asked for as alone stays as alone.
TEST_F(GemmTiles, MatmulTakesThemForManyTokens) {
  Compute compute(2);
  const TestMatrix W = random_matrix(DType::kQ4_0, 70, 512, 0, 3), V = random_matrix(DType::kF16, 40, 512, 0, 4);
  const Batch X(70, 512, 1, 5);
  std::vector<float> y(70 * 70), z(70 * 40), few(70 * 70);
  const MatmulTask tasks[] = {{W.view, {}, MatView<float>(y.data(), 70, 70)},
                              {V.view, {}, MatView<float>(z.data(), 70, 40)}};
  matmul(compute, X.view, tasks);
  expect_sums(seen(W, X), 512, 70, false, {}, MatView<const float>(y.data(), 70, 70), W);
  expect_sums(seen(V, X), 512, 40, false, {}, MatView<const float>(z.data(), 70, 40), V);
  const MatmulTask alone{W.view, {}, MatView<float>(few.data(), 70, 70)};
  matmul(compute, X.view, std::span(&alone, 1), TokenBits::kAsAlone);
  EXPECT_NE(std::memcmp(few.data(), y.data(), y.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace hunch
