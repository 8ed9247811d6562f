#include "kernels/memory_attention.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr size_t kMostScores = size_t{1} << 20;  // that are held at once

struct Found {
  float score;
  uint32_t id;
  // Whether it is found before the other.
  bool operator<(const Found& other) const { return score != other.score ? score > other.score : id < other.id; }
};

// The `found.size()` best of the scores, in no order, of which there are at least as many.
void find_best(std::span<const float> scores, std::span<Found> found) {
  const size_t k = found.size();
  for (size_t i = 0; i < k; ++i) found[i] = {scores[i], uint32_t(i)};
  std::make_heap(found.begin(), found.end());  // the worst first
  for (size_t i = k; i < scores.size(); ++i) {
    if (!(scores[i] > found.front().score)) continue;
    std::pop_heap(found.begin(), found.end());
    found.back() = {scores[i], uint32_t(i)};
    std::push_heap(found.begin(), found.end());
  }
}

void mix_row(const MemoryHead& memory, const MemoryMix& mix, size_t row, std::span<Found> found, float max, float sum,
             std::span<float> value, std::span<float> y) {
  float most = mix.gates.empty() && sum > 0 ? max : -INFINITY;
  for (Found& f : found) {
    f.score *= mix.scale;
    if (mix.soft_cap > 0) f.score = mix.soft_cap * std::tanh(f.score / mix.soft_cap);
    most = std::max(most, f.score);
  }
  const float kept = mix.gates.empty() && sum > 0 ? sum * std::exp(max - most) : 0.0f;
  float all = kept;
  for (Found& f : found) all += f.score = std::exp(f.score - most);
  const float gate = mix.gates.empty() ? 1.0f : mix.gates[row], before = mix.gates.empty() ? kept / all : 1 - gate;
  for (float& v : y) v *= before;
  for (const Found& f : found) {
    codec(memory.values.dtype).decode(memory.values.row(f.id), value.data(), value.size());
    axpy(gate * f.score / all, value, y);
  }
}

}  // namespace

void attend_memory(Compute& compute, MatView<const float> Q, const MemoryHead& memory, const MemoryMix& mix,
                   const SoftmaxStats& stats, MatView<float> out) {
  const size_t n = memory.keys.rows, d = Q.cols, top = std::min(mix.top, n);
  HUNCH_CHECK(memory.values.rows == n && memory.values.cols == out.cols && memory.keys.cols == d,
              "{} keys of {} values", n, memory.keys.cols);
  HUNCH_CHECK(stats.max.size() == Q.rows && stats.sum.size() == Q.rows && out.rows == Q.rows &&
                  (mix.gates.empty() || mix.gates.size() == Q.rows),
              "{} queries, stats of {}", Q.rows, stats.max.size());
  if (Q.rows == 0) return;
  if (top == 0) {
    for (size_t t = 0; t < mix.gates.size(); ++t)
      for (float& v : out.row(t)) v *= 1 - mix.gates[t];
    return;
  }
  const size_t n_together = std::clamp<size_t>(kMostScores / n, 1, Q.rows);
  for (size_t first = 0; first < Q.rows; first += n_together) {
    const Arena::Scope scope(compute.arena);
    const size_t n_rows = std::min(n_together, Q.rows - first);
    const MatView<float> scores(compute.arena.take<float>(n_rows * n).data(), n_rows, n);
    const std::span<Found> found = compute.arena.take<Found>(n_rows * top);
    const std::span<float> values = compute.arena.take<float>(n_rows * out.cols);
    const MatmulTask task{memory.keys, {}, scores};
    matmul(compute, Q.row_range(first, n_rows), {&task, 1});
    compute.threads.parallel_for(n_rows, 1, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        const std::span<Found> own = found.subspan(r * top, top);
        find_best(scores.row(r), own);
        mix_row(memory, mix, first + r, own, stats.max[first + r], stats.sum[first + r],
                values.subspan(r * out.cols, out.cols), out.row(first + r));
      }
    });
  }
  compute.meter.read_kv(memory_bytes_read(memory, top, Q.rows));
}

// The keys once for all queries that are computed together.
size_t memory_bytes_read(const MemoryHead& memory, size_t top, size_t n) {
  return memory.keys.bytes() +
         std::min(memory.values.rows, n * top) * row_bytes(memory.values.dtype, memory.values.cols);
}

}  // namespace hunch
