// Memories of whole models: what attention gave, against softmaxes over the cache and what was remembered.
#include "engine/memory_build.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <complex>
#include <numeric>
#include <random>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "engine/test_texts.h"
#include "kernels/kv_rows.h"
#include "model/observer.h"
#include "model/rope_table.h"
#include "model/test_steps.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct File {
  explicit File(const Memory& memory) { write_memory(path, memory); }
  ~File() { fs::remove(path); }
  const fs::path path = fs::temp_directory_path() / ("hunch-built-" + std::to_string(::getpid()) + ".hmem");
};

// Holds the heads' outputs of a layer against the reference.
class Checker final : public Observer {
 public:
  Checker(const Engine& engine, Context& context, size_t layer) : engine_(engine), context_(context), layer_(layer) {}
  size_t n_checked = 0;

  void on_attention(size_t layer, MatView<const float> q, MatView<const float>, MatView<const float>) override {
    if (layer == layer_) q_.assign(q.data, q.data + q.rows * q.cols);
  }
  void on_heads(size_t layer, MatView<const float> out) override {
    if (layer != layer_) return;
    const LayerConfig& c = engine_.config().layers[layer];
    const KvView view = context_.sequence().cache().view(context_.sequence().id(), layer);
    for (size_t t = 0; t < out.rows; ++t)
      for (size_t h = 0; h < c.n_head; ++h) {
        const std::vector<double> want = expected(c, view, view.n_tokens - out.rows + t, t, h, out.cols);
        for (size_t i = 0; i < c.d_head; ++i) ASSERT_NEAR(out.row(t)[h * c.d_head + i], want[i], 1e-4) << t << " " << h;
        ++n_checked;
      }
  }

 private:
  std::vector<double> expected(const LayerConfig& c, const KvView& view, size_t position, size_t t, size_t h,
                               size_t width) const {
    const size_t d = c.d_head, kv_head = h / (c.n_head / c.n_kv_head);
    const std::vector<double> q(q_.begin() + ptrdiff_t(t * width + h * d),
                                q_.begin() + ptrdiff_t(t * width + (h + 1) * d));
    std::vector<double> scores;
    std::vector<std::vector<float>> values;
    std::vector<float> row(d);
    for (size_t j = 0; j <= position; ++j) {
      read_kv_rows(view, KvPart::kKeys, kv_head, j, {row.data(), 1, d});
      scores.push_back(c.attn_scale * std::inner_product(q.begin(), q.end(), row.begin(), 0.0));
      if (!c.alibi_slopes.empty()) scores.back() -= c.alibi_slopes[h] * double(position - j);
      read_kv_rows(view, KvPart::kValues, kv_head, j, {row.data(), 1, d});
      values.push_back(row);
    }
    std::vector<double> home = q;
    if (engine_.config().position == PositionKind::kRope) {
      const RopeTable& rope = engine_.model->rope(c);
      std::vector<double> own;
      const auto frequencies = rope.frequencies(view.n_tokens, own);
      for (size_t p = 0; p < rope.n_pairs(); ++p) {
        const size_t a = c.rope_interleaved ? 2 * p : p, b = c.rope_interleaved ? 2 * p + 1 : p + rope.n_pairs();
        const auto z = std::complex(home[a], home[b]) * std::polar(1.0, -frequencies.of[p] * double(position));
        home[a] = z.real(), home[b] = z.imag();
      }
    }
    const MemoryReader& reader = *engine_.memory;
    const MemoryHead& memory = reader.at(layer_)[kv_head];
    std::vector<std::pair<double, size_t>> found;
    for (size_t j = 0; j < memory.keys.rows; ++j) {
      codec(DType::kF16).decode(memory.keys.row(j), row.data(), d);
      found.emplace_back(-c.attn_scale * std::inner_product(home.begin(), home.end(), row.begin(), 0.0), j);
    }
    std::ranges::sort(found);
    found.resize(std::min(found.size(), reader.top));
    for (const auto& [score, j] : found) {
      scores.push_back(-score);
      codec(DType::kF16).decode(memory.values.row(j), row.data(), d);
      values.push_back(row);
    }
    const double max = std::ranges::max(scores);
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - max);
    std::vector<double> mixed(d);
    for (size_t j = 0; j < scores.size(); ++j)
      for (size_t i = 0; i < d; ++i) mixed[i] += scores[j] / sum * values[j][i];
    return mixed;
  }

  const Engine& engine_;
  Context& context_;
  const size_t layer_;
  std::vector<float> q_;
};

