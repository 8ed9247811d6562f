#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "formats/format.h"
#include "kernels/each_target.h"
#include "kernels/gemm_tiles.h"

namespace hunch {
namespace {

struct Shape {
  size_t n_head = 4, n_kv_head = 4, d_head = 16, page_tokens = 32;
  DType dtype = DType::kF32;
};

struct SpanSize {
  size_t first_pos, n_tokens, n_later = 0;  // n_later: cached keys after the last query, which none may see
};

std::vector<float> normal(size_t n, std::mt19937& rng) {
  std::normal_distribution<float> distribution;
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

// One sequence's keys and values. Every page is a heap block of its exact size, so that ASan sees a read
// past it; slots that no token fills hold NaN, so that a read of one shows.
class Sequence {
 public:
  Sequence(const Shape& shape, size_t n_tokens, std::mt19937& rng) {
    const size_t n_pages = (n_tokens + shape.page_tokens - 1) / shape.page_tokens;
    const size_t bytes = row_bytes(shape.dtype, shape.d_head), half = shape.n_kv_head * shape.page_tokens * bytes;
    const size_t v_offset = (half + 63) / 64 * 64;
    for (size_t p = 0; p < n_pages; ++p) {
      pages_.push_back(std::make_unique<std::byte[]>(v_offset + half));
      std::memset(pages_[p].get(), 0xff, v_offset + half);  // NaN in every format: the scales of blocks are halves
      for (size_t row = 0; row < 2 * shape.n_kv_head * shape.page_tokens; ++row) {
        if (p * shape.page_tokens + row % shape.page_tokens >= n_tokens) continue;
        const std::vector<float> values = normal(shape.d_head, rng);
        std::byte* at = pages_[p].get() + row * bytes;
        if (row >= shape.n_kv_head * shape.page_tokens) at += v_offset - half;
        codec(shape.dtype).encode(values.data(), at, shape.d_head);
      }
    }
    for (const auto& page : pages_) table_.push_back(page.get());
    view = {table_, shape.page_tokens, shape.n_kv_head, shape.d_head, shape.dtype, v_offset, n_tokens};
  }

  // Slots of each head in another order, each head with another number of them: what they hold at random positions
  // below n_positions, every one at most once. The last query's own position is among them.
  void shuffle(size_t n_positions, std::mt19937& rng) {
    for (size_t head = 0; head < view.n_kv_head; ++head) {
      std::vector<uint32_t> all(n_positions);
      for (size_t i = 0; i < n_positions; ++i) all[i] = uint32_t(i);
      std::shuffle(all.begin(), all.end(), rng);
      all.resize(std::min(view.n_tokens - rng() % (view.n_tokens / 2 + 1), n_positions));
      positions_.push_back(std::move(all));
    }
    view.n_tokens = n_positions;
    view.positions = positions_;
  }
  // Random slots of each head, and of some heads all or none.
  std::span<const Rows> choose_keys(std::mt19937& rng) {
    for (size_t head = 0; head < view.n_kv_head; ++head) {
      const size_t n = view.n_slots(head), kind = rng() % 8;
      std::vector<uint32_t> ids;
      for (size_t j = 0; j < n; ++j)
        if (kind != 1 && (rng() % 3 == 0 || j + 1 == n)) ids.push_back(uint32_t(j));
      keys_.push_back(kind == 0 ? Rows::all(n) : Rows::of(ids, n));
    }
    return keys_;
  }
  KvView view;

 private:
  std::vector<std::unique_ptr<std::byte[]>> pages_;
  std::vector<const std::byte*> table_;
  std::vector<std::vector<uint32_t>> positions_;
  std::vector<Rows> keys_;
};

// Queries of several sequences, with strided rows and rows between the spans that belong to nobody.
struct Case {
  Shape shape;
  AttentionParams params;
  std::vector<Sequence> sequences;
  std::vector<AttentionSpan> spans;
  std::vector<float> q, slopes, sinks;
  std::vector<bool> wants_weights;  // by span, or empty
  std::vector<size_t> weight_kind;  // by span: 1: by distance too, 2: the largest
  bool with_stats = false;
  size_t n_tokens = 1, stride;

  Case(const Shape& s, const std::vector<SpanSize>& sizes, bool alibi, std::mt19937& rng) : shape(s) {
    params.scale = 1 / std::sqrt(float(s.d_head));
    for (const SpanSize& size : sizes) {
      sequences.emplace_back(s, size.first_pos + size.n_tokens + size.n_later, rng);
      spans.push_back({sequences.back().view, n_tokens, size.n_tokens, size.first_pos});
      n_tokens += size.n_tokens + 1;
    }
    stride = s.n_head * s.d_head + 3;
    q = normal(n_tokens * stride, rng);
    if (alibi)
      for (size_t h = 0; h < s.n_head; ++h) slopes.push_back(std::exp2(-0.5f * float(h % 8)));
    params.alibi_slopes = slopes;
    if (rng() % 2) params.sinks = sinks = normal(s.n_head, rng);
  }

  // Slots with positions of their own, lists of keys, key weights wanted, for every span by the toss of a coin.
  void choose(std::mt19937& rng, bool weights) {
    for (size_t s = 0; s < spans.size(); ++s) {
      const size_t n_positions = spans[s].first_pos + spans[s].n_tokens + rng() % 20;
      if (rng() % 2 && sequences[s].view.n_tokens > 0) sequences[s].shuffle(n_positions + 1, rng);
      spans[s].kv = sequences[s].view;
      if (rng() % 2) spans[s].keys = sequences[s].choose_keys(rng);
      wants_weights.push_back(weights && rng() % 2);
      weight_kind.push_back(rng() % 3);
      if (rng() % 2) spans[s].n_weighing = rng() % 4;
    }
  }

  // Room for the key weights of all spans, and the spans that write there.
  static constexpr float kBefore = 0.5f;
  struct Weighed {
    std::vector<std::vector<float>> weights, stats, distances;
    std::vector<AttentionSpan> spans;

    // What was added, per row of queries.
    void append_means(const Shape& shape, std::vector<float>& result) const {
      for (const auto* added : {&weights, &distances})
        for (size_t s = 0; s < added->size(); ++s)
          for (const float weight : (*added)[s])
            result.push_back((weight - kBefore) /
                             float(std::max<size_t>(spans[s].n_tokens, 1) * shape.n_head / shape.n_kv_head));
    }
    // The log of the softmax's sum, where stats were wanted.
    void append_log_sums(std::vector<float>& result) const {
      for (const std::vector<float>& of_span : stats)
        for (size_t i = 0; i < of_span.size() / 2; ++i) {
          const float sum = of_span[of_span.size() / 2 + i];
          result.push_back(sum == 0 ? -7.0f : of_span[i] + std::log(sum));
        }
    }
  };
  Weighed weighed() const {
    Weighed w{{}, {}, {}, spans};
    w.stats.resize(spans.size());
    for (size_t s = 0; with_stats && s < spans.size(); s += 2) {  // every other span wants them
      const size_t n = spans[s].n_kv_heads() * spans[s].n_tokens * (shape.n_head / shape.n_kv_head);
      w.stats[s].assign(2 * n, kBefore);
      if (n > 0) w.spans[s].stats = {w.stats[s].data(), 2, n};
    }
    for (size_t s = 0; s < wants_weights.size(); ++s) {
      size_t most = 3;
      for (size_t head = 0; head < shape.n_kv_head; ++head) most = std::max(most, spans[s].kv.n_slots(head) + 3);
      w.weights.emplace_back(most * shape.n_kv_head, kBefore);
      w.distances.emplace_back(shape.n_kv_head * (spans[s].first_pos + spans[s].n_tokens + 2), kBefore);
      if (!wants_weights[s]) continue;
      w.spans[s].key_weights = {w.weights[s].data(), shape.n_kv_head, most - 2, most};
      const size_t kind = s < weight_kind.size() ? weight_kind[s] : 0;
      w.spans[s].weights_are_largest = kind == 2;
      if (kind == 1 && params.causal)
        w.spans[s].distance_weights = {w.distances[s].data(), shape.n_kv_head, w.distances[s].size() / shape.n_kv_head};
    }
    return w;
  }

  MatView<const float> Q() const { return {q.data(), n_tokens, shape.n_head * shape.d_head, stride}; }

  std::vector<float> run(size_t n_threads) const {
    std::vector<float> result(n_tokens * stride, 7.0f);
    MatView<float> out(result.data(), n_tokens, shape.n_head * shape.d_head, stride);
    Compute compute(n_threads);
    Weighed w = weighed();
    attention(compute, Q(), shape.n_head, w.spans, params, out);
    w.append_means(shape, result);
    w.append_log_sums(result);
    return result;
  }

  std::vector<float> reference() const {
    std::vector<float> result(n_tokens * stride, 7.0f);
    MatView<float> out(result.data(), n_tokens, shape.n_head * shape.d_head, stride);
    Weighed w = weighed();
    ref::attention(Q(), shape.n_head, w.spans, params, out);
    w.append_means(shape, result);
    w.append_log_sums(result);
    return result;
  }

  // A score is a sum of d_head products, rounded by at most d_head / 2^24 of sum |q k| scale (here about 0.64
  // sqrt(d_head), and its largest value below 3 sqrt(d_head) for normal numbers); a weight errs by e^(that), the
  // mix of values by twice that times the largest |v| < 5. Random signs make it the root of d_head. Only key weights,
  // sums of a weight for each of up to 1600 rows, are larger: they err as the sum of so many, at most in proportion.
  double tolerance() const { return 1e-5 * std::sqrt(double(shape.d_head) / 64); }
};

void expect_close(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  size_t n_bad = 0;
  for (size_t i = 0; i < got.size() && n_bad < 3; ++i)
    if (!(std::fabs(got[i] - want[i]) <= tolerance)) {
      ADD_FAILURE() << "element " << i << " of " << got.size() << ": got " << got[i] << ", want " << want[i];
      ++n_bad;
    }
}

// On every target, and then in AMX tiles where there are any; there a score, a sum of d_head products, is off by no
// more than 2^-16 of sum |q k| scale.
// Weights and values by one part are off by 2^-8 of themselves at most, and a mix of values by no more than twice that
// of the largest.
void expect_on_every_target(Case& c, size_t n_threads, const std::vector<float>& want) {
  for_each_target([&] { expect_close(c.run(n_threads), want, c.tolerance()); });
  if (!multiplies_tiles()) return;
  SCOPED_TRACE("in tiles");
  expect_close(c.run(n_threads), want, 3e-5 + 2 * c.tolerance());
  c.params.tiles = AttentionTiles::kMixRounded;
  expect_close(c.run(n_threads), want, 5.0 / 128);
}

// Random combinations of everything: head sizes with and without tails, page sizes, sharing of KV heads, both
// dtypes, windows, caps, ALiBi, decode and prefill in one call, one to three threads.
TEST(Attention, MatchesReferenceOnEveryTarget) {
  std::mt19937 rng(1);
  const auto pick = [&rng](std::initializer_list<size_t> values) { return values.begin()[rng() % values.size()]; };
  for (size_t i = 0; i < 150; ++i) {
    Shape shape;
    shape.d_head = pick({1, 8, 16, 17, 40, 64, 80, 96, 100, 128});
    shape.page_tokens = pick({1, 3, 16, 32, 100});
    shape.n_kv_head = pick({1, 2});
    const size_t group = pick({1, 1, 2, 4, 7, 40});
    shape.n_head = shape.n_kv_head * group;
    shape.dtype = rng() % 2 ? DType::kF32 : DType::kF16;
    std::vector<SpanSize> sizes;
    for (size_t s = rng() % 3 + 1; s > 0; --s)
      sizes.push_back({pick({0, 0, 5, 31, 90}), pick({0, 1, 1, 2, 9, group > 2 ? 4u : 33u}), pick({0, 0, 4})});
    Case c(shape, sizes, rng() % 3 == 0, rng);
    c.with_stats = i % 2;
    c.params.window = pick({0, 0, 0, 1, 5, 33, 1000});
    c.params.causal = !c.slopes.empty() || i % 3 > 0;
    c.params.soft_cap = rng() % 3 ? 0.0f : 1.5f;
    const size_t n_threads = rng() % 3 + 1;
    SCOPED_TRACE(
        fmt::format("case {}: d_head {} pages {} heads {}/{} {} window {} cap {} alibi {} causal {} threads {}", i,
                    shape.d_head, shape.page_tokens, shape.n_head, shape.n_kv_head, name_of(shape.dtype),
                    c.params.window, c.params.soft_cap, !c.slopes.empty(), c.params.causal, n_threads));
    const std::vector<float> want = c.reference();
    expect_on_every_target(c, n_threads, want);
    if (HasFailure()) return;
  }
}

// The same, with everything that can be chosen of a cache: formats, slots in any order, lists of slots, key weights.
TEST(Attention, OfChosenSlotsMatchesReferenceOnEveryTarget) {
  std::mt19937 rng(8);
  const auto pick = [&rng](std::initializer_list<size_t> values) { return values.begin()[rng() % values.size()]; };
  const DType dtypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                          DType::kQ4_0, DType::kQ5_1, DType::kQ4_K};
  for (size_t i = 0; i < 100; ++i) {
    Shape shape;
    shape.dtype = dtypes[rng() % std::size(dtypes)];
    const size_t block = info(shape.dtype).block_elems;
    shape.d_head = block == 1 ? pick({1, 8, 17, 40, 64, 100}) : block * pick({1, 1, 2, block == 32 ? 3u : 1u});
    shape.page_tokens = pick({1, 3, 16, 32, 100});
    shape.n_kv_head = pick({1, 2, 3});
    const size_t group = pick({1, 1, 2, 4, 7, 40});
    shape.n_head = shape.n_kv_head * group;
    std::vector<SpanSize> sizes;
    for (size_t s = rng() % 3 + 1; s > 0; --s)
      sizes.push_back({pick({0, 5, 31, 150}), pick({0, 1, 1, 2, 9, group > 2 ? 4u : 33u}), pick({0, 0, 4})});
    Case c(shape, sizes, rng() % 3 == 0, rng);
    c.choose(rng, /*weights=*/true);
    c.with_stats = i % 2;
    c.params.window = pick({0, 0, 0, 1, 5, 33, 1000});
    c.params.causal = !c.slopes.empty() || i % 3 > 0;
    c.params.soft_cap = rng() % 3 ? 0.0f : 1.5f;
    const size_t n_threads = rng() % 3 + 1;
    SCOPED_TRACE(
        fmt::format("case {}: d_head {} pages {} heads {}/{} {} window {} cap {} alibi {} causal {} threads {}", i,
                    shape.d_head, shape.page_tokens, shape.n_head, shape.n_kv_head, name_of(shape.dtype),
                    c.params.window, c.params.soft_cap, !c.slopes.empty(), c.params.causal, n_threads));
    const std::vector<float> want = c.reference();
    expect_on_every_target(c, n_threads, want);
    if (HasFailure()) return;
  }
}

// A few values of each row. Where two weights are so close that rounding decides, either may be read: there the
// reference changes its mind when the queries change a little.
TEST(Attention, OfAFewValuesMatchesReferenceOnEveryTarget) {
  std::mt19937 rng(12);
  const auto pick = [&rng](std::initializer_list<size_t> values) { return values.begin()[rng() % values.size()]; };
  size_t n_compared = 0, n_close = 0;
  for (size_t i = 0; i < 60; ++i) {
    Shape shape;
    shape.dtype = std::array{DType::kF32, DType::kF16, DType::kQ8_0}[rng() % 3];
    shape.d_head = shape.dtype == DType::kQ8_0 ? pick({32, 64}) : pick({1, 8, 17, 40, 64, 100});
    shape.page_tokens = pick({1, 3, 32});
    shape.n_kv_head = pick({1, 2, 3});
    shape.n_head = shape.n_kv_head * pick({1, 1, 2, 7, 40});
    std::vector<SpanSize> sizes;
    for (size_t s = rng() % 3 + 1; s > 0; --s)
      sizes.push_back({pick({0, 5, 31, 150}), pick({0, 1, 1, 2}), pick({0, 4})});
    Case c(shape, sizes, rng() % 3 == 0, rng);
    if (rng() % 2) c.choose(rng, /*weights=*/true);
    for (AttentionSpan& span : c.spans) span.n_values = pick({0, 1, 2, 7, 50, 1000});
    c.params.window = pick({0, 0, 5, 33});
    c.params.soft_cap = rng() % 3 ? 0.0f : 1.5f;
    const size_t n_threads = rng() % 3 + 1;
    SCOPED_TRACE(
        fmt::format("case {}: d_head {} pages {} heads {}/{} {} window {} cap {} alibi {} causal {} threads {}", i,
                    shape.d_head, shape.page_tokens, shape.n_head, shape.n_kv_head, name_of(shape.dtype),
                    c.params.window, c.params.soft_cap, !c.slopes.empty(), c.params.causal, n_threads));
    std::vector<float> want = c.reference();
    const std::vector<float> q = c.q, noise = normal(q.size(), rng);
    for (size_t k = 0; k < q.size(); ++k) c.q[k] += 3e-6f * noise[k];
    const std::vector<float> near = c.reference();
    c.q = q;
    std::vector<bool> is_close(want.size());
    for (size_t k = 0; k < want.size(); ++k) is_close[k] = std::fabs(want[k] - near[k]) > 10 * c.tolerance();
    n_close += size_t(std::ranges::count(is_close, true));
    n_compared += want.size();
    for_each_target([&] {
      std::vector<float> got = c.run(n_threads);
      for (size_t k = 0; k < want.size(); ++k)
        if (is_close[k]) got[k] = want[k];
      expect_close(got, want, c.tolerance());
    });
    if (HasFailure()) return;
  }
  EXPECT_LT(n_close, n_compared / 50);
}

// Lists long enough to be split into parts, by heads of unequal length.
TEST(Attention, DividesLongListsAmongThreads) {
  for (size_t group : {1, 6})
    for (size_t seed = 0; seed < 4; ++seed) {
      std::mt19937 rng(10 + uint32_t(seed));
      Case c({.n_head = 2 * group, .n_kv_head = 2, .d_head = 32, .dtype = seed % 2 ? DType::kF16 : DType::kQ8_0},
             {{1999, 1}, {700, 2}, {300, 20}}, false, rng);
      c.choose(rng, /*weights=*/true);
      c.with_stats = true;
      c.params.window = seed == 3 ? 400 : 0;
      const std::vector<float> want = c.reference();
      for_each_target([&] {
        for (size_t n_threads : {1, 2, 3}) expect_close(c.run(n_threads), want, c.tolerance());
      });
    }
}

TEST(Attention, CountsTheSlotsThatItReads) {
  std::mt19937 rng(9);
  Compute compute(1);
  const auto read = [&](Case& c) {
    std::vector<float> out(c.n_tokens * c.stride);
    const uint64_t before = compute.meter.bytes()[Traffic::kKv];
    attention(compute, c.Q(), c.shape.n_head, c.weighed().spans, c.params,
              {out.data(), c.n_tokens, c.shape.n_head * c.shape.d_head, c.stride});
    return compute.meter.bytes()[Traffic::kKv] - before;
  };
  Case c({.n_head = 4, .n_kv_head = 2, .d_head = 64, .dtype = DType::kQ8_0}, {{99, 2, 7}}, false, rng);
  constexpr uint64_t kRow = 2 * 34;
  EXPECT_EQ(read(c), 2 * 2 * 101 * kRow) << "K and V of two heads";
  c.params.window = 10;
  EXPECT_EQ(read(c), 2 * 2 * 11 * kRow);
  const Rows keys[] = {Rows::of({3, 89, 90, 100, 101}, 108), Rows::all(108)};
  c.spans[0].keys = keys;
  EXPECT_EQ(read(c), 2 * (2 + 11) * kRow) << "slots 90 and 100 of the first head";
  c.wants_weights = {true};
  EXPECT_EQ(read(c), 3 * (2 + 11) * kRow) << "K twice";
  std::vector<std::vector<uint32_t>> positions(2, std::vector<uint32_t>(108, 0));
  positions[0][3] = 95;
  positions[1][0] = 101;
  c.spans[0].kv.positions = positions;
  EXPECT_EQ(read(c), 3 * 1 * kRow) << "of the second head, the only one in the window is later than the queries";
}

TEST(Attention, ValuesThatAreNotReadAreNotCounted) {
  std::mt19937 rng(13);
  for (const size_t n_threads : {1, 2}) {
    Compute compute(n_threads);
    Case c({.n_head = 2, .n_kv_head = 2, .d_head = 64, .dtype = DType::kQ8_0}, {{99, 1, 7}}, false, rng);
    std::vector<float> out(c.n_tokens * c.stride);
    const auto read = [&](size_t n_values) {
      c.spans[0].n_values = n_values;
      const uint64_t before = compute.meter.bytes()[Traffic::kKv];
      attention(compute, c.Q(), 2, c.spans, c.params, {out.data(), c.n_tokens, 128, c.stride});
      return compute.meter.bytes()[Traffic::kKv] - before;
    };
    EXPECT_EQ(read(10), 2 * (100 + 10) * 68u);
    EXPECT_EQ(read(1000), read(0));
  }
}

// Slots may be those of tokens whose keys come later in the pass: what no query sees is not even multiplied by 0.
TEST(Attention, LaterSlotsMayHoldAnything) {
  for_each_target([] {
    for (const size_t group : {1, 40}) {
      std::mt19937 rng(11);
      Case c({.n_head = group, .n_kv_head = 1, .d_head = 32, .dtype = DType::kF32}, {{20, 1, 9}}, false, rng);
      const size_t n = c.spans[0].kv.n_tokens;
      std::vector<std::vector<uint32_t>> positions(1);
      for (size_t j = 0; j < n + 2; ++j) positions[0].push_back(uint32_t(j));  // the last two slots hold NaN
      std::swap(positions[0][n - 1], positions[0][n + 1]);
      std::swap(positions[0][3], positions[0][4]);
      c.spans[0].kv.positions = positions;
      for (const float x : c.run(1)) ASSERT_FALSE(std::isnan(x));
    }
  });
}

TEST(Attention, DividesOneLongSequenceAmongThreads) {
  std::mt19937 rng(2);
  for (size_t window : {0, 900})
    for (size_t group : {1, 6}) {
      Case c({.n_head = group, .n_kv_head = 1, .d_head = 32, .dtype = DType::kF16}, {{2999, 1}, {700, 2}, {0, 1}},
             false, rng);
      c.with_stats = true;
      c.params.window = window;
      const std::vector<float> want = c.reference();
      for_each_target([&] {
        for (size_t n_threads : {1, 2, 3}) expect_close(c.run(n_threads), want, c.tolerance());
      });
    }
}

TEST(Attention, SurvivesScoresThatOverflowAPlainExponential) {
  for_each_target([] {
    std::mt19937 rng(3);
    for (size_t n_tokens : {1, 40}) {
      Case c({.n_head = 2, .n_kv_head = 2, .d_head = 64}, {{100, n_tokens}}, false, rng);
      c.params.scale = 50;  // scores of +-1000: nearly all weight on one key
      // Scores err by 2^-24 * 1000 * sqrt(64), and that relatively the weights of near-ties.
      expect_close(c.run(2), c.reference(), 5e-3);
    }
  });
}

TEST(Attention, NaNInAQueryShowsInItsRowAndNowhereElse) {
  for_each_target([] {
    std::mt19937 rng(4);
    for (size_t n_tokens : {1, 40}) {
      Case c({.n_head = 2, .n_kv_head = 2, .d_head = 64}, {{3, n_tokens}}, false, rng);
      c.q[c.stride + 5] = std::numeric_limits<float>::quiet_NaN();  // token 0, head 0
      const std::vector<float> got = c.run(1);
      for (size_t i = 0; i < 64; ++i) EXPECT_TRUE(std::isnan(got[c.stride + i]));
      for (size_t i = 64; i < 128; ++i) EXPECT_FALSE(std::isnan(got[c.stride + i]));
      if (n_tokens > 1) {
        EXPECT_FALSE(std::isnan(got[2 * c.stride]));
      }
    }
  });
}

// Many queries, all of which see the last key: also where threads share one head's keys.
TEST(Attention, ThatIsNotCausalSeesLaterTokensOnEveryTarget) {
  std::mt19937 rng(14);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0})
    for (const size_t group : {1, 3}) {
      Case c({.n_head = 2 * group, .n_kv_head = 2, .d_head = 32, .page_tokens = 16, .dtype = dtype},
             {{0, 75}, {0, 1}, {0, 300}, {5, 40, 6}}, false, rng);
      c.params.causal = false;
      const std::vector<float> want = c.reference();
      for_each_target([&] {
        for (const size_t n_threads : {1, 3}) expect_close(c.run(n_threads), want, c.tolerance());
      });
      c.params.causal = true;
      const std::vector<float> causal = c.reference();
      EXPECT_GT(std::fabs(want[c.stride] - causal[c.stride]), 1e-2) << "the first query sees more than itself";
    }
}

