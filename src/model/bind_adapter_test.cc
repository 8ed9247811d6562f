// Adapters against the model whose checkpoint has the sums as weights, of every architecture; and against PEFT's own
// outputs.
#include "model/bind_adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <random>

#include "formats/format.h"
#include "io/gguf.h"
#include "io/hf_folder.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"
#include "kernels/ops.h"
#include "model/architecture.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

using Floats = std::vector<float>;

// Logits of all positions.
Floats logits_of(const Model& model, Compute& compute, std::span<const int32_t> ids, const Adapter* adapter,
                 const Plan* plan = nullptr) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 512);
  Transformer transformer(model, cache, compute);
  Run run{cache.create(), ids.size(), plan ? Phase::kDecode : Phase::kPrompt, plan};
  run.adapter = adapter;
  const std::vector<uint32_t> rows = rows_up_to(ids.size());
  const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
  return {logits.data, logits.data + logits.rows * logits.cols};
}

std::shared_ptr<const Adapter> bound(Model& model, Compute& compute, const AdapterFile& file, float scale = 1) {
  const AdapterChoice choice{&file, scale};
  std::shared_ptr<const Adapter> adapter = bind_adapters(model, compute, {&choice, 1});
  model.adapt(*adapter);
  return adapter;
}

// A PEFT adapter of random values for every matrix of a checkpoint, and the checkpoint with the sums.
class Tuned {
 public:
  explicit Tuned(const fs::path& path, bool dora = false) : dora_(dora), folder_(open_hf_folder(path)) {
    const ModelFile model = open_model(path).file;
    arch_ = &architecture_by_gguf_name(model.meta.get_string("general.architecture"));
    for (Tensor& t : folder_.tensors) {
      const bool other = t.name.find("positions") != t.name.npos || t.name.find("wpe") != t.name.npos ||
                         t.name.find("norm") != t.name.npos ||  // Cohere has norms of every head
                         t.name.find("kv_b_proj") != t.name.npos || t.name.ends_with("_bias") ||  // refused, by experts
                         t.name.ends_with("r_net.weight");  // refused: Transformer-XL's of distances
      const bool embedding = t.name.ends_with("embed_tokens.weight") || t.name.ends_with("wte.weight") ||
                             t.name.find("word_embeddings.weight") != t.name.npos ||
                             t.name.ends_with("embed_in.weight") || t.name.ends_with("embed_tokens_per_layer.weight") ||
                             t.name.find("altup.") != t.name.npos ||  // small ones, which are no matrices here
                             t.name.find("word_emb.") != t.name.npos || t.name.starts_with("crit.");  // by clusters
      // Its last two layers read the keys of others: their own are in the checkpoint for nothing, and refused.
      const bool unread =
          path.filename() == "tiny_gemma3n" &&
          (t.name.find("layers.3.self_attn.") != t.name.npos || t.name.find("layers.4.self_attn.") != t.name.npos) &&
          (t.name.ends_with("k_proj.weight") || t.name.ends_with("v_proj.weight"));
      if (t.shape.size() == 2 && !other && !embedding && !unread) adapt(t);
    }
  }

