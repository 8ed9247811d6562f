// Self-Extend against its formula in float64.
#include "model/self_extend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "formats/format.h"
#include "model/rope_table.h"

namespace hunch {
namespace {

struct Shape {
  size_t group, window, n_tokens, n_head = 4, n_kv_head = 2, d = 16, n_rot = 16;
  bool interleaved = false, sinks = false;
  DType dtype = DType::kF32;
};

// A text of random queries, keys and values, before they are turned.
class Text {
 public:
  explicit Text(const Shape& s) : s_(s), rope_(config(s), 100) {
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& x, size_t n) {
      x.resize(n);
      for (float& v : x) v = normal(rng);
    };
    fill(q_, s.n_tokens * s.n_head * s.d);
    fill(k_, s.n_tokens * s.n_kv_head * s.d);
    fill(v_, s.n_tokens * s.n_kv_head * s.d);
    if (s.sinks) fill(sinks_, s.n_head);
    store();
  }

  // Tokens [first, first + n) as the engine computes them.
  std::vector<float> got(size_t first, size_t n, size_t n_threads) {
    Compute compute(n_threads);
    const size_t width = s_.n_head * s_.d;
    std::vector<float> near(n * width), far(n * width), out((n + 1) * width, 7.0f);
    for (size_t t = 0; t < n; ++t)
      for (size_t h = 0; h < s_.n_head; ++h) {
        turned(&q_[((first + t) * s_.n_head + h) * s_.d], first + t, &near[t * width + h * s_.d]);
        turned(&q_[((first + t) * s_.n_head + h) * s_.d], extend().far_position(first + t), &far[t * width + h * s_.d]);
      }
    const size_t begin = extend().first_near(first), n_near = first + n - begin, n_pairs = s_.n_rot / 2;
    std::vector<float> turns(n_near * 2 * n_pairs);
    std::vector<double> own;
    for (size_t i = 0; i < n_near; ++i) {
      const std::span<float> turn = std::span(turns).subspan(i * 2 * n_pairs, 2 * n_pairs);
      rope_.turn(begin + i - extend().key_position(begin + i), rope_.frequencies(0, own).of, turn.first(n_pairs),
                 turn.last(n_pairs));
    }
    const MatView<const float> both(turns.data(), n_near, 2 * n_pairs);
    const AttentionSpan span{view_, 0, n, first};
    AttentionParams params{.scale = 0.3f};
    params.sinks = sinks_;
    attend_self_extended(compute, extend(), span, {near.data(), n, width}, {far.data(), n, width}, s_.n_head,
                         {both.col_range(0, n_pairs), both.col_range(n_pairs, n_pairs)}, s_.interleaved, params,
                         {out.data(), n, width});
    for (size_t i = n * width; i < out.size(); ++i) EXPECT_EQ(out[i], 7.0f) << "written past the end";
    out.resize(n * width);
    return out;
  }

  // One token by the paper's equation: a score for every key, whose distance is the near or the far one.
  std::vector<double> want(size_t m) const {
    std::vector<double> out(s_.n_head * s_.d);
    for (size_t h = 0; h < s_.n_head; ++h) {
      const size_t kv_head = h / (s_.n_head / s_.n_kv_head);
      std::vector<double> weights;
      double sum = s_.sinks ? std::exp(double(sinks_[h])) : 0;
      for (size_t n = 0; n <= m; ++n) {
        const double G = double(s_.group), W = double(s_.window);
        const double distance = m - n < s_.window
                                    ? double(m - n)
                                    : std::floor(double(m) / G) - std::floor(double(n) / G) + W - std::floor(W / G);
        weights.push_back(std::exp(0.3 * score(&q_[(m * s_.n_head + h) * s_.d], key(kv_head, n), distance)));
        sum += weights.back();
      }
      for (size_t n = 0; n <= m; ++n)
        for (size_t i = 0; i < s_.d; ++i)
          out[h * s_.d + i] += weights[n] / sum * v_[(n * s_.n_kv_head + kv_head) * s_.d + i];
    }
    return out;
  }

