// Models that make vectors of texts, against float64 outputs: every token's hidden states after every layer, and the
// scores of pairs, from the HF folder, from the GGUF that hunch writes of it, and from llama.cpp's where there is one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/test_paths.h"
#include "io/gguf.h"
#include "kernels/each_target.h"
#include "kernels/gemm_tiles.h"
#include "model/arch/test_folder.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/ops.h"
#include "model/transformer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr float kTolerance = 1e-4f;

// The streams that a pass shows, one layer after the other.
struct Streams : Observer {
  std::vector<float> values;
  void on_residual(size_t, MatView<const float> resid) override {
    for (size_t t = 0; t < resid.rows; ++t) values.insert(values.end(), resid.row(t).begin(), resid.row(t).end());
  }
};

struct Text {
  std::vector<int32_t> ids;
  size_t second_begins = SIZE_MAX;
};

// [n_layer + 1, all tokens, n_embd] of one step for all texts, the last after the final norm where the model has one.
std::vector<float> streams(const Model& model, Compute& compute, std::span<const Text> texts) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 512);
  Transformer transformer(model, cache, compute);
  std::vector<int32_t> ids;
  std::vector<Run> runs;
  for (const Text& text : texts) {
    ids.insert(ids.end(), text.ids.begin(), text.ids.end());
    runs.push_back({cache.create(), text.ids.size()});
    runs.back().second_begins = text.second_begins;
  }
  Streams watch;
  transformer.observer = &watch;
  transformer.run({ids, runs, {}});
  const ModelConfig& c = model.config();
  const MatView<float> last(&watch.values[c.n_layer * ids.size() * c.n_embd], ids.size(), c.n_embd);
  if (c.final_norm) norm_rows(compute, c.norm, c.norm_eps, last, model.weights().output_norm, last);
  return watch.values;
}

float worst_difference(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size()) return INFINITY;
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::isnan(got[i]) ? INFINITY : std::abs(got[i] - want[i]));
  return worst;
}

struct Golden {
  explicit Golden(const fs::path& folder) : data(folder / "golden") {
    for (size_t s = 0; s < data.sequences.size(); ++s) {
      const auto& text = data.json().at("sequences")[s];
      texts.push_back({data.sequences[s].ids, text.value("second_begins", SIZE_MAX)});
    }
  }
  GoldenData data;
  std::vector<Text> texts;
};

// Returns the largest difference, for the log.
float expect_golden(ModelFile file, const Golden& golden, Compute& compute) {
  const std::optional<WithoutTiles> without =
      multiplies_tiles() ? std::optional<WithoutTiles>(std::in_place) : std::nullopt;
  const Model model(std::move(file), {}, compute);
  const size_t n_embd = model.config().n_embd, n_layer = model.config().n_layer;
  float worst = 0;
  for (size_t s = 0; s < golden.texts.size(); ++s) {
    const size_t n = golden.texts[s].ids.size() * n_embd;
    const std::string name = fmt::format("s{}.", s);
    const std::vector<float> got = streams(model, compute, {&golden.texts[s], 1});
    if (got.size() != (n_layer + 1) * n) ADD_FAILURE() << got.size() << " values";
    if (golden.data.has(name + "hidden"))  // of models without that norm
      worst = std::max(worst, worst_difference(got, golden.data.array(name + "hidden")));
    const auto last = std::span(got).last(n);
    worst = std::max(worst, worst_difference(last, golden.data.array(name + "token_embeddings")));
    if (golden.data.has(name + "score")) {
      const RankHead& head = model.weights().rank_head;
      std::vector<float> state(last.begin(), last.begin() + ptrdiff_t(n_embd));
      for (size_t i = 0; head.of_mean && i < n_embd; ++i) {
        double sum = 0;
        for (size_t at = i; at < last.size(); at += n_embd) sum += last[at];
        state[i] = float(sum / double(last.size() / n_embd));
      }
      worst = std::max(worst, std::abs(head.score(state) - golden.data.array(name + "score")[0]));
    }
  }
  EXPECT_LE(worst, kTolerance);

  // All in one step: each text sees itself only.
  const std::vector<float> together = streams(model, compute, golden.texts);
  size_t at = together.size();
  for (const Text& text : golden.texts) at -= text.ids.size() * n_embd;
  for (size_t s = 0; s < golden.texts.size(); at += golden.texts[s++].ids.size() * n_embd)
    EXPECT_LE(worst_difference(std::span(together).subspan(at, golden.texts[s].ids.size() * n_embd),
                               golden.data.array(fmt::format("s{}.token_embeddings", s))),
              kTolerance);
  return worst;
}

const fs::path kFixtures = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "embedding";

std::vector<fs::path> folders() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(kFixtures))
    if (fs::exists(entry.path() / "config.json")) all.push_back(entry.path());
  if (const auto shared = shared_path("golden/models2/bert")) all.push_back(*shared);
  std::ranges::sort(all);
  return all;
}

class EmbeddingGolden : public ::testing::TestWithParam<fs::path> {
 protected:
  Compute compute_{2};
  fs::path folder_ = GetParam();
  Golden golden_{folder_};
  void expect(OpenedModel opened, const char* from) {
    EXPECT_EQ(opened.unread, std::vector<std::string>());
    EXPECT_EQ(opened.unused, std::vector<std::string>());
    RecordProperty(from, fmt::format("{:.1e}", expect_golden(std::move(opened.file), golden_, compute_)));
  }
};

TEST_P(EmbeddingGolden, FromTheHfFolder) { expect(open_model(folder_), "hf"); }

