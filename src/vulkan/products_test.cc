// Products of every format that devices read against sums in double precision over the format's own decode().
#include <algorithm>
#include <cmath>

#include "formats/format.h"
#include "vulkan/repack.h"
#include "vulkan/test_gpu.h"

namespace hunch::vulkan {
namespace {

// A random matrix in a format, on the device and as numbers.
struct TestMatrix {
  std::vector<std::byte> bytes;
  WeightView view;
  std::vector<float> values;  // [rows, cols]
  Matrix W;
  double at(size_t r, size_t c) const { return values[r * view.cols + c]; }
};

class ProductsTest : public GpuTest, public ::testing::WithParamInterface<DType> {
 protected:
  // `cols` made whole blocks.
  TestMatrix matrix(size_t rows, size_t cols) {
    const Format& format = info(GetParam());
    cols = (cols + format.block_elems - 1) / format.block_elems * format.block_elems;
    TestMatrix m;
    const size_t padding = 6, row = row_bytes(format.dtype, cols) + padding;  // rows of a file may lie apart
    m.bytes.resize(rows * row);
    m.values.resize(rows * cols);
    for (size_t r = 0; r < rows; ++r) {
      const std::vector<float> values = random(cols, 0.3f);
      format.encode(values.data(), m.bytes.data() + r * row, cols);
      format.decode(m.bytes.data() + r * row, m.values.data() + r * cols, cols);
    }
    m.view = {format.dtype, m.bytes.data(), rows, cols, row};
    const RowLayout layout = row_layout(format.dtype, cols);
    std::vector<std::byte> codes(rows * layout.codes), scales(rows * layout.scales), extra(rows * layout.extra);
    repack_rows(m.view, 0, rows, codes.data(), scales.data(), extra.data());
    m.W = {format.dtype, uint32_t(rows), uint32_t(cols), put_bytes(codes), put_bytes(scales), put_bytes(extra)};
    return m;
  }
  Piece put_bytes(const std::vector<std::byte>& bytes) {
    return bytes.empty() ? Piece() : uploader_->upload(*arena_, std::span<const std::byte>(bytes));
  }
};

// |got - want| against the sum of magnitudes, which bounds the rounding of any order of summing.
void expect_close(float got, double want, double magnitude, const std::string& what) {
  EXPECT_NEAR(got, want, 1e-6 * magnitude + 1e-6) << what;
}

TEST_P(ProductsTest, DotsAreThoseOfTheDecodedRows) {
  for (const auto& [rows, cols] : {std::pair(1, 8), std::pair(37, 40), std::pair(130, 300)}) {
    const TestMatrix m = matrix(size_t(rows), size_t(cols));
    const size_t n_in = m.view.cols;
    for (const size_t n_tokens : {1, 2, 3, 5, 8, 11, 16, 45}) {
      const std::vector<float> x = random(n_tokens * n_in), bias = random(m.view.rows),
                               before = random(n_tokens * m.view.rows);
      const Values device_x = put(x, n_in), y = put(before, m.view.rows);
      const bool adds = n_tokens % 2 == 0;
      const Piece device_bias = n_tokens == 3 ? Piece() : put_floats(bias);
      const float scale = adds ? 0.5f : 1.0f;
      run([&](Kernels& k) { k.dot(m.W, device_bias, device_x, y, uint32_t(n_tokens), {.add = adds, .scale = scale}); });
      const std::vector<float> got = get(y, m.view.rows, n_tokens);
      for (size_t t = 0; t < n_tokens; ++t)
        for (size_t r = 0; r < m.view.rows; ++r) {
          double want = device_bias ? bias[r] : 0, magnitude = std::abs(want);
          for (size_t c = 0; c < n_in; ++c) {
            want += m.at(r, c) * x[t * n_in + c];
            magnitude += std::abs(m.at(r, c) * x[t * n_in + c]);
          }
          want = scale * want + (adds ? before[t * m.view.rows + r] : 0);
          expect_close(got[t * m.view.rows + r], want, magnitude,
                       fmt::format("{} x {}, token {} of {}, row {}", rows, cols, t, n_tokens, r));
        }
    }
  }
}

TEST_P(ProductsTest, DotsOfListedRowsLeaveTheOthersAlone) {
  const TestMatrix m = matrix(150, 64);
  const size_t n_in = m.view.cols;
  const std::vector<float> x = random(n_in), bias = random(150);
  for (const std::vector<uint32_t>& ids : {std::vector<uint32_t>{}, {149}, {0, 3, 4, 17, 64, 65, 127, 128, 140}}) {
    std::vector<uint32_t> list = {uint32_t(ids.size())};
    list.insert(list.end(), ids.begin(), ids.end());
    list.resize(151, 4000000000u);  // what lies behind the list is not read
    const Values y = put(std::vector<float>(150, 77.0f), 150), device_x = put(x, n_in);
    const Piece device_list = put_words(list), device_bias = put_floats(bias);
    run([&](Kernels& k) { k.dot(m.W, device_bias, device_x, y, 1, {.list = device_list}); });
    const std::vector<float> got = get(y, 150, 1);
    for (size_t r = 0; r < 150; ++r) {
      if (std::ranges::find(ids, r) == ids.end()) {
        EXPECT_EQ(got[r], 77.0f) << r;
        continue;
      }
      double want = bias[r], magnitude = std::abs(want);
      for (size_t c = 0; c < n_in; ++c) {
        want += m.at(r, c) * x[c];
        magnitude += std::abs(m.at(r, c) * x[c]);
      }
      expect_close(got[r], want, magnitude, fmt::format("row {}", r));
    }
  }
}

TEST_P(ProductsTest, AddsAreThoseOfTheDecodedInputs) {
  for (const auto& [n_inputs, n_out] : {std::pair(1, 8), std::pair(70, 40), std::pair(300, 600)}) {
    const TestMatrix m = matrix(size_t(n_inputs), size_t(n_out));
    const size_t n = m.view.cols;
    const Piece parts = arena_->take(Kernels::part_bytes(uint32_t(n), 11));
    for (const size_t n_tokens : {1, 2, 3, 8, 11})
      for (const bool listed : {false, true}) {
        if (listed && n_tokens > 1) continue;
        std::vector<float> a = random(n_tokens * size_t(n_inputs));
        const std::vector<float> bias = random(n), before = random(n_tokens * n);
        std::vector<uint32_t> list = {0};
        for (uint32_t i = 0; i < uint32_t(n_inputs); ++i)
          if (i % 3 == 0) list.push_back(i);
        list[0] = uint32_t(list.size() - 1);
        if (listed)
          for (size_t i = 0; i < size_t(n_inputs); ++i)
            if (i % 3 != 0) a[i] = NAN;  // is not read
        const Values device_a = put(a, size_t(n_inputs)), y = put(before, n);
        const Piece device_bias = put_floats(bias), device_list = listed ? put_words(list) : Piece();
        const bool adds = n_tokens != 2;
        run([&](Kernels& k) {
          k.add(m.W, device_bias, device_a, parts, y, uint32_t(n_tokens),
                {.add = adds, .scale = 0.5f, .list = device_list});
        });
        const std::vector<float> got = get(y, n, n_tokens);
        for (size_t t = 0; t < n_tokens; ++t)
          for (size_t c = 0; c < n; ++c) {
            double want = bias[c], magnitude = std::abs(want);
            for (size_t i = 0; i < size_t(n_inputs); ++i) {
              if (listed && i % 3 != 0) continue;
              want += m.at(i, c) * a[t * size_t(n_inputs) + i];
              magnitude += std::abs(m.at(i, c) * a[t * size_t(n_inputs) + i]);
            }
            want = 0.5 * want + (adds ? before[t * n + c] : 0);
            expect_close(got[t * n + c], want, magnitude,
                         fmt::format("{} x {}, token {} of {}, output {}", n_inputs, n_out, t, n_tokens, c));
          }
      }
  }
}

TEST_P(ProductsTest, EmbeddingsAreRowsAndTheirPositions) {
  const TestMatrix m = matrix(20, 44);
  const size_t n = m.view.cols;
  const std::vector<uint32_t> ids = {3, 19, 0, 3}, positions = {7, 0, 2, 8};
  const std::vector<float> table = random(9 * n);
  const Piece device_ids = put_words(ids), device_positions = put_words(positions);
  for (const bool has_table : {false, true}) {
    const Values y = put(std::vector<float>(4 * n), n);
    const Piece device_table = has_table ? put_floats(table) : Piece();
    run([&](Kernels& k) { k.embed(m.W, device_ids, device_positions, device_table, 2.0f, y, 4); });
    const std::vector<float> got = get(y, n, 4);
    for (size_t t = 0; t < 4; ++t)
      for (size_t c = 0; c < n; ++c)
        EXPECT_NEAR(got[t * n + c], 2 * m.at(ids[t], c) + (has_table ? table[positions[t] * n + c] : 0), 1e-5)
            << t << ", " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductsTest,
                         ::testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                                           DType::kQ4_K, DType::kQ6_K),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace hunch::vulkan