// One key, of score 0: its weight is 1 / (1 + e^sink), or less where the sink is large.
TEST(Attention, ASinkTakesItsShareOfTheWeights) {
  std::mt19937 rng(3);
  const Shape shape{.n_head = 2, .n_kv_head = 1, .d_head = 16, .page_tokens = 8};
  for_each_target([&] {
    for (const float sink : {-200.0f, 0.0f, 1.5f, 200.0f}) {
      Case c(shape, {{0, 1}}, /*alibi=*/false, rng);
      c.params.sinks = {};
      std::ranges::fill(c.q, 0.0f);
      const std::vector<float> without = c.run(1);
      c.params.sinks = c.sinks = {sink, sink};
      const std::vector<float> with = c.run(1);
      for (size_t i = c.stride; i < c.stride + 32; ++i)
        EXPECT_NEAR(with[i], without[i] / (1 + std::exp(double(sink))), 1e-6);
    }
  });
}

TEST(Attention, OfNoSpansDoesNothing) {
  Compute compute(2);
  attention(compute, {}, 4, {}, {}, {});
}

// Each span with heads of its own; what was not selected keeps what stood there, and may hold anything.
TEST(Attention, OfSelectedHeadsLeavesTheOthersAlone) {
  const std::vector<uint32_t> selected[] = {{1}, {}, {0, 3}, {0, 1, 2, 3}};
  for_each_target([&] {
    for (const size_t group : {1, 3})
      for (const size_t n_threads : {1, 2, 3}) {
        std::mt19937 rng(6);
        Case c({.n_head = 4 * group, .n_kv_head = 4, .d_head = 24}, {{900, 1}, {5, 1}, {0, 3}, {30, 2}}, true, rng);
        c.with_stats = true;
        for (size_t i = 0; i < 4; ++i) {
          c.spans[i].all_heads = false;
          c.spans[i].kv_heads = selected[i];
        }
        for (size_t d = 0; d < group * 24; ++d)
          c.q[c.spans[0].first_token * c.stride + d] = NAN;  // head 0 is not among {1}
        expect_close(c.run(n_threads), c.reference(), c.tolerance());
      }
  });
}