TEST_P(EmbeddingGolden, FromTheGguf) {
  const fs::path path =
      fs::temp_directory_path() / fmt::format("hunch_embedding_{}_{}.gguf", folder_.filename().string(), getpid());
  write_gguf(path, open_model(folder_).file);
  OpenedModel opened = open_model(path);
  fs::remove(path);
  EXPECT_EQ(opened.source, "GGUF");
  expect(std::move(opened), "gguf");
}

TEST_P(EmbeddingGolden, FromTheGgufInTheFolder) {
  const fs::path path = folder_ / (folder_.filename().string() + ".gguf");
  if (!fs::exists(path)) GTEST_SKIP() << "it has none";
  expect(open_model(path), "gguf_in_folder");
}

TEST_P(EmbeddingGolden, OnEveryTarget) {
  Compute compute(1);
  for_each_target([&] { expect_golden(open_model(folder_).file, golden_, compute); });
}

INSTANTIATE_TEST_SUITE_P(Models, EmbeddingGolden, ::testing::ValuesIn(folders()),
                         [](const auto& info) { return info.param.filename().string(); });

// --- what such models cannot do ---------------------------------------------------------------------

std::string error_of(ErrorKind kind, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

class Whole : public ::testing::Test {
 protected:
  Compute compute_{1};
  Model model_{open_model(kFixtures / "tiny_bert").file, {}, compute_};
  KvCache cache_{Transformer::kv_shape(model_.config(), DType::kF32, 16), 256};
  Transformer transformer_{model_, cache_, compute_};
  KvCache::SequenceId sequence_ = cache_.create();
  std::string refused(ErrorKind kind, std::vector<int32_t> ids, hunch::Run run, std::vector<uint32_t> rows = {}) {
    run.sequence = sequence_;
    run.n_tokens = ids.size();
    return error_of(kind, [&] { transformer_.run({ids, {&run, 1}, rows}); });
  }
};

TEST_F(Whole, ItHasNoLogits) {
  EXPECT_NE(refused(ErrorKind::kUnsupported, {5, 6}, {}, {1}).find("no output matrix"), std::string::npos);
}

TEST_F(Whole, ATextIsNotContinued) {
  const hunch::Run run{sequence_, 2};
  const std::vector<int32_t> ids = {5, 6};
  transformer_.run({ids, {&run, 1}, {}});
  EXPECT_NE(refused(ErrorKind::kUnsupported, {7}, {}).find("as a whole"), std::string::npos);
  cache_.truncate(sequence_, 0);
  refused(ErrorKind::kUnsupported, {7}, {.phase = Phase::kDecode});
}

TEST_F(Whole, NorIsItLongerThanTheTable) {
  const std::string what = refused(ErrorKind::kLimit, std::vector<int32_t>(49, 5), {});
  EXPECT_NE(what.find("49 tokens"), std::string::npos) << what;
  EXPECT_NE(what.find("48 positions"), std::string::npos) << what;
}

// --- what checkpoints may say ------------------------------------------------------------------------

TestFolder tiny_folder(const std::string& more, const std::string& prefix = "") {
  TestFolder folder(R"({"model_type": "bert", "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2,
                        "num_hidden_layers": 1, "max_position_embeddings": 9, "layer_norm_eps": 0.01)" +
                    more + "}");
  folder.add(prefix + "embeddings.word_embeddings.weight", {16, 8});
  folder.add(prefix + "embeddings.position_embeddings.weight", {9, 8});
  folder.add(prefix + "embeddings.token_type_embeddings.weight", {2, 8});
  for (const char* norm :
       {"embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"}) {
    folder.add(prefix + norm + std::string(".gamma"), {8});
    folder.add(prefix + norm + std::string(".beta"), {8});
  }
  for (const char* matrix :
       {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"})
    folder.add_with_bias(prefix + "encoder.layer.0." + matrix, {8, 8});
  folder.add_with_bias(prefix + "encoder.layer.0.intermediate.dense", {12, 8});
  folder.add_with_bias(prefix + "encoder.layer.0.output.dense", {8, 12});
  return folder;
}

TEST(Bert, OldNamesOfNormsAreRead) {
  Compute compute(1);
  const TestFolder folder = tiny_folder("", "bert.");
  const Model model(folder.import("bert"), {}, compute);
  const auto gamma = folder.values("bert.encoder.layer.0.output.LayerNorm.gamma");
  EXPECT_EQ(model.weights().layers[0].ffn_norm.weight, gamma);
  EXPECT_EQ(model.weights().layers[0].attn_norm.bias,
            folder.values("bert.encoder.layer.0.attention.output.LayerNorm.beta"));
  EXPECT_EQ(model.weights().output, nullptr);
  EXPECT_EQ(model.config().layers[0].activation, Activation::kGeluErf);
}

TEST(Bert, RefusesByNameWhatItDoesNotDo) {
  const auto refused = [](const char* more) {
    return error_of(ErrorKind::kUnsupported, [&] { tiny_folder(more).import("bert"); });
  };
  EXPECT_NE(refused(R"(, "position_embedding_type": "relative_key")").find("relative_key"), std::string::npos);
  EXPECT_NE(refused(R"(, "is_decoder": true)").find("is_decoder"), std::string::npos);
}

TEST(Bert, SlopesGoWithCausalLayersOnly) {
  ModelConfig config = config_from_gguf(tiny_folder("").import("bert"));
  config.position = PositionKind::kAlibi;
  lay_out(config);
  EXPECT_NE(error_of(ErrorKind::kUnsupported, [&] { validate(config); }).find("ALiBi"), std::string::npos);
}

TEST(RankHead, WithoutADenseLayerClassifiesTheStateItself) {
  const RankHead head{.n_labels = 1, .dense = {}, .dense_bias = {}, .out = {2, -1}, .out_bias = {0.5f}};
  EXPECT_FLOAT_EQ(head.score(std::vector<float>{3, 4}), 2.5f);
}

}  // namespace
}  // namespace hunch