 private:
  static RopeConfig config(const Shape& s) {
    RopeConfig rope;
    rope.n_rot = s.n_rot;
    rope.base = 300;
    rope.interleaved = s.interleaved;
    return rope;
  }
  SelfExtend extend() const { return {s_.group, s_.window}; }
  const float* key(size_t kv_head, size_t n) const { return &k_[(n * s_.n_kv_head + kv_head) * s_.d]; }

  void turned(const float* x, size_t position, float* to) const {
    std::vector<float> cos(s_.n_rot / 2), sin(s_.n_rot / 2);
    std::vector<double> own;
    rope_.at(position, rope_.frequencies(0, own), cos, sin);
    std::copy_n(x, s_.d, to);
    rope({to, s_.d}, cos, sin, s_.interleaved);
  }

  // q, at `distance` from k.
  double score(const float* q, const float* k, double distance) const {
    double sum = 0;
    for (size_t i = s_.n_rot; i < s_.d; ++i) sum += double(q[i]) * k[i];
    for (size_t i = 0; i < s_.n_rot / 2; ++i) {
      const size_t a = s_.interleaved ? 2 * i : i, b = s_.interleaved ? 2 * i + 1 : i + s_.n_rot / 2;
      const double angle = distance * std::pow(300.0, -2.0 * double(i) / double(s_.n_rot));
      sum += (double(q[a]) * k[a] + double(q[b]) * k[b]) * std::cos(angle) +
             (double(q[b]) * k[a] - double(q[a]) * k[b]) * -std::sin(angle);
    }
    return sum;
  }

  void store() {
    const size_t page = 32, bytes = row_bytes(s_.dtype, s_.d), half = s_.n_kv_head * page * bytes;
    for (size_t n = 0; n < s_.n_tokens; ++n) {
      if (n % page == 0) pages_.emplace_back(2 * half);
      for (size_t head = 0; head < s_.n_kv_head; ++head) {
        std::vector<float> row(s_.d);
        turned(key(head, n), extend().key_position(n), row.data());
        std::byte* const at = pages_.back().data() + (head * page + n % page) * bytes;
        codec(s_.dtype).encode(row.data(), at, s_.d);
        codec(s_.dtype).encode(&v_[(n * s_.n_kv_head + head) * s_.d], at + half, s_.d);
      }
    }
    for (const auto& p : pages_) table_.push_back(p.data());
    view_ = {table_, page, s_.n_kv_head, s_.d, s_.dtype, half, s_.n_tokens, {}};
  }

  const Shape s_;
  const RopeTable rope_;
  std::vector<float> q_, k_, v_, sinks_;
  std::vector<std::vector<std::byte>> pages_;
  std::vector<const std::byte*> table_;
  KvView view_;
};

class SelfExtended : public ::testing::TestWithParam<Shape> {};

TEST_P(SelfExtended, IsTheFormula) {
  Text text(GetParam());
  const size_t n = GetParam().n_tokens, width = GetParam().n_head * GetParam().d;
  const double tolerance = GetParam().dtype == DType::kF32 ? 2e-5 : 1e-2;
  for (const auto& [first, count] :
       {std::pair{size_t{0}, n}, {n - 1, size_t{1}}, {size_t{0}, size_t{1}}, {n / 2, n / 3}, {n / 8, n / 2}})
    for (const size_t n_threads : {1, 2}) {
      const std::vector<float> got = text.got(first, count, n_threads);
      for (size_t t = 0; t < count; ++t) {
        const std::vector<double> want = text.want(first + t);
        for (size_t i = 0; i < width; ++i)
          ASSERT_NEAR(got[t * width + i], want[i], tolerance) << first + t << ", " << i;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SelfExtended,
    ::testing::Values(Shape{4, 16, 90}, Shape{4, 15, 90}, Shape{8, 5, 70}, Shape{3, 200, 60}, Shape{4, 1, 50},
                      Shape{.group = 5, .window = 20, .n_tokens = 90, .n_rot = 8, .interleaved = true},
                      Shape{.group = 4, .window = 16, .n_tokens = 90, .sinks = true},
                      Shape{.group = 4, .window = 16, .n_tokens = 90, .n_kv_head = 4, .d = 32, .dtype = DType::kF16}),
    [](const auto& info) { return std::to_string(info.index); });

}  // namespace
}  // namespace hunch