  AdapterFile adapter() const {
    return parse_peft_adapter(fmt::format(R"({{"peft_type":"LORA","r":{},"lora_alpha":{},"target_modules":"all-linear",
                                              "use_dora":{}}})",
                                          kRank, kRank * kScale, dora_),
                              tensors_);
  }
  ModelFile base(const fs::path& path) const { return open_model(path).file; }
  ModelFile sum() const {
    HfImport hf(folder_, arch_->gguf_name);
    arch_->import_hf(hf);
    return hf.finish();
  }

 private:
  static constexpr size_t kRank = 2;
  static constexpr float kScale = 0.5f;

  Floats& values(size_t n, float mean = 0) {
    std::normal_distribution<float> normal(mean, 0.15f);
    Floats& x = memory_.emplace_back(n);
    for (float& v : x) v = normal(rng_);
    return x;
  }
  void add(const std::string& name, std::vector<uint64_t> shape, const Floats& x) {
    tensors_.push_back({"base_model.model." + name, DType::kF32, std::move(shape), std::as_bytes(std::span(x))});
  }
  void adapt(Tensor& t) {
    const bool turned = std::string_view(arch_->gguf_name) == "gpt2" && t.name.find("h.") != t.name.npos;  // Conv1D
    const size_t n_out = turned ? t.cols() : t.rows(), n_in = turned ? t.rows() : t.cols();
    const std::string module = t.name.substr(0, t.name.size() - std::string_view(".weight").size());
    const Floats &A = values(kRank * n_in), &B = values(n_out * kRank), &m = values(n_out, 1);
    add(module + ".lora_A.weight", {kRank, n_in}, A);
    add(module + ".lora_B.weight", {n_out, kRank}, B);
    if (dora_) add(module + ".lora_magnitude_vector", {n_out}, m);
    Floats& W = memory_.emplace_back(t.n_elems());
    codec(t.dtype).decode(t.data.data(), W.data(), W.size());
    for (size_t r = 0; r < n_out; ++r) {
      const auto at = [&](size_t c) -> float& { return turned ? W[c * n_out + r] : W[r * n_in + c]; };
      double norm = 0;
      for (size_t c = 0; c < n_in; ++c) {
        for (size_t k = 0; k < kRank; ++k) at(c) += kScale * B[r * kRank + k] * A[k * n_in + c];
        norm += double(at(c)) * double(at(c));
      }
      for (size_t c = 0; dora_ && c < n_in; ++c) at(c) *= m[r] / float(std::sqrt(norm));
    }
    t.dtype = DType::kF32;
    t.data = std::as_bytes(std::span(W));
  }

  bool dora_;
  HfFolder folder_;
  const Architecture* arch_ = nullptr;
  std::deque<Floats> memory_;
  std::vector<Tensor> tensors_;
  std::mt19937 rng_{3};
};

const std::vector<int32_t> kIds = {5, 9, 2, 40, 7, 7, 31, 12};

class Adapters : public ::testing::TestWithParam<fs::path> {
 protected:
  void expect_sum(const Tuned& tuned) {
    Model model(tuned.base(GetParam()), {}, compute_), sum(tuned.sum(), {}, compute_);
    const Floats before = logits_of(model, compute_, kIds, nullptr), want = logits_of(sum, compute_, kIds, nullptr);
    const auto adapter = bound(model, compute_, tuned.adapter());
    const Plan exact = Plan::exact(model.config());
    float size = 1;
    for (const float v : want) size = std::max(size, std::abs(v));
    EXPECT_GT(worst_difference(want, before), 0.05f) << "the adapter changes nothing";
    EXPECT_LE(worst_difference(logits_of(model, compute_, kIds, adapter.get()), want), 1e-4f * size);
    EXPECT_LE(worst_difference(logits_of(model, compute_, kIds, adapter.get(), &exact), want), 1e-4f * size);
    EXPECT_EQ(worst_difference(logits_of(model, compute_, kIds, nullptr), before), 0) << "runs without one";
  }
  Compute compute_{2};
};

TEST_P(Adapters, ComputeWhatTheSumsCompute) { expect_sum(Tuned(GetParam())); }
TEST_P(Adapters, ComputeWhatTheStretchedSumsCompute) { expect_sum(Tuned(GetParam(), true)); }

std::vector<fs::path> fixtures() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(golden_fixture("")))
    if (fs::exists(entry.path() / "config.json") && entry.path().filename() != "tiny_bitnet")  // there is no such sum
      folders.push_back(entry.path());
  std::ranges::sort(folders);
  return folders;
}
INSTANTIATE_TEST_SUITE_P(Fixtures, Adapters, ::testing::ValuesIn(fixtures()),
                         [](const auto& i) { return i.param.filename().string(); });

class BindAdapter : public ::testing::Test {
 protected:
  fs::path folder_ = golden_fixture("llama_mha");
  Compute compute_{1};
  Model model_{open_model(folder_).file, {}, compute_};

  AdapterMatrix matrix(const std::string& tensor, size_t n_out, size_t n_in) const {
    return {tensor, 1, n_in, n_out, Floats(n_in, 0.1f), Floats(n_out, 0.2f), 1, {}};
  }
  std::string refusal(ErrorKind kind, const AdapterFile& file, float scale = 1) {
    const AdapterChoice choice{&file, scale};
    return message_of(kind, [&] { bind_adapters(model_, compute_, {&choice, 1}); });
  }
  size_t n_embd() const { return model_.config().n_embd; }
};

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

