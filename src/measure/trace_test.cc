#include "measure/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>

#include "base/error.h"
#include "measure/perplexity.h"
#include "measure/trace_observer.h"
#include "model/golden_data.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const std::string& name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = int32_t(4 + (i * 37 + i * i * 11) % 300);
  return ids;
}

// Keeps everything that a pass shows, in the simplest form.
struct Recorder : Observer {
  using Rows = std::vector<std::vector<float>>;
  std::vector<Rows> resid, heads, act, branch_x[2], branch_f[2];
  explicit Recorder(size_t n_layer) : resid(n_layer + 1), heads(n_layer), act(n_layer) {
    for (int b : {0, 1}) branch_x[b].resize(n_layer), branch_f[b].resize(n_layer);
  }
  static void keep(Rows& rows, MatView<const float> m) {
    for (size_t t = 0; t < m.rows; ++t) rows.emplace_back(m.row(t).begin(), m.row(t).end());
  }
  void on_residual(size_t layer, MatView<const float> x) override { keep(resid[layer], x); }
  void on_heads(size_t layer, MatView<const float> x) override { keep(heads[layer], x); }
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> x) override {
    keep(act[place.layer], x);
  }
  void on_branch(size_t layer, Branch b, MatView<const float> x, MatView<const float> f) override {
    keep(branch_x[int(b)][layer], x);
    keep(branch_f[int(b)][layer], f);
  }
};

