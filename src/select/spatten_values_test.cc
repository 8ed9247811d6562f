// SpAtten's local value pruning, as attention does it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "io/golden_arrays.h"
#include "kernels/attention.h"

namespace hunch {
namespace {

// The rows of the heads and tokens that are live, [heads, tokens, d].
std::vector<float> live_rows(const GoldenArrays& golden, const std::string& name, std::span<const uint32_t> heads,
                             std::span<const uint32_t> tokens) {
  const auto all = golden.get<float>(name);
  std::vector<float> rows;
  for (const uint32_t head : heads)
    for (const uint32_t token : tokens) {
      const std::span<const float> row = all.row(head, token);
      rows.insert(rows.end(), row.begin(), row.end());
    }
  return rows;
}

TEST(SpattenValues, AreLeftOutAsThePaperDoes) {
  const auto path = shared_path("golden/algos2/spatten.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "spatten");
  const auto& settings = golden.configs().at("cascade_causal");
  for (size_t layer = 0; layer < 4; ++layer) {
    SCOPED_TRACE(layer);
    const std::string prefix = "cascade_causal.l" + std::to_string(layer);
    const std::vector<uint32_t> heads = golden.get<uint32_t>(prefix + ".heads").values;
    const std::vector<uint32_t> tokens = golden.get<uint32_t>(prefix + ".tokens").values;
    const size_t n_heads = heads.size(), n = tokens.size(), d = golden.get<float>(prefix + ".q").shape[2];
    std::vector<float> page = live_rows(golden, prefix + ".k", heads, tokens);
    const size_t v_offset_bytes = page.size() * sizeof(float);
    const std::vector<float> v = live_rows(golden, prefix + ".v", heads, tokens);
    page.insert(page.end(), v.begin(), v.end());
    const std::vector<float> by_head = live_rows(golden, prefix + ".q", heads, tokens);
    std::vector<float> q(n * n_heads * d), out(q.size());
    for (size_t h = 0; h < n_heads; ++h)
      for (size_t t = 0; t < n; ++t) std::copy_n(&by_head[(h * n + t) * d], d, &q[(t * n_heads + h) * d]);
    const std::byte* pages[] = {reinterpret_cast<const std::byte*>(page.data())};
    AttentionSpan span{{pages, n, n_heads, d, DType::kF32, v_offset_bytes, n}, 0, n, 0};
    AttentionParams params;
    params.scale = 1 / std::sqrt(float(d));
    Compute compute(1);
    for (const char* want_name : {".out", ".out_local"}) {
      span.n_values = std::string(want_name) == ".out" ? 0 : settings["v_kept"][layer].get<size_t>();
      const auto want = golden.get<float>(prefix + want_name);
      attention(compute, {q.data(), n, n_heads * d}, n_heads, {&span, 1}, params, {out.data(), n, n_heads * d});
      for (size_t h = 0; h < n_heads; ++h)
        for (size_t t = 0; t < n; ++t)
          for (size_t i = 0; i < d; ++i)
            ASSERT_NEAR(out[(t * n_heads + h) * d + i], want.row(h, t)[i], 1e-5) << want_name << h << " " << t;
    }
  }
}

}  // namespace
}  // namespace hunch