TEST_F(BindAdapter, TakesTensorsByGgufNames) {
  const AdapterFile file{"tone", "llama", {matrix("blk.0.attn_v.weight", n_embd(), n_embd())}, {}};
  const auto adapter = bound(model_, compute_, file);
  ASSERT_EQ(adapter->parts.size(), 1u);
  EXPECT_EQ(adapter->parts.begin()->first, (LinearId{0, Role::kValue}));
  EXPECT_EQ(adapter->name, "tone");
}

TEST(BindAdapterToTernary, AddsPlainLoraAndRefusesWhatNeedsItsWeights) {
  Compute compute(1);
  Model model(open_model(golden_fixture("tiny_bitnet")).file, {}, compute);
  AdapterFile file{
      "tone", "", {{"model.layers.1.mlp.up_proj.weight", 1, 64, 128, Floats(64, 0.1f), Floats(128, 0.2f), 1, {}}}, {}};
  const Floats before = logits_of(model, compute, kIds, nullptr);
  const auto adapter = bound(model, compute, file);
  EXPECT_GT(worst_difference(logits_of(model, compute, kIds, adapter.get()), before), 0.01f);
  EXPECT_EQ(logits_of(model, compute, kIds, nullptr), before);
  file.matrices[0].magnitude = Floats(128, 1.0f);
  const AdapterChoice choice{&file, 1};
  EXPECT_NE(message_of(ErrorKind::kUnsupported,
                       [&] {
                         bind_adapters(model, compute, {&choice, 1});
                       })
                .find("ternary"),
            std::string::npos);
}

TEST_F(BindAdapter, ScalesAndAddsUp) {
  const Tuned tuned(folder_);
  const AdapterFile file = tuned.adapter();
  AdapterFile twice = file;
  for (AdapterMatrix& m : twice.matrices) m.scale *= 2;
  const Floats none = logits_of(model_, compute_, kIds, nullptr);
  const AdapterChoice halves[] = {{&twice, 0.25f}, {&file, 0.5f}};
  const auto sum = bind_adapters(model_, compute_, halves), whole = bound(model_, compute_, file);
  EXPECT_LE(
      worst_difference(logits_of(model_, compute_, kIds, sum.get()), logits_of(model_, compute_, kIds, whole.get())),
      1e-4f);
  EXPECT_EQ(sum->name, file.name + " x 0.25 + " + file.name + " x 0.5");
  const auto nothing = bound(model_, compute_, file, 0);
  EXPECT_LE(worst_difference(logits_of(model_, compute_, kIds, nothing.get()), none), 1e-5f);
}

TEST_F(BindAdapter, StretchedSumsScaleToo) {
  const AdapterFile file = Tuned(folder_, true).adapter();
  const Floats none = logits_of(model_, compute_, kIds, nullptr);
  const auto nothing = bound(model_, compute_, file, 0), whole = bound(model_, compute_, file);
  EXPECT_LE(worst_difference(logits_of(model_, compute_, kIds, nothing.get()), none), 1e-5f);
  EXPECT_GT(worst_difference(logits_of(model_, compute_, kIds, whole.get()), none), 0.05f);
}

TEST_F(BindAdapter, RefusesByNameWhatDoesNotFit) {
  const auto up = [&](size_t n_out, size_t n_in) {
    return AdapterFile{"tone", "", {matrix("model.layers.1.mlp.up_proj.weight", n_out, n_in)}, {}};
  };
  const size_t n_ff = model_.config().n_ff;
  EXPECT_SAYS(refusal(ErrorKind::kFormat, up(n_ff + 8, n_embd())),
              fmt::format("'tone': its 'model.layers.1.mlp.up_proj.weight' is for [{}, {}], the model's "
                          "'blk.1.ffn_up.weight' is [{}, {}]",
                          n_ff + 8, n_embd(), n_ff, n_embd()));
  EXPECT_SAYS(refusal(ErrorKind::kFormat, up(n_ff, 3)), fmt::format("[{}, 3]", n_ff));
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, {"tone", "", {matrix("model.layers.0.fc1.weight", 8, 8)}, {}}),
              "'model.layers.0.fc1.weight', which a llama model does not have");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, {"tone", "", {matrix("model.layers.99.mlp.up_proj.weight", 8, 8)}, {}}),
              "layers.99");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, {"tone", "opt", {matrix("blk.0.ffn_up.weight", 8, 8)}, {}}), "'opt'");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, {"tone", "llama", {matrix("blk.0.ffn_sub.weight", 8, 8)}, {}}),
              "'blk.0.ffn_sub.weight'");
  const AdapterFile norm{"tone", "", {}, {{"model.norm.weight", {n_embd()}, Floats(n_embd(), 1)}}};
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, norm), "'model.norm.weight'");
}