TEST(Memories, JoinTheSoftmaxOfPromptsAndTokens) {
  for (const char* model : {"tiny_llama", "tiny_bloom", "tiny_gptj", "tiny_qwen3", "tiny_opt"}) {
    SCOPED_TRACE(model);
    const Engine plain = load_engine(golden_fixture(model), {.n_threads = 2});
    const size_t layer = plain.config().n_layer - 1;
    const File file(build_memory(plain, some_ids(plain, 70, 1), {.layers = {layer}, .n_ctx = 24}));
    EngineOptions options{.n_threads = 2};
    options.memory = {file.path, 9, -1};
    const Engine engine = load_engine(golden_fixture(model), options);
    ContextOptions own;
    own.n_ctx = 48;
    Context context(engine, own), without(plain, own);
    Checker checker(engine, context, layer);
    context.set_observer(&checker);
    const std::vector<int32_t> ids = some_ids(engine, 20, 2);
    context.append(std::span(ids).first(17));
    for (size_t t = 17; t < 20; ++t) context.decode(std::span(ids).subspan(t, 1));
    EXPECT_EQ(checker.n_checked, 20 * engine.config().layers[layer].n_head);
    const std::span<const float> a = context.verify(std::span(ids).first(2)).row(1), b = without.append(ids);
    float most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    EXPECT_GT(most, 1e-3f);
  }
}

TEST(Memories, WithAGateOfNothingChangeNothing) {
  const Engine plain = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const File file(build_memory(plain, some_ids(plain, 30, 1), {.layers = {0, 1}}));
  EngineOptions options{.n_threads = 1};
  options.memory = {file.path, 4, 0};
  const Engine engine = load_engine(golden_fixture("tiny_llama"), options);
  Context with(engine, {}), without(plain, {});
  const std::vector<int32_t> ids = some_ids(engine, 20, 2);
  const std::span<const float> a = with.append(ids), b = without.append(ids);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5);
}

TEST(Memories, HoldEveryTokenOnceWhateverTheWindows) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 53, 1);
  const Memory whole = build_memory(engine, ids, {.layers = {0}, .n_ctx = 56});
  for (const size_t n_ctx : {2, 7, 16, 54}) {
    const Memory parts = build_memory(engine, ids, {.layers = {0}, .n_ctx = n_ctx});
    ASSERT_EQ(parts.n_tokens, 53u) << n_ctx;
    // In the first layer a key does not depend on what stands before it.
    std::vector<float> a(8), b(8);
    for (size_t j = 0; j < 53; ++j) {
      codec(DType::kF16).decode(whole.layers[0][1].keys.row(j), a.data(), 8);
      codec(DType::kF16).decode(parts.layers[0][1].keys.row(j), b.data(), 8);
      for (size_t i = 0; i < 8; ++i) ASSERT_NEAR(a[i], b[i], 4e-3 * (1 + std::abs(a[i]))) << n_ctx << " " << j;
    }
  }
  EXPECT_FALSE(build_memory(engine, ids, {}).layers[1].empty()) << "by itself the layer at three quarters";
}

TEST(Memories, AreRefusedWhereTheyDoNotFit) {
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const File file(build_memory(engine, some_ids(engine, 30, 1), {}));
  EngineOptions options{.n_threads = 1};
  options.memory = {file.path, 4, -1};
  const std::string other = message([&] { load_engine(golden_fixture("tiny_qwen2"), options); });
  EXPECT_NE(other.find("the memory is of"), std::string::npos) << other;
  EXPECT_NE(other.find(file.path.string()), std::string::npos);
  options.memory.top = 0;
  EXPECT_NE(message([&] { load_engine(golden_fixture("tiny_llama"), options); }).find("expected at least 1"),
            std::string::npos);
  options.memory.top = 4;
  const Engine with = load_engine(golden_fixture("tiny_llama"), options);
  ContextOptions own;
  own.keys = key_policy_from("quest:32");
  EXPECT_NE(message([&] { Context(with, own); }).find("looks into no memory"), std::string::npos);
  EXPECT_NE(message([&] { build_memory(engine, some_ids(engine, 5, 1), {.layers = {7}}); }).find("cannot remember"),
            std::string::npos);
  EXPECT_NE(message([&] { build_memory(engine, {}, {}); }).find("nothing to remember"), std::string::npos);
}

}  // namespace
}  // namespace hunch
