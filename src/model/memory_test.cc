#include "model/memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/half.h"
#include "io/gguf.h"
#include "io/golden_arrays.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// Two of three layers remember: two heads of 4 values and one of 6.
class MemoryFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("hunch-memory-" + std::to_string(::getpid()) + ".hmem");
    memory_ = {.fingerprint = "f1",
               .vectors = "v2",
               .arch = "llama",
               .name = "tiny",
               .n_layer = 3,
               .n_embd = 8,
               .n_tokens = 5};
    memory_.layers.resize(3);
    rows_.reserve(8);
    for (size_t h = 0; h < 2; ++h) memory_.layers[0].push_back({rows(4), rows(4)});
    memory_.layers[2].push_back({rows(6), rows(6)});
  }
  void TearDown() override { fs::remove(path_); }
  WeightView rows(size_t d) {
    std::vector<f16>& r = rows_.emplace_back(5 * d);
    for (size_t i = 0; i < r.size(); ++i) r[i] = to_f16(float(rows_.size()) + 0.25f * float(i));
    return {DType::kF16, reinterpret_cast<const std::byte*>(r.data()), 5, d, d * sizeof(f16)};
  }
  Metadata meta() {
    write_memory(path_, memory_);
    return open_gguf(path_).meta;
  }
  fs::path path_;
  Memory memory_;
  std::vector<std::vector<f16>> rows_;
};

TEST_F(MemoryFiles, AreReadAsTheyWereWritten) {
  write_memory(path_, memory_);
  const Memory read = open_memory(path_);
  EXPECT_EQ(read.fingerprint, "f1");
  EXPECT_EQ(read.n_tokens, 5u);
  EXPECT_EQ(read.bytes(), memory_.bytes());
  ASSERT_EQ(read.layers.size(), 3u);
  EXPECT_TRUE(read.layers[1].empty());
  for (const size_t l : {0, 2})
    for (size_t h = 0; h < memory_.layers[l].size(); ++h)
      for (const auto which : {&MemoryHead::keys, &MemoryHead::values}) {
        const WeightView &got = read.layers[l][h].*which, &want = memory_.layers[l][h].*which;
        ASSERT_EQ(got.rows, want.rows);
        for (size_t r = 0; r < want.rows; ++r)
          EXPECT_EQ(std::memcmp(got.row(r), want.row(r), want.cols * sizeof(f16)), 0) << l << " " << h;
      }
}

TEST_F(MemoryFiles, WhatIsWrongIsSaid) {
  const auto refusal = [&](ErrorKind kind, const auto& change) {
    write_memory(path_, memory_);
    ModelFile file = open_gguf(path_);
    change(file);
    return message_of(kind, [&] { parse_memory(std::move(file)); });
  };
  const auto expect = [&](const char* said, const auto& change, ErrorKind kind = ErrorKind::kFormat) {
    const std::string message = refusal(kind, change);
    EXPECT_NE(message.find(said), std::string::npos) << message;
  };
  expect("expected 'hunch-memory'", [](ModelFile& f) { f.meta.set("general.architecture", std::string("llama")); });
  expect(
      "version 9, this hunch reads 1", [](ModelFile& f) { f.meta.set("hunch.version", uint64_t{9}); },
      ErrorKind::kUnsupported);
  expect("'hunch.memory.n_tokens' is 0", [](ModelFile& f) { f.meta.set("hunch.memory.n_tokens", uint64_t{0}); });
  expect("expected a multiple of 4 rows", [](ModelFile& f) { f.meta.set("hunch.memory.n_tokens", uint64_t{4}); });
  expect("has no layer", [](ModelFile& f) {
    ModelFile empty;
    empty.meta = f.meta;
    f = std::move(empty);
  });
  const std::string other = message_of(ErrorKind::kFormat, [&] {
    ModelConfig config;
    config.arch = "opt", config.n_layer = 2, config.n_embd = 8;
    check_memory(memory_, ModelFile(), config);
  });
  EXPECT_NE(other.find("the memory is of 'tiny' (llama, 3 layers of 8), this model is 'unnamed' (opt, 2 layers of 8)"),
            std::string::npos)
      << other;
}

