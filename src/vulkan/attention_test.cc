// Attention over keys and values in pages, against softmax in double precision.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "vulkan/test_gpu.h"

namespace hunch::vulkan {
namespace {

struct AttentionCase {
  size_t n_head, n_kv_head, d_head, n_past, n_tokens, window;
  float soft_cap;
  bool half;
};

class AttentionTest : public GpuTest, public ::testing::WithParamInterface<AttentionCase> {};

// Two sequences, the second of one token only, whose pages lie in disorder; what is in the pages beside them is NaN.
// Then once more with half of the pages in memory of the host.
TEST_P(AttentionTest, IsASoftmaxOverTheKeysThatATokenSees) {
  const AttentionCase c = GetParam();
  constexpr size_t kPageTokens = 8;
  const size_t n_kv = c.n_kv_head * c.d_head, n_q = c.n_head * c.d_head, n_all = c.n_past + c.n_tokens;
  const size_t n_pages = (n_all + kPageTokens - 1) / kPageTokens;
  std::vector<uint32_t> table;
  for (size_t i = 0; i < n_pages; ++i) table.push_back(uint32_t((i * 7 + 3) % n_pages));  // n_pages is no multiple of 7
  table.push_back(uint32_t(n_pages));                                                     // of the second sequence
  const size_t elem = c.half ? 2 : 4, bytes = (n_pages + 1) * kPageTokens * n_kv * elem;
  const std::vector<uint32_t> nans(bytes / 4, 0x7fffffffu);
  const Pages all_near{.k = put_words(nans),
                       .v = put_words(nans),
                       .half = c.half,
                       .n_kv_head = uint32_t(c.n_kv_head),
                       .d_head = uint32_t(c.d_head),
                       .page_tokens = kPageTokens};

  // The past goes in as tokens of an earlier step; then the new ones and the other sequence's token.
  std::vector<float> k = random((n_all + 1) * n_kv), v = random((n_all + 1) * n_kv);
  const std::vector<float> q = random((c.n_tokens + 1) * n_q);
  std::vector<uint32_t> positions, tables;
  for (uint32_t p = 0; p < n_all; ++p) positions.push_back(p), tables.push_back(0);
  positions.push_back(0), tables.push_back(uint32_t(n_pages));
  const Values keys = put(k, n_kv), values = put(v, n_kv);
  const uint32_t n = uint32_t(c.n_tokens + 1);
  const float scale = 1 / std::sqrt(float(c.d_head));
  const auto attend = [&](Pages pages) {
    pages.table = put_words(table);
    pages.positions = put_words(positions);
    pages.tables = put_words(tables);
    run([&](Kernels& kernels) { kernels.store(pages, keys, values, uint32_t(n_all + 1)); });
    pages.positions = put_words({positions.begin() + ptrdiff_t(c.n_past), positions.end()});
    pages.tables = put_words({tables.begin() + ptrdiff_t(c.n_past), tables.end()});
    const Values queries = put(q, n_q), y = put(std::vector<float>(n * n_q), n_q);
    const Piece parts = arena_->take(Kernels::attention_bytes(uint32_t(c.n_head), uint32_t(c.d_head), n));
    run([&](Kernels& kernels) {
      kernels.attention(
          pages, {.n_head = uint32_t(c.n_head), .window = uint32_t(c.window), .scale = scale, .soft_cap = c.soft_cap},
          queries, parts, y, n);
    });
    return get(y, n_q, n);
  };

  const auto rounded = [&](float x) { return c.half ? double(to_f32(to_f16(x))) : double(x); };
  const std::vector<float> got = attend(all_near);
  DeviceArena host(gpu_, MemoryKind::kUpload);
  Pages some_far = all_near;
  some_far.n_near = uint32_t(n_pages / 2);
  const uint64_t near_bytes = uint64_t(some_far.n_near) * kPageTokens * n_kv * elem;
  some_far.k.bytes = some_far.v.bytes = near_bytes;
  some_far.far_k = host.take(bytes - near_bytes);
  some_far.far_v = host.take(bytes - near_bytes);
  for (const Piece& piece : {all_near.k, all_near.v}) uploader_->upload(std::as_bytes(std::span(nans)), piece);
  EXPECT_EQ(attend(some_far), got);
  for (size_t t = 0; t < n; ++t) {
    const bool other = t == c.n_tokens;
    const size_t position = other ? 0 : c.n_past + t;
    const size_t first = c.window && position + 1 > c.window ? position + 1 - c.window : 0;
    for (size_t h = 0; h < c.n_head; ++h) {
      const size_t kv_head = h / (c.n_head / c.n_kv_head);
      const auto row = [&](size_t key) { return (other ? n_all : key) * n_kv + kv_head * c.d_head; };
      std::vector<double> want(c.d_head);
      double total = 0;
      for (size_t key = first; key <= position; ++key) {
        double score = 0;
        for (size_t i = 0; i < c.d_head; ++i) score += double(q[t * n_q + h * c.d_head + i]) * rounded(k[row(key) + i]);
        score *= double(scale);
        if (c.soft_cap > 0) score = double(c.soft_cap) * std::tanh(score / double(c.soft_cap));
        const double weight = std::exp(score);
        total += weight;
        for (size_t i = 0; i < c.d_head; ++i) want[i] += weight * rounded(v[row(key) + i]);
      }
      for (size_t i = 0; i < c.d_head; ++i)  // half a step of f16 goes either way
        EXPECT_NEAR(got[t * n_q + h * c.d_head + i], want[i] / total, c.half ? 2e-3 : 2e-5)
            << "token " << t << ", head " << h << ", value " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    ::testing::Values(AttentionCase{4, 4, 16, 0, 1, 0, 0, false}, AttentionCase{4, 2, 8, 40, 1, 0, 0, false},
                      AttentionCase{6, 2, 64, 300, 1, 0, 0, false}, AttentionCase{6, 2, 64, 300, 1, 0, 0, true},
                      AttentionCase{2, 1, 128, 30, 9, 0, 0, true}, AttentionCase{3, 3, 20, 150, 6, 33, 0, false},
                      AttentionCase{2, 2, 256, 20, 2, 0, 5, false}, AttentionCase{1, 1, 512, 130, 1, 131, 0, true}));

using HeadsTest = GpuTest;

TEST_F(HeadsTest, HeadsThatAreLeftOutGiveZerosAndTheOthersWhatTheyGave) {
  const size_t n_head = 6, n_kv_head = 3, d_head = 8, n_keys = 20;
  const std::vector<float> k = random(n_keys * n_kv_head * d_head), v = random(n_keys * n_kv_head * d_head);
  std::vector<uint32_t> positions(n_keys), tables(n_keys, 0);
  for (uint32_t p = 0; p < n_keys; ++p) positions[p] = p;
  Pages pages{.k = arena_->take(32 * n_kv_head * d_head * 4),
              .v = arena_->take(32 * n_kv_head * d_head * 4),
              .positions = put_words(positions),
              .tables = put_words(tables),
              .table = put_words({0}),
              .n_kv_head = uint32_t(n_kv_head),
              .d_head = uint32_t(d_head),
              .page_tokens = 32};
  const Values keys = put(k, n_kv_head * d_head), values = put(v, n_kv_head * d_head),
               q = put(random(n_head * d_head), n_head * d_head);
  run([&](Kernels& kernels) { kernels.store(pages, keys, values, uint32_t(n_keys)); });
  pages.positions = put_words({n_keys - 1});
  const Piece parts = arena_->take(Kernels::attention_bytes(n_head, d_head, 1)), scores = put_floats({0.7f, 0.5f, NAN});
  const auto attend = [&](const AttentionShape& shape) {
    const Values y = put(std::vector<float>(n_head * d_head, 9), n_head * d_head);
    run([&](Kernels& kernels) { kernels.attention(pages, shape, q, parts, y, 1); });
    return get(y, n_head * d_head, 1);
  };
  const std::vector<float> all = attend({.n_head = n_head}),
                           some = attend({.n_head = n_head, .scores = scores, .threshold = 0.5f});
  for (size_t i = 0; i < all.size(); ++i) {
    const bool left_out = i / d_head / 2 == 1;  // at the threshold; NaN counts as chosen
    EXPECT_EQ(some[i], left_out ? 0 : all[i]) << i;
  }
}

}  // namespace
}  // namespace hunch::vulkan
