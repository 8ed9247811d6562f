// Speed of the product kernels over shapes of real models.
//
//   bench_kernels --benchmark_filter='matmul/q4_0'         one dtype
//   bench_kernels --benchmark_filter='/tokens:1/'          decode
//   HUNCH_THREADS=1 bench_kernels                          one core
//   HUNCH_PRECISION=bf16 bench_kernels                     as with --precision bf16
//
//   matmul/DTYPE/ROWSxCOLS/tokens:N            Y = X W^T       weights [ROWS, COLS]
//   strips/DTYPE/ROWSxCOLS/tokens:N            the same of sixteen interleaved rows
//   int8/ROWSxCOLS/tokens:N                    W8A8: int8 with a scale for each row and each token
//   sparse/DTYPE/ZEROS/ROWSxCOLS/tokens:N      pruned: 2:4, or a share of zeros anywhere
//   matmul_transposed/DTYPE/ROWSxCOLS/tokens:N Y = A Wt        weights [ROWS, COLS]
//   gather_dot/DTYPE/ROWSxCOLS/density:P       P percent of the rows, ascending, random
//   gather_axpy/DTYPE/ROWSxCOLS/density:P
//   read/MiB:N/WAY                             plain reading, what memory can give
//
// Counters, all of the median iteration: GB/s of weight bytes, GFLOP/s (2 per multiply-add), and `of_read`, the share
// of the bandwidth that the same threads reach by plain reading, measured at the start of the program. Times are
// means, as usual.
// The weights of a benchmark are several copies, larger together than any cache, visited in turn.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "base/timer.h"
#include "formats/format.h"
#include "formats/strip_shape.h"
#include "kernels/gather.h"
#include "kernels/int8_strips.h"
#include "kernels/matmul.h"
#include "kernels/read_stream.h"
#include "kernels/sparse_strips.h"
#include "kernels/strips.h"

namespace hunch {
namespace {

Compute& compute() {
  static const std::unique_ptr<Compute> p = [] {
    const char *threads = std::getenv("HUNCH_THREADS"), *precision = std::getenv("HUNCH_PRECISION");
    auto made = std::make_unique<Compute>(threads ? size_t(std::atoi(threads)) : default_n_threads());
    if (precision) made->precision = precision_from_name(precision).value();
    return made;
  }();
  return *p;
}

// All bytes of a buffer, each thread over its part.
uint32_t read_all(std::span<const std::byte> bytes, ReadWay way) {
  std::vector<uint32_t> sums(compute().threads.n_threads() * 16);
  compute().threads.parallel_for(bytes.size(), 1 << 20, [&](size_t begin, size_t end, size_t thread) {
    sums[thread * 16] += read_stream(bytes.subspan(begin, end - begin), way);
  });
  uint32_t total = 0;
  for (const uint32_t v : sums) total += v;
  return total;
}

constexpr size_t kReadBytes = size_t{512} << 20;  // larger than any L3

// The fastest pass is of a moment when some of the weights still lay in a cache.
struct Times {
  std::vector<double> seconds;
  template <class F>
  void time(F&& f) {
    const Timer timer;
    f();
    seconds.push_back(timer.seconds());
  }
  double median() {
    const auto middle = seconds.begin() + std::ptrdiff_t(seconds.size() / 2);
    std::ranges::nth_element(seconds, middle);
    return *middle;
  }
};

// The fastest way's median of several passes over fresh memory, in bytes per second.
double read_bandwidth() {
  static const double best = [] {
    AlignedBuffer buffer(kReadBytes);
    std::memset(buffer.data(), 1, kReadBytes);
    double rate = 0;
    for (const ReadWay way : kReadWays) {
      Times times;
      for (int i = 0; i < 9; ++i)
        times.time([&] { benchmark::DoNotOptimize(read_all({buffer.data(), kReadBytes}, way)); });
      rate = std::max(rate, double(kReadBytes) / times.median());
    }
    return rate;
  }();
  return best;
}

void bench_read(benchmark::State& state, ReadWay way) {
  AlignedBuffer buffer(kReadBytes);
  std::memset(buffer.data(), 1, kReadBytes);
  Times times;
  for (auto _ : state) times.time([&] { benchmark::DoNotOptimize(read_all({buffer.data(), kReadBytes}, way)); });
  state.counters["GB/s"] = double(kReadBytes) / times.median() * 1e-9;
}

// Copies of one random matrix: one, or as many as no cache holds together.
struct Weights {
  AlignedBuffer memory;
  std::vector<WeightView> copies;