double dot_of(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

double middle_of(std::vector<double> v) {
  std::ranges::sort(v);
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

TEST(Trace, EqualsABruteForceCount) {
  const Engine engine = load_engine(fixture("opt_sparse"), {2});
  const ModelConfig& c = engine.config();
  const std::vector<int32_t> ids = some_ids(71);
  TraceOptions options;
  options.n_ctx = 20;  // three windows, the rest of 11 tokens is left out
  options.oracle_tokens = 0;
  const Trace trace = trace_text(engine, ids, options);
  EXPECT_EQ(trace.n_windows, 3u);
  EXPECT_EQ(trace.n_tokens, 60u);
  EXPECT_EQ(trace.n_sampled, 60u);
  EXPECT_EQ(trace.union_sizes, (std::vector<size_t>{1, 2, 4, 8, 16}));
  EXPECT_FALSE(trace.oracle_note.empty());

  Recorder recorder(c.n_layer);
  for (size_t window = 0; window < 3; ++window) {
    Context context(engine, {.n_ctx = 20, .mode = "dense"});
    context.set_observer(&recorder);
    context.append(std::span(ids).subspan(window * 20, 20));
  }
  for (size_t layer = 0; layer < c.n_layer; ++layer) {
    const LayerTrace& got = trace.layers[layer];
    const auto& act = recorder.act[layer];
    ASSERT_EQ(act.size(), 60u);
    EXPECT_EQ(got.rule, ActiveRule::kNonzero);
    std::vector<uint32_t> counts(c.n_ff);
    double active = 0;
    for (const auto& row : act)
      for (size_t k = 0; k < c.n_ff; ++k) counts[k] += row[k] != 0, active += row[k] != 0;
    EXPECT_EQ(got.counts, counts);
    EXPECT_EQ(got.n_counted, 60u);
    EXPECT_NEAR(got.active.mean, active / 60 / double(c.n_ff), 1e-6);
    EXPECT_LE(got.active.p10, got.active.mean);
    EXPECT_GE(got.active.p90, got.active.mean);

    const auto unions = [&](size_t size, size_t step, size_t n_batches, auto first_of) {
      double sum = 0;
      for (size_t batch = 0; batch < n_batches; ++batch)
        for (size_t k = 0; k < c.n_ff; ++k) {
          bool any = false;
          for (size_t i = 0; i < size; ++i) any = any || act[first_of(batch) + i * step][k] != 0;
          sum += any;
        }
      return sum / double(n_batches) / double(c.n_ff);
    };
    EXPECT_NEAR(got.union_near[2], unions(4, 1, 15, [](size_t b) { return b * 4; }), 1e-9);
    EXPECT_NEAR(got.union_near[3], unions(8, 1, 6, [](size_t b) { return b / 2 * 20 + b % 2 * 8; }), 1e-9);
    EXPECT_NEAR(got.union_far[2], unions(4, 15, 15, [](size_t b) { return b; }), 1e-9);
    EXPECT_NEAR(got.union_near[0], got.active.mean, 1e-6);

    // CETT by trying every count, for a few tokens, with the weights in plain floats.
    const WeightView down = engine.model->weights().layers[layer].mlp.down->by_input();
    ASSERT_TRUE(down);
    ASSERT_EQ(down.dtype, DType::kF32);
    const auto column = [&](size_t k) { return reinterpret_cast<const float*>(down.row(k)); };
    double needed = 0;
    for (const auto& row : act) {
      std::vector<size_t> order(c.n_ff);
      std::vector<double> score(c.n_ff);
      for (size_t k = 0; k < c.n_ff; ++k) {
        order[k] = k;
        for (size_t d = 0; d < c.n_embd; ++d) score[k] += std::pow(double(row[k]) * double(column(k)[d]), 2);
      }
      std::ranges::stable_sort(order, std::less<>(), [&](size_t k) { return score[k]; });  // the least first
      std::vector<double> whole(c.n_embd), tail(c.n_embd);
      for (size_t k = 0; k < c.n_ff; ++k)
        for (size_t d = 0; d < c.n_embd; ++d) whole[d] += double(row[k]) * double(column(k)[d]);
      const auto norm = [](const std::vector<double>& v) {
        double sum = 0;
        for (double x : v) sum += x * x;
        return std::sqrt(sum);
      };
      size_t kept = c.n_ff;
      for (size_t k : order) {
        for (size_t d = 0; d < c.n_embd; ++d) tail[d] += double(row[k]) * double(column(k)[d]);
        if (norm(tail) > 0.1 * norm(whole)) break;
        --kept;
      }
      needed += double(kept) / double(c.n_ff);
    }
    // Bisection may stop at another count where cancellation makes the error fall and rise again.
    EXPECT_NEAR(got.needed_90->mean, needed / 60, 0.01);
    EXPECT_LE(got.needed_90->mean, got.needed_99->mean);
    EXPECT_LE(got.needed_99->mean, got.active.mean + 1e-6);

    for (size_t h = 0; h < c.n_head; ++h) {
      double sum = 0;
      for (const auto& row : recorder.heads[layer]) {
        const std::vector<float> head(row.begin() + std::ptrdiff_t(h * c.d_head),
                                      row.begin() + std::ptrdiff_t((h + 1) * c.d_head));
        sum += std::sqrt(dot_of(head, head));
      }
      EXPECT_NEAR(got.head_norm[h], sum / 60, 1e-4 * sum);
    }
    for (int b : {0, 1}) {
      std::vector<double> x, f, ratio;
      for (size_t t = 0; t < 60; ++t) {
        x.push_back(std::sqrt(dot_of(recorder.branch_x[b][layer][t], recorder.branch_x[b][layer][t])));
        f.push_back(std::sqrt(dot_of(recorder.branch_f[b][layer][t], recorder.branch_f[b][layer][t])));
        ratio.push_back(f.back() / x.back());
      }
      const LayerTrace::Addition& a = b ? got.mlp : got.attention;
      EXPECT_NEAR(a.stream, middle_of(x), 1e-4 * a.stream);
      EXPECT_NEAR(a.branch, middle_of(f), 1e-4 * a.branch);
      EXPECT_NEAR(a.ratio, middle_of(ratio), 1e-4 * a.ratio);
    }
    double cosine = 0;  // every token: a window is shorter than the 64 rows that are compared
    for (size_t t = 0; t < 60; ++t) {
      const auto &a = recorder.resid[layer][t], &b = recorder.resid[c.n_layer][t];
      cosine += dot_of(a, b) / std::sqrt(dot_of(a, a) * dot_of(b, b)) / 60;
    }
    EXPECT_NEAR(trace.cosine_at(layer, c.n_layer), cosine, 1e-5);
    EXPECT_NEAR(trace.cosine_at(c.n_layer, layer), cosine, 1e-5);
    EXPECT_NEAR(trace.cosine_at(layer, layer), 1.0, 1e-5);
  }
}

TEST(Trace, TheOraclesDenseEndIsThePerplexity) {
  const Engine engine = load_engine(fixture("opt_sparse"), {2});
  const std::vector<int32_t> ids = some_ids(64);
  TraceOptions options;
  options.n_ctx = 32;
  options.oracle_tokens = 40;
  const Trace trace = trace_text(engine, ids, options);
  const Perplexity scored = perplexity(engine, {.mode = "dense"}, std::span(ids).first(40), {32, 32, 0});
  const double dense = scored.perplexity;
  EXPECT_EQ(trace.oracle_tokens, scored.n_tokens);
  EXPECT_EQ(trace.oracle_tokens, 38u);  // not the first of each window
  EXPECT_NEAR(trace.dense_perplexity, dense, 1e-6 * dense);
  ASSERT_EQ(trace.oracle_both.size(), 6u);
  EXPECT_EQ(trace.oracle_both[0].neurons, 1.0);
  const OraclePoint& last = trace.oracle_both.back();
  const double least =
      perplexity(engine, {.mode = "dense", .oracle_density = last.neurons, .oracle_head_density = last.heads},
                 std::span(ids).first(40), {32, 32, 0})
          .perplexity;
  EXPECT_NEAR(last.perplexity, least, 1e-6 * least);
  EXPECT_GT(last.kl, trace.oracle_both[1].kl);
}

TEST(Trace, ASmoothActivationIsTracedByWhatIsNeeded) {
  const Engine engine = load_engine(fixture("llama_mha"), {2});
  TraceOptions options;
  options.oracle_tokens = 0;
  options.max_tokens = 100000;  // more than the text has
  const Trace trace = trace_text(engine, some_ids(100), options);
  EXPECT_EQ(trace.n_tokens, 100u);
  EXPECT_EQ(trace.n_sampled, 64u);
  for (const LayerTrace& l : trace.layers) {
    EXPECT_EQ(l.rule, ActiveRule::kNeeded);
    EXPECT_EQ(l.n_counted, 64u);
    EXPECT_NEAR(l.active.mean, l.needed_99->mean, 1e-9);
    uint64_t n = 0;
    for (uint32_t count : l.counts) n += count;
    EXPECT_NEAR(double(n) / 64 / double(l.n_units), l.active.mean, 1e-6);
    EXPECT_GT(l.active.mean, 0.5);
    EXPECT_LT(l.active.mean, 1.0);
  }
}

TEST(Trace, ExpertsAreCountedWhereTheRouterChooses) {
  const Engine engine = load_engine(fixture("qwen2_moe"), {2});
  const MoeConfig& moe = engine.config().moe;
  const Trace trace = trace_text(engine, some_ids(64), {});
  EXPECT_FALSE(trace.oracle_note.empty());
  EXPECT_TRUE(trace.oracle_both.empty());
  bool any = false;
  for (size_t layer = 0; layer < trace.layers.size(); ++layer) {
    const LayerTrace& l = trace.layers[layer];
    if (!engine.config().layers[layer].has_experts()) continue;
    any = true;
    EXPECT_EQ(l.rule, ActiveRule::kRouted);
    EXPECT_EQ(l.n_units, moe.n_expert);
    uint64_t n = 0;
    for (uint32_t count : l.counts) n += count;
    EXPECT_EQ(n, 64 * moe.n_expert_used);
    EXPECT_NEAR(l.union_far[0], double(moe.n_expert_used) / double(moe.n_expert), 1e-9);
    EXPECT_FALSE(l.needed_99.has_value());
  }
  EXPECT_TRUE(any);
}

TEST(Trace, KeepsTheMapsOfTheHeadsThatWereAskedFor) {
  const Engine engine = load_engine(fixture("opt_sparse"), {2});
  TraceOptions options;
  options.oracle_tokens = 0;
  options.heads = {{1, 3}, {0, 0}};
  const Trace trace = trace_text(engine, some_ids(30), options);
  ASSERT_EQ(trace.maps.size(), 2u);
  EXPECT_EQ(trace.excerpt.size(), 30u);
  EXPECT_EQ(trace.maps[0].weights.size(), 900u);
  options.heads = {{0, 4}};
  EXPECT_THROW(trace_text(engine, some_ids(30), options), Error);
}

TEST(Trace, SaysWhatIsWrong) {
  const Engine engine = load_engine(fixture("opt_sparse"), {2});
  EXPECT_THROW(trace_text(engine, some_ids(1), {}), Error);
  EXPECT_THROW(trace_text(engine, {}, {}), Error);
  Stop stop;
  const StopScope scope(*engine.compute, &stop);
  stop.request();
  try {
    trace_text(engine, some_ids(64), {});
    FAIL() << "the stop was not noticed";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInterrupted);
  }
}

// A layer without active neurons is a finding; NaN is an error that names the layer and the token.
TEST(TraceObserver, ASilentLayerIsCountedAndNaNIsRefused) {
  const Engine engine = load_engine(fixture("opt_sparse"), {2});
  const ModelConfig& c = engine.config();
  const Sample sample = Sample::spread_over(1, 8);
  TraceObserver observer(engine, sample, 8, {});
  observer.begin_window(0);
  std::vector<float> zeros(8 * std::max(c.n_ff, c.n_embd));
  const MatView<const float> resid(zeros.data(), 8, c.n_embd), act(zeros.data(), 8, c.n_ff);
  for (size_t layer = 0; layer < c.n_layer; ++layer) {
    observer.on_residual(layer, resid);
    observer.on_heads(layer, {zeros.data(), 8, c.n_head * c.d_head});
    observer.on_branch(layer, Branch::kAttention, resid, resid);
    observer.on_mlp({layer}, resid, act);
    observer.on_branch(layer, Branch::kMlp, resid, resid);
  }
  observer.on_residual(c.n_layer, resid);
  Trace trace;
  observer.finish(trace);
  for (const LayerTrace& l : trace.layers) {
    EXPECT_EQ(l.active.mean, 0.0);
    EXPECT_EQ(l.needed_99->mean, 0.0);
    EXPECT_EQ(l.heads_99.mean, 0.0);
    EXPECT_EQ(l.union_far.back(), 0.0);
    EXPECT_EQ(l.mlp.ratio, 0.0);
  }
  for (double v : trace.cosine) EXPECT_TRUE(std::isfinite(v));

  zeros[5 * c.n_ff + 3] = std::numeric_limits<float>::quiet_NaN();
  observer.begin_window(0);
  observer.on_residual(0, resid);
  try {
    observer.on_mlp({1}, resid, act);
    FAIL() << "NaN was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("layer 1, token 5"), std::string::npos) << e.what();
  }
}

TEST(Sample, RunsLieInWindowsAndInBatches) {
  for (const auto& [n_windows, n_ctx] :
       {std::pair<size_t, size_t>{4, 512}, {1, 100}, {3, 20}, {1, 2048}, {50, 64}, {2, 700}, {1, 2}}) {
    const Sample s = Sample::spread_over(n_windows, n_ctx);
    EXPECT_GE(s.firsts.size(), 1u);
    EXPECT_LE(s.n_tokens(), 512u);
    for (size_t i = 0; i < s.firsts.size(); ++i) {
      const size_t in_window = s.firsts[i] % n_ctx;
      EXPECT_LT(s.firsts[i], n_windows * n_ctx);
      EXPECT_LE(in_window + s.n_run, n_ctx);
      EXPECT_EQ(in_window / Context::kBatchTokens, (in_window + s.n_run - 1) / Context::kBatchTokens);
      EXPECT_TRUE(i == 0 || s.firsts[i] >= s.firsts[i - 1] + s.n_run);
    }
  }
}

}  // namespace
}  // namespace hunch
