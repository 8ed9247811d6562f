// Speed of attention while decoding: one token against many cached keys.
//
//   bench_attention --benchmark_filter='f16/heads:32of4/d:64'
//   HUNCH_THREADS=1 bench_attention                        one core
//
//   attend/DTYPE/heads:QofKV/d:D/keys:N/beyond             several layers, larger together than any cache, in turn
//   attend/DTYPE/heads:QofKV/d:D/keys:N/near               one layer again and again: what the arithmetic alone allows
//
// Counters, of the median iteration: GB/s of keys and values, ns of a key of one KV head (one thread's).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/timer.h"
#include "formats/format.h"
#include "kernels/attention.h"

namespace hunch {
namespace {

constexpr size_t kPageTokens = 32;             // as the engine's caches have them
constexpr size_t kBeyond = size_t{512} << 20;  // larger than any L3

Compute& compute() {
  static Compute p(std::getenv("HUNCH_THREADS") ? size_t(std::atoi(std::getenv("HUNCH_THREADS")))
                                                : default_n_threads());
  return p;
}

struct Shape {
  size_t n_head, n_kv_head, d_head;
};

// Random keys and values of `n_layers` layers, each on pages side by side.
struct Layers {
  AlignedBuffer memory;
  std::vector<std::vector<const std::byte*>> pages;  // of each layer
  size_t half_bytes;

  Layers(DType dtype, const Shape& s, size_t n_keys, size_t n_layers)
      : half_bytes(kPageTokens * s.n_kv_head * row_bytes(dtype, s.d_head)) {
    const size_t n_pages = (n_keys + kPageTokens - 1) / kPageTokens, row = row_bytes(dtype, s.d_head);
    memory = AlignedBuffer(n_layers * n_pages * 2 * half_bytes);
    std::mt19937 rng(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(64 * s.d_head);
    for (float& v : values) v = normal(rng);
    AlignedBuffer rows(64 * row);
    for (size_t i = 0; i < 64; ++i) info(dtype).encode(values.data() + i * s.d_head, rows.data() + i * row, s.d_head);
    for (size_t at = 0; at < memory.size(); at += row)
      std::memcpy(memory.data() + at, rows.data() + rng() % 64 * row, std::min(row, memory.size() - at));
    for (size_t l = 0; l < n_layers; ++l) {
      pages.emplace_back();
      for (size_t p = 0; p < n_pages; ++p) pages.back().push_back(memory.data() + (l * n_pages + p) * 2 * half_bytes);
    }
  }
};

void bench_attend(benchmark::State& state, DType dtype, Shape s, size_t n_keys, bool beyond) {
  const size_t bytes = 2 * n_keys * s.n_kv_head * row_bytes(dtype, s.d_head);
  const Layers layers(dtype, s, n_keys, beyond ? std::max<size_t>(2, kBeyond / bytes) : 1);
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> q(s.n_head * s.d_head), out(q.size());
  for (float& v : q) v = normal(rng);
  AttentionParams params{.scale = 1 / std::sqrt(float(s.d_head))};
  std::vector<double> seconds;
  size_t i = 0;
  for (auto _ : state) {
    KvView kv;
    kv.pages = layers.pages[i++ % layers.pages.size()];
    kv.page_tokens = kPageTokens;
    kv.n_kv_head = s.n_kv_head, kv.d_head = s.d_head, kv.dtype = dtype;
    kv.v_offset_bytes = layers.half_bytes, kv.n_tokens = n_keys;
    AttentionSpan span;
    span.kv = kv, span.n_tokens = 1, span.first_pos = n_keys - 1;
    const Timer timer;
    attention(compute(), MatView<const float>(q.data(), 1, q.size()), s.n_head, {&span, 1}, params,
              MatView<float>(out.data(), 1, out.size()));
    seconds.push_back(timer.seconds());
  }
  const auto middle = seconds.begin() + std::ptrdiff_t(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  state.counters["GB/s"] = double(bytes) / *middle * 1e-9;
  state.counters["ns/key"] = *middle * 1e9 * double(compute().threads.n_threads()) / double(n_keys * s.n_kv_head);
}

void register_all() {
  // Llama 1.1B, Llama 3 8B, Qwen 3 0.6B, Llama 2 7B.
  constexpr Shape kShapes[] = {{32, 4, 64}, {32, 8, 128}, {16, 8, 128}, {32, 32, 128}};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0})
    for (const Shape s : kShapes)
      for (const size_t n : {1024, 4096, 32768})
        for (const bool beyond : {false, true}) {
          if (!beyond && n > 1024) continue;
          const std::string name = std::string("attend/") + std::string(name_of(dtype)) +
                                   "/heads:" + std::to_string(s.n_head) + "of" + std::to_string(s.n_kv_head) +
                                   "/d:" + std::to_string(s.d_head) + "/keys:" + std::to_string(n) +
                                   (beyond ? "/beyond" : "/near");
          benchmark::RegisterBenchmark(name.c_str(), bench_attend, dtype, s, n, beyond)
              ->Unit(benchmark::kMicrosecond)
              ->UseRealTime();
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