  Weights(DType dtype, size_t rows, size_t cols, bool beyond_cache) {
    const size_t stride = row_bytes(dtype, cols), bytes = rows * stride;
    const size_t n = beyond_cache ? std::max<size_t>(2, kReadBytes / bytes) : 1;
    memory = AlignedBuffer(n * bytes);
    // Encoded numbers, of a few rows again and again: exponents at random would be of subnormal weights, which cost
    // extra cycles.
    constexpr size_t kRows = 32;
    std::vector<float> values(kRows * cols);
    std::mt19937 rng(1);
    std::normal_distribution<float> normal(0, 0.02f);
    for (float& v : values) v = normal(rng);
    for (size_t r = 0; r < rows; ++r) {
      std::byte* row = memory.data() + r * stride;
      if (r < kRows) {
        info(dtype).encode(&values[r * cols], row, cols);
      } else {
        std::memcpy(row, row - kRows * stride, stride);
      }
    }
    for (size_t i = 1; i < n; ++i) std::memcpy(memory.data() + i * bytes, memory.data(), bytes);
    for (size_t i = 0; i < n; ++i) copies.push_back({dtype, memory.data() + i * bytes, rows, cols, stride});
  }

  AlignedBuffer strips;
  void interleave() {
    const size_t n_strips = (copies[0].rows + kStripRows - 1) / kStripRows,
                 stride = strip_bytes(copies[0].dtype, copies[0].cols);
    strips = AlignedBuffer(copies.size() * n_strips * stride);
    pack_strips(copies[0], 0, n_strips, strips.data());
    for (size_t i = 0; i < copies.size(); ++i) {
      if (i) std::memcpy(strips.data() + i * n_strips * stride, strips.data(), n_strips * stride);
      copies[i].strips = strips.data() + i * n_strips * stride;
      copies[i].strip_stride_bytes = stride;
    }
  }
};

std::vector<float> normal_values(size_t n) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

void count(benchmark::State& state, double seconds, double bytes, double flops) {
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  state.counters["GFLOP/s"] = flops / seconds * 1e-9;
  state.counters["of_read"] = bytes / seconds / read_bandwidth();
}

enum class Layout : uint8_t { kRows, kStrips, kTransposed };

void bench_matmul(benchmark::State& state, DType dtype, size_t rows, size_t cols, size_t n_tokens, Layout layout,
                  bool beyond_cache) {
  Weights weights(dtype, rows, cols, beyond_cache);
  if (layout == Layout::kStrips) weights.interleave();
  const bool transposed = layout == Layout::kTransposed;
  const size_t n_in = transposed ? rows : cols, n_out = transposed ? cols : rows;
  const std::vector<float> x = normal_values(n_tokens * n_in);
  std::vector<float> y(n_tokens * n_out);
  const MatView<const float> X(x.data(), n_tokens, n_in);
  const MatView<float> Y(y.data(), n_tokens, n_out);
  Times times;
  size_t i = 0;
  for (auto _ : state) {
    const WeightView& W = weights.copies[i++ % weights.copies.size()];
    const MatmulTask task{W, {}, Y};
    times.time([&] {
      if (transposed) {
        matmul_transposed(compute(), X, W, {}, Y);
      } else {
        matmul(compute(), X, std::span(&task, 1));
      }
    });
  }
  count(state, times.median(), double(weights.copies[0].bytes()), 2.0 * double(rows * cols * n_tokens));
}

// With the rounding of the tokens, as matmul() has it.
void bench_int8(benchmark::State& state, size_t rows, size_t cols, size_t n_tokens) {
  const size_t bytes = int8_strips(rows) * int8_strip_bytes(cols),
               n_copies = n_tokens < 32 ? std::max<size_t>(2, kReadBytes / bytes) : 1;
  const AlignedBuffer memory(n_copies * bytes);
  std::mt19937 rng(1);
  for (uint32_t& word : memory.as<uint32_t>().first(bytes / 4)) word = uint32_t(rng());
  for (size_t i = 1; i < n_copies; ++i) std::memcpy(memory.data() + i * bytes, memory.data(), bytes);
  const std::vector<float> scale(int8_strips(rows) * kInt8StripRows, 0.01f), x = normal_values(n_tokens * cols);
  std::vector<float> y(n_tokens * rows);
  Times times;
  size_t i = 0;
  for (auto _ : state) {
    const auto* strips = reinterpret_cast<const int8_t*>(memory.data() + i++ % n_copies * bytes);
    const Int8Task task{strips, scale.data(), nullptr, MatView<float>(y.data(), n_tokens, rows), {}, false};
    times.time([&] {
      const Arena::Scope scope(compute().arena);
      multiply_int8(compute(), round_to_int8(compute(), MatView<const float>(x.data(), n_tokens, cols), 0), {&task, 1});
    });
  }
  count(state, times.median(), double(rows * cols), 2.0 * double(rows * cols * n_tokens));
}

// Noise of which two of four stay, or `percent_zeros` go.
OwnedStrips pruned_strips(DType dtype, size_t rows, size_t cols, size_t percent_zeros) {
  std::mt19937 rng(1);
  std::vector<float> w = normal_values(cols), row(cols);
  const size_t stride = row_bytes(dtype, cols);
  std::vector<std::byte> blocks(rows * stride);
  for (size_t r = 0; r < rows; ++r) {
    row = w;
    for (size_t c = 0; c < cols; c += 4) {
      const size_t first = rng() % 4, second = (first + 1 + rng() % 3) % 4;  // of four: those that go
      for (size_t j = 0; j < 4; ++j)
        if (percent_zeros ? rng() % 100 < percent_zeros : j == first || j == second) row[c + j] = 0;
    }
    for (size_t c = 0; c < cols; c += 32) row[c] = row[c] == 0 ? 0 : -5;
    info(dtype).encode(row.data(), blocks.data() + r * stride, cols);
  }
  const WeightView dense{dtype, blocks.data(), rows, cols, stride};
  SparseRows sparse{dtype, rows, cols, sparse_span(dense)};
  std::vector<std::byte> mask(rows * cols / 8), scales(sparse.span ? rows * (cols / sparse.span) * 2 : 0), values;
  for (size_t r = 0; r < rows; ++r) {
    std::vector<std::byte> own(sparse_value_bytes(dtype, count_nonzero(dense, r)));
    sparse_row_of_blocks(dense, r, sparse.span, mask.data() + r * cols / 8,
                         scales.data() + (sparse.span ? r * (cols / sparse.span) * 2 : 0), own.data());
    values.insert(values.end(), own.begin(), own.end());
  }
  sparse.mask = mask.data(), sparse.values = values.data(), sparse.scales = scales.data();
  return OwnedStrips(compute(), sparse);
}

void bench_sparse(benchmark::State& state, DType dtype, size_t rows, size_t cols, size_t percent_zeros,
                  size_t n_tokens) {
  const OwnedStrips strips = pruned_strips(dtype, rows, cols, percent_zeros);
  SparseStrips W = strips.view();
  const size_t bytes = round_up(W.bytes(), 64), n_copies = n_tokens < 32 ? std::max<size_t>(2, kReadBytes / bytes) : 1;
  const AlignedBuffer memory(n_copies * bytes);
  for (size_t i = 0; i < n_copies; ++i) std::memcpy(memory.data() + i * bytes, W.data, W.bytes());
  const std::vector<float> x = normal_values(n_tokens * cols);
  std::vector<float> y(n_tokens * rows);
  Times times;
  size_t i = 0;
  for (auto _ : state) {
    W.data = memory.data() + i++ % n_copies * bytes;
    times.time([&] {
      sparse_matmul(compute(), MatView<const float>(x.data(), n_tokens, cols), W, {},
                    MatView<float>(y.data(), n_tokens, rows));
    });
  }
  count(state, times.median(), double(W.bytes()), 2.0 * double(rows * cols * n_tokens));
}

void bench_gather(benchmark::State& state, DType dtype, size_t rows, size_t cols, size_t percent, bool axpy) {
  const Weights weights(dtype, rows, cols, true);
  std::mt19937 rng(3);
  std::vector<uint32_t> ids(rows);
  for (size_t i = 0; i < rows; ++i) ids[i] = uint32_t(i);
  std::shuffle(ids.begin(), ids.end(), rng);
  ids.resize(rows * percent / 100);
  std::sort(ids.begin(), ids.end());
  const std::vector<float> x = normal_values(std::max(rows, cols));
  std::vector<float> y(std::max(rows, cols));
  Times times;
  size_t i = 0;
  for (auto _ : state) {
    const WeightView& W = weights.copies[i++ % weights.copies.size()];
    times.time([&] {
      if (axpy) {
        gather_axpy(compute(), W, ids, std::span(x).first(ids.size()), std::span(y).first(cols));
      } else {
        gather_dot(compute(), W, ids, std::span(x).first(cols), std::span(y).first(ids.size()));
      }
    });
  }
  count(state, times.median(), double(ids.size() * row_bytes(dtype, cols)), 2.0 * double(ids.size() * cols));
}

struct Shape {
  size_t rows, cols;
};
// Llama 1.1B's gate, Llama 7B's attention, a 3B's down projection and OPT-125M's second MLP layer.
constexpr Shape kShapes[] = {{5632, 2048}, {4096, 4096}, {3200, 8640}, {768, 3072}};

void register_all() {
  const auto add = [](const std::string& name, auto bench, auto... args) {
    benchmark::RegisterBenchmark(name.c_str(), bench, args...)->Unit(benchmark::kMicrosecond)->UseRealTime();
  };
  add("read/MiB:512/one", bench_read, ReadWay::kOne);
  add("read/MiB:512/four", bench_read, ReadWay::kFour);
  add("read/MiB:512/eight", bench_read, ReadWay::kEightAhead);
  for (const Shape s : kShapes)
    for (const size_t n : {1, 2, 4, 8, 16, 32, 128, 512})
      add("int8/" + std::to_string(s.rows) + "x" + std::to_string(s.cols) + "/tokens:" + std::to_string(n), bench_int8,
          s.rows, s.cols, n);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kF16})
    for (const size_t percent_zeros : {0, 50, 70})
      for (const Shape s : kShapes)
        for (const size_t n : {1, 2, 8, 128})
          add("sparse/" + std::string(name_of(dtype)) + "/" + (percent_zeros ? std::to_string(percent_zeros) : "2:4") +
                  "/" + std::to_string(s.rows) + "x" + std::to_string(s.cols) + "/tokens:" + std::to_string(n),
              bench_sparse, dtype, s.rows, s.cols, percent_zeros, n);
  for (const Format& format : formats()) {
    if (!format.computes()) continue;
    const DType dtype = format.dtype;
    constexpr Shape kCached{256, 2048};
    for (const size_t n : {1, 2, 4, 8, 16}) {
      const std::string name = "_in_cache/" + std::string(format.name) + "/tokens:" + std::to_string(n);
      add("matmul" + name, bench_matmul, dtype, kCached.rows, kCached.cols, n, Layout::kRows, false);
      if (multiplies_strips() && !is_plain(dtype))
        add("strips" + name, bench_matmul, dtype, kCached.rows, kCached.cols, n, Layout::kStrips, false);
    }
    for (const Shape s : kShapes) {
      if (s.cols % format.block_elems != 0) continue;
      const std::string shape =
          "/" + std::string(format.name) + "/" + std::to_string(s.rows) + "x" + std::to_string(s.cols);
      for (const size_t n : {1, 2, 4, 8, 16, 24, 32, 48, 128, 512}) {
        const std::string tokens = shape + "/tokens:" + std::to_string(n);
        add("matmul" + tokens, bench_matmul, dtype, s.rows, s.cols, n, Layout::kRows, n < 32);
        if (multiplies_strips() && !is_plain(dtype))
          add("strips" + tokens, bench_matmul, dtype, s.rows, s.cols, n, Layout::kStrips, n < 32);
      }
      for (const size_t n : {1, 2, 4, 8, 16, 32, 128, 512})
        add("matmul_transposed" + shape + "/tokens:" + std::to_string(n), bench_matmul, dtype, s.rows, s.cols, n,
            Layout::kTransposed, n < 32);
      for (const size_t percent : {5, 10, 20, 50}) {
        add("gather_dot" + shape + "/density:" + std::to_string(percent), bench_gather, dtype, s.rows, s.cols, percent,
            false);
        add("gather_axpy" + shape + "/density:" + std::to_string(percent), bench_gather, dtype, s.rows, s.cols, percent,
            true);
      }
    }
  }
}

}  // namespace
}  // namespace hunch

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  hunch::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
