// Attention over caches whose rows were rotated, and over groups: against the reference, which undoes each row by
// itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "formats/format.h"
#include "kernels/attention.h"
#include "kernels/each_target.h"
#include "kernels/gemm_tiles.h"
#include "kernels/hadamard.h"
#include "kernels/kv_groups.h"
#include "kernels/kv_rows.h"

namespace hunch {
namespace {

struct Sizes {
  size_t n_kv_head, group, d_head, n_tokens;
  KvType type;
};

std::vector<float> normal(size_t n, std::mt19937& rng) {
  std::normal_distribution<float> distribution;
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

// Pages and a tail of exact sizes in heap blocks of their own; what holds no token is NaN.
class Cached {
 public:
  Cached(const Sizes& s, std::mt19937& rng) {
    const size_t row = kv_value_bytes(s.type, s.d_head), half = s.n_kv_head * kKvGroup * row;
    view.page_tokens = kKvGroup;
    view.n_kv_head = s.n_kv_head;
    view.d_head = s.d_head;
    view.dtype = s.type.dtype;
    view.v_offset_bytes = half;
    view.n_tokens = s.n_tokens;
    view.rotated = s.type.rotated;
    const size_t n_tail_values = 2 * s.n_kv_head * kKvGroup * s.d_head;
    if (s.type.grouped()) {
      view.groups = {s.type.bits, (s.n_tokens - 1) / kKvGroup * kKvGroup};
      tail_ = std::make_unique<f16[]>(n_tail_values);
      std::memset(tail_.get(), 0xff, n_tail_values * sizeof(f16));
      view.groups.tail = reinterpret_cast<const std::byte*>(tail_.get());
      view.groups.tail_v_offset_bytes = n_tail_values / 2 * sizeof(f16);
    }
    for (size_t page = 0; page * kKvGroup < s.n_tokens; ++page) {
      pages_.push_back(std::make_unique<std::byte[]>(2 * half));
      std::memset(pages_[page].get(), 0xff, 2 * half);
      const size_t n = std::min(kKvGroup, s.n_tokens - page * kKvGroup);
      for (const bool is_value : {false, true})
        for (size_t head = 0; head < s.n_kv_head; ++head) {
          std::byte* const to = pages_[page].get() + (is_value ? half : 0) + head * kKvGroup * row;
          s.type.grouped() ? fill_group(s, page, is_value, head, to, n, rng) : fill_rows(s, to, row, n, rng);
        }
    }
    for (const auto& page : pages_) table_.push_back(page.get());
    view.pages = table_;
  }
  KvView view;

 private:
  static void fill_rows(const Sizes& s, std::byte* to, size_t row, size_t n, std::mt19937& rng) {
    for (size_t t = 0; t < n; ++t) {
      std::vector<float> x = normal(s.d_head, rng);
      x[3] *= 20;
      hadamard(x, hadamard_block(s.d_head));
      codec(s.type.dtype).encode(x.data(), to + t * row, s.d_head);
    }
  }
  void fill_group(const Sizes& s, size_t page, bool is_value, size_t head, std::byte* to, size_t n, std::mt19937& rng) {
    std::vector<f16> x(kKvGroup * s.d_head);
    for (f16& h : x) h = to_f16(normal(1, rng)[0]);
    if (page * kKvGroup == view.groups.first_tail) {
      const size_t first = ((is_value ? s.n_kv_head : 0) + head) * kKvGroup * s.d_head;
      std::copy_n(x.begin(), n * s.d_head, tail_.get() + first);
    } else if (is_value) {
      for (size_t t = 0; t < kKvGroup; ++t)
        pack_value_row(s.type.bits, std::span(x).subspan(t * s.d_head, s.d_head),
                       to + t * kv_value_row_bytes(s.type.bits, s.d_head));
    } else {
      pack_key_group(s.type.bits, {x.data(), kKvGroup, s.d_head}, to);
    }
  }

  std::vector<std::unique_ptr<std::byte[]>> pages_;
  std::unique_ptr<f16[]> tail_;
  std::vector<const std::byte*> table_;
};

struct Question {
  Sizes sizes;
  std::vector<Cached> caches;
  std::vector<AttentionSpan> spans;
  std::vector<std::vector<Rows>> lists;
  std::vector<float> q;
  size_t n_rows = 0;
  AttentionParams params;

  size_t n_head() const { return sizes.n_kv_head * sizes.group; }
  // What attention gives, behind it what it added to the weights of keys.
  template <class Attend>
  std::vector<float> with(const Attend& attend) const {
    const size_t cols = n_head() * sizes.d_head;
    std::vector<float> out(n_rows * cols, 7.0f), weights;
    std::vector<AttentionSpan> own = spans;
    std::vector<std::vector<float>> sums(spans.size());
    for (size_t s = 0; s < own.size(); ++s) {
      if (s % 2) continue;
      sums[s].assign(sizes.n_kv_head * own[s].kv.n_tokens, 0.0f);
      own[s].key_weights = {sums[s].data(), sizes.n_kv_head, own[s].kv.n_tokens};
    }
    attend(MatView<const float>(q.data(), n_rows, cols), own, MatView<float>(out.data(), n_rows, cols));
    for (const auto& sum : sums) out.insert(out.end(), sum.begin(), sum.end());
    return out;
  }
};

Question random_question(const Sizes& base, std::mt19937& rng) {
  Question c{.sizes = base};
  const size_t n_spans = 1 + rng() % 3;
  c.caches.reserve(n_spans);
  for (size_t s = 0; s < n_spans; ++s) {
    Sizes sizes = base;
    sizes.n_tokens = 1 + rng() % 100;
    c.caches.emplace_back(sizes, rng);
    const size_t in_group = (sizes.n_tokens - 1) % kKvGroup + 1, n = 1 + rng() % in_group;
    AttentionSpan span{c.caches.back().view, c.n_rows, n, sizes.n_tokens - n};
    if (rng() % 2) {
      c.lists.emplace_back();
      for (size_t head = 0; head < base.n_kv_head; ++head) {
        std::vector<uint32_t> ids;
        for (uint32_t j = 0; j < sizes.n_tokens; ++j)
          if (rng() % 3 == 0) ids.push_back(j);
        c.lists.back().push_back(Rows::of(ids, sizes.n_tokens));
      }
    } else {
      c.lists.emplace_back();
    }
    c.spans.push_back(span);
    c.n_rows += n;
  }
  for (size_t s = 0; s < n_spans; ++s) c.spans[s].keys = c.lists[s];
  c.q = normal(c.n_rows * c.n_head() * base.d_head, rng);
  c.params.scale = 1 / std::sqrt(float(base.d_head));
  c.params.window = rng() % 3 ? 0 : 40;
  return c;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::fabs(want[i]))) << i << " of " << got.size();
}

TEST(AttentionKvTypes, MatchTheReferenceOnEveryTarget) {
  std::mt19937 rng(6);
  const char* const types[] = {"q8_0-rot", "q4_0-rot", "kivi-2", "kivi-4"};
  for (size_t i = 0; i < 24; ++i) {
    const char* const name = types[i % 4];
    const size_t d_heads[] = {32, 64, 96, 128}, groups[] = {1, 2, 5, 18};
    const Question c =
        random_question({1 + rng() % 3, groups[rng() % 4], d_heads[rng() % 4], 0, *kv_type_from_name(name)}, rng);
    SCOPED_TRACE(fmt::format("case {}: {} heads of {} / {}, {} spans, window {}", i, name, c.sizes.d_head,
                             c.sizes.group, c.spans.size(), c.params.window));
    const std::vector<float> want =
        c.with([&](auto Q, auto spans, auto out) { ref::attention(Q, c.n_head(), spans, c.params, out); });
    const size_t n_threads = 1 + rng() % 3;
    const auto run = [&] {
      Compute compute(n_threads);
      return c.with([&](auto Q, auto spans, auto out) { attention(compute, Q, c.n_head(), spans, c.params, out); });
    };
    // As in attention_test.cc; an outlier of 20 makes scores, and values, so much larger.
    const double scale = c.sizes.type.rotated ? 20 : 1;
    for_each_target([&] { expect_close(run(), want, 2e-5 * scale); });
    if (multiplies_tiles()) expect_close(run(), want, 1e-4 * scale);
    if (HasFailure()) return;
  }
}

// Bytes of codes, and of the tail in f16.
TEST(AttentionKvTypes, CountWhatTheyRead) {
  std::mt19937 rng(7);
  const Sizes sizes{2, 1, 64, 70, KvType::kivi(2)};
  const Cached cached(sizes, rng);
  const std::vector<float> q = normal(2 * 64, rng);
  std::vector<float> out(2 * 64);
  Compute compute(1);
  const AttentionSpan span{cached.view, 0, 1, 69};
  attention(compute, {q.data(), 1, 128}, 2, {&span, 1}, {}, {out.data(), 1, 128});
  EXPECT_EQ(compute.meter.bytes().read[size_t(Traffic::kKv)], 2u * 2 * (64 * 24 + 6 * 128));
}

TEST(AttentionKvTypes, RowsOfGroupsAreWhatTheyStandForOnEveryTarget) {
  std::mt19937 rng(9);
  for (const uint8_t bits : {2, 4}) {
    const Sizes s{2, 1, 64, 75, KvType::kivi(bits)};
    const Cached cached(s, rng);
    const KvView& kv = cached.view;
    EXPECT_EQ(kv_row_bytes(kv), kv_value_row_bytes(bits, 64));
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      const bool is_value = part == KvPart::kValues;
      for_each_target([&] {
        std::vector<float> got(50 * 64), want(64);
        read_kv_rows(kv, part, 1, 25, {got.data(), 50, 64});
        for (size_t slot = 25; slot < 75; ++slot) {
          const std::byte* const group = kv.pages[slot / kKvGroup] + kKvGroup * kv_value_row_bytes(bits, 64);
          if (slot >= kv.groups.first_tail) {
            const auto* const tail = reinterpret_cast<const f16*>(kv.groups.tail) +
                                     ((is_value ? 2 : 0) + 1) * kKvGroup * 64 + (slot - kv.groups.first_tail) * 64;
            for (size_t i = 0; i < 64; ++i) want[i] = to_f32(tail[i]);
          } else if (is_value) {
            ref::unpack_value(bits, group + kv.v_offset_bytes + slot % kKvGroup * kv_value_row_bytes(bits, 64), want);
          } else {
            ref::unpack_key(bits, group, slot % kKvGroup, want);
          }
          for (size_t i = 0; i < 64; ++i) ASSERT_NEAR(got[(slot - 25) * 64 + i], want[i], 1e-5) << slot;
        }
      });
    }
  }
}

// Of heads that are not computed neither results nor queries are touched.
TEST(AttentionKvTypes, LeaveOtherHeadsAlone) {
  std::mt19937 rng(8);
  const Sizes sizes{3, 2, 32, 40, KvType::rotated_of(DType::kQ8_0)};
  const Cached cached(sizes, rng);
  std::vector<float> q = normal(6 * 32, rng), all(6 * 32), one(6 * 32, 5.0f);
  Compute compute(1);
  AttentionSpan span{cached.view, 0, 1, 39};
  attention(compute, {q.data(), 1, 192}, 6, {&span, 1}, {}, {all.data(), 1, 192});
  const uint32_t heads[] = {1};
  span.all_heads = false;
  span.kv_heads = heads;
  std::fill_n(q.begin(), 64, NAN);
  attention(compute, {q.data(), 1, 192}, 6, {&span, 1}, {}, {one.data(), 1, 192});
  for (size_t i = 0; i < 192; ++i) EXPECT_EQ(one[i], i >= 64 && i < 128 ? all[i] : 5.0f) << i;
}

}  // namespace
}  // namespace hunch