std::span<const float> rows_of(const GoldenArray<float>& a, size_t head) {
  return std::span(a.values).subspan(head * a.shape[1] * a.shape[2], a.shape[1] * a.shape[2]);
}

// out = sigmoid(b) V_m + (1 - sigmoid(b)) V_c of every head.
TEST(MemoryGolden, IsWhatMemorizingTransformersSay) {
  const auto path = shared_path("golden/algos2/knn_memory.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "knn_memory");
  const auto q = golden.get<float>("q"), mem_k = golden.get<float>("mem_k"), mem_v = golden.get<float>("mem_v"),
             v_c = golden.get<float>("v_c"), gate = golden.get<float>("gate");
  const size_t n_head = q.shape[0], n = q.shape[1], d = q.shape[2];
  Compute compute(1);
  for (const auto& [name, settings] : golden.configs().items()) {
    const auto want = golden.get<float>(name + ".out");
    const size_t n_memory = settings["memory"];
    for (size_t h = 0; h < n_head; ++h) {
      const MemoryHead memory{weight_view({rows_of(mem_k, h).data(), n_memory, d}),
                              weight_view({rows_of(mem_v, h).data(), n_memory, d})};
      std::vector<float> out(rows_of(v_c, h).begin(), rows_of(v_c, h).end()), nothing(n), gates(n, gate.values[h]);
      attend_memory(compute, {rows_of(q, h).data(), n, d}, memory,
                    {.top = 8, .scale = 1 / std::sqrt(float(d)), .gates = gates}, {nothing, nothing},
                    {out.data(), n, d});
      for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], rows_of(want, h)[i], 1e-5) << name << " head " << h;
    }
  }
}

// One softmax over both, by cosine and with a scale of 20.
TEST(MemoryGolden, JoinsOneSoftmaxAsThePublishedCodeDoes) {
  const auto path = shared_path("golden/algos2/knn_memory.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "knn_memory");
  const auto q = golden.get<float>("q"), k = golden.get<float>("k"), v = golden.get<float>("v"),
             mem_k = golden.get<float>("mem_k"), mem_v = golden.get<float>("mem_v"),
             want = golden.get<float>("joint.out");
  const size_t n_head = q.shape[0], n = q.shape[1], d = q.shape[2], n_memory = mem_k.shape[1];
  const auto unit = [&](std::span<const float> rows) {
    std::vector<float> out(rows.begin(), rows.end());
    for (size_t r = 0; r < out.size(); r += d) {
      double squared = 0;
      for (size_t i = 0; i < d; ++i) squared += double(out[r + i]) * out[r + i];
      for (size_t i = 0; i < d; ++i) out[r + i] /= float(std::sqrt(squared));
    }
    return out;
  };
  Compute compute(1);
  for (size_t h = 0; h < n_head; ++h) {
    const std::vector<float> own_q = unit(rows_of(q, h)), own_k = unit(rows_of(k, h)), own_m = unit(rows_of(mem_k, h));
    std::vector<float> out(n * d), max(n), sum(n);
    for (size_t t = 0; t < n; ++t) {
      std::vector<double> s(t + 1), mixed(d);
      for (size_t j = 0; j <= t; ++j)
        for (size_t i = 0; i < d; ++i) s[j] += 20.0 * own_q[t * d + i] * own_k[j * d + i];
      const double most = std::ranges::max(s);
      double all = 0;
      for (double& w : s) all += w = std::exp(w - most);
      for (size_t j = 0; j <= t; ++j)
        for (size_t i = 0; i < d; ++i) mixed[i] += s[j] / all * rows_of(v, h)[j * d + i];
      std::ranges::copy(mixed, out.begin() + ptrdiff_t(t * d));
      max[t] = float(most), sum[t] = float(all);
    }
    const MemoryHead memory{weight_view({own_m.data(), n_memory, d}),
                            weight_view({rows_of(mem_v, h).data(), n_memory, d})};
    attend_memory(compute, {own_q.data(), n, d}, memory, {.top = 8, .scale = 20}, {max, sum}, {out.data(), n, d});
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], rows_of(want, h)[i], 1e-4) << "head " << h;
  }
}

}  // namespace
}  // namespace hunch