TEST_F(BindAdapter, TakesMatricesThatAreSavedWhole) {
  const size_t n_vocab = model_.config().n_vocab;
  const Tensor& own =
      model_.file().find("output.weight") ? model_.file().get("output.weight") : model_.file().get("token_embd.weight");
  Floats W(n_vocab * n_embd());
  codec(own.dtype).decode(own.data.data(), W.data(), W.size());
  const Floats before = logits_of(model_, compute_, kIds, nullptr);
  const AdapterFile same{"tone", "", {}, {{"lm_head.weight", {n_vocab, n_embd()}, W}}};
  EXPECT_TRUE(bound(model_, compute_, same)->parts.empty()) << "unchanged weights need no place";
  for (float& w : W) w *= -2;
  const AdapterFile changed{"tone", "", {}, {{"lm_head.weight", {n_vocab, n_embd()}, W}}};
  const auto adapter = bound(model_, compute_, changed);
  Floats want = before;
  for (float& v : want) v *= -2;
  EXPECT_LE(worst_difference(logits_of(model_, compute_, kIds, adapter.get()), want), 1e-4f);
  EXPECT_SAYS(refusal(ErrorKind::kUsage, changed, 0.5f), "lm_head.weight");
}

// The outputs that PEFT computed.
class GoldenAdapters : public ::testing::TestWithParam<const char*> {};

void expect_golden(ModelFile file, const fs::path& folder) {
  Compute compute(1);
  Model model(std::move(file), {}, compute);
  const auto adapter = bound(model, compute, open_adapter(folder));
  const GoldenData golden(folder / "golden");
  const Plan exact = Plan::exact(model.config());
  for (size_t s = 0; s < golden.sequences.size(); ++s) {
    const Floats want = golden.array("s" + std::to_string(s) + ".logits");
    for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact})
      EXPECT_LE(worst_difference(logits_of(model, compute, golden.sequences[s].ids, adapter.get(), plan), want), 1e-4f)
          << "sequence " << s << (plan ? ", exact" : "");
    std::vector<int32_t> ids = golden.sequences[s].ids, greedy;
    while (greedy.size() < golden.sequences[s].greedy.size()) {
      const Floats logits = logits_of(model, compute, ids, adapter.get());
      greedy.push_back(int32_t(argmax(std::span(logits).last(model.config().n_vocab))));
      ids.push_back(greedy.back());
    }
    EXPECT_EQ(greedy, golden.sequences[s].greedy) << "sequence " << s;
  }
}

TEST_P(GoldenAdapters, GiveWhatPeftGives) {
  const std::string name = GetParam();
  const auto root = shared_path("golden");
  const std::string base = name.find("opt") == name.npos ? "models/llama" : "models/opt";
  if (!root || !fs::exists(*root / "adapters" / name) || !fs::exists(*root / base))
    GTEST_SKIP() << "needs golden/adapters and golden/models of the shared data";
  expect_golden(open_model(*root / base).file, *root / "adapters" / name);
  const TempDir dir("golden_adapter");  // the GGUF knows nothing of HF's names
  write_gguf(dir.path / "base.gguf", open_model(*root / base).file);
  expect_golden(open_model(dir.path / "base.gguf").file, *root / "adapters" / name);
}

INSTANTIATE_TEST_SUITE_P(Shared, GoldenAdapters,
                         ::testing::Values("lora_llama_all", "lora_llama_qv", "lora_llama_layers_save",
                                           "lora_llama_patterns", "rslora_llama_all", "dora_llama_all", "dora_llama_qv",
                                           "lora_opt_all", "lora_opt_qv", "ia3_llama", "ia3_opt"),
                         [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace hunch
