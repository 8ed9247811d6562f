#include "engine/rank_speed.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "base/timer.h"
#include "formats/format.h"
#include "kernels/matmul.h"
#include "kernels/read_stream.h"

namespace hunch {
namespace {

constexpr double kPromptTokens = 512, kNewTokens = 128;

// The shortest of a few times.
template <class Work>
double least_seconds(const Work& work) {
  double least = 0;
  for (int i = 0; i < 4; ++i) {
    const Timer timer;
    work();
    if (i == 0 || timer.seconds() < least) least = timer.seconds();
  }
  return least;
}

// Less than the machine's best, but alike on all ranks.
double read_bytes_per_s(ThreadPool& threads) {
  constexpr size_t kBytes = size_t{64} << 20, kPiece = size_t{1} << 20;
  const AlignedBuffer memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  return double(kBytes) / least_seconds([&] {
           threads.parallel_for(kBytes / kPiece, 1, [&](size_t begin, size_t end) {
             read_stream({memory.data() + begin * kPiece, (end - begin) * kPiece});
           });
         });
}

// Of a prompt's part: 64 tokens times a matrix of 8-bit blocks that stays in the caches.
double multiply_operations_per_s(Compute& compute) {
  constexpr size_t kTokens = 64, kRows = 1024, kCols = 1024;
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  std::vector<float> weights(kRows * kCols), x(kTokens * kCols), y(kTokens * kRows);
  for (float& v : weights) v = normal(rng);
  for (float& v : x) v = normal(rng);
  std::vector<std::byte> blocks(kRows * row_bytes(DType::kQ8_0, kCols));
  codec(DType::kQ8_0).encode(weights.data(), blocks.data(), weights.size());
  const WeightView W{DType::kQ8_0, blocks.data(), kRows, kCols, row_bytes(DType::kQ8_0, kCols)};
  const MatmulTask task{W, {}, {y.data(), kTokens, kRows}};
  const double seconds = least_seconds([&] { matmul(compute, {x.data(), kTokens, kCols}, {&task, 1}); });
  return 2.0 * kTokens * kRows * kCols / seconds;
}

}  // namespace

RankSpeed measure_rank_speed(size_t n_threads) {
  Compute compute(n_threads ? n_threads : default_n_threads());
  return {float(read_bytes_per_s(compute.threads)), float(multiply_operations_per_s(compute)),
          float(available_memory_bytes())};
}

double layer_seconds(const RankSpeed& speed, const LayerWork& layer) {
  return kNewTokens * double(layer.bytes) / double(speed.bytes_per_s) +
         kPromptTokens * 2 * double(layer.weights) / double(speed.operations_per_s);
}

std::vector<uint32_t> layers_by_speed(std::span<const RankSpeed> speeds, size_t n_layer, const LayerWork& layer) {
  const size_t n_ranks = speeds.size();
  std::vector<uint32_t> most(n_ranks), n(n_ranks, 1);
  std::vector<double> seconds(n_ranks);  // of a layer
  size_t n_room = 0;
  for (size_t r = 0; r < n_ranks; ++r) {
    const bool is_known = speeds[r].memory > 0 && layer.bytes > 0;
    const double fit = is_known ? double(speeds[r].memory) / double(layer.bytes) : double(n_layer);
    most[r] = uint32_t(std::min(fit, double(n_layer)));
    n_room += most[r];
    seconds[r] = layer_seconds(speeds[r], layer);
  }
  if (n_room < n_layer || n_layer < n_ranks || std::ranges::find(most, 0u) != most.end())
    fail(ErrorKind::kMemory,
         "the ranks have room for {} layers of {:.2f} GB, expected {}, and one at least on each: {}", n_room,
         double(layer.bytes) / 1e9, n_layer, fmt::join(most, ", "));
  // One after the other to whom it costs least: the time of the slowest is that of the pipeline.
  for (size_t left = n_layer - n_ranks; left > 0; --left) {
    size_t best = n_ranks;
    for (size_t r = 0; r < n_ranks; ++r)
      if (n[r] < most[r] && (best == n_ranks || (n[r] + 1) * seconds[r] < (n[best] + 1) * seconds[best])) best = r;
    ++n[best];
  }
  return n;
}

}  // namespace hunch