// Long enough that a span alone is split into parts of its keys, which several spans together would not be.
TEST(Attention, SpansAsAloneHaveTheBitsOfEachAlone) {
  for_each_target([&] {
    for (const DType dtype : {DType::kF32, DType::kF16})
      for (const size_t window : {0, 300}) {
        std::mt19937 rng(5);
        const Shape shape{.n_head = 4, .n_kv_head = 2, .d_head = 20, .dtype = dtype};
        Case c(shape, {{1500, 1, 3}, {1501, 1, 2}, {40, 1}, {1100, 1}}, /*alibi=*/window == 0, rng);
        c.params.window = window;
        const std::vector<AttentionSpan> all = c.spans;
        for (const size_t n_threads : {1, 2, 3}) {
          c.spans = all;
          c.params.spans_as_alone = true;
          const std::vector<float> together = c.run(n_threads);
          c.params.spans_as_alone = false;
          for (const AttentionSpan& span : all) {
            c.spans = {span};
            const std::vector<float> alone = c.run(n_threads);
            const size_t at = span.first_token * c.stride, n = shape.n_head * shape.d_head;
            ASSERT_EQ(std::memcmp(&alone[at], &together[at], n * sizeof(float)), 0)
                << n_threads << " threads, window " << window << ", row " << span.first_token;
          }
        }
      }
  });
}

}  // namespace
}  // namespace hunch
