#include "io/adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <map>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// Tensors of counting values, 1, 2, 3, ...
struct Tensors {
  std::vector<Tensor> all;
  std::deque<std::vector<float>> memory;

  Tensors& add(const std::string& name, std::vector<uint64_t> shape) {
    size_t n = 1;
    for (uint64_t d : shape) n *= d;
    std::vector<float>& values = memory.emplace_back();
    for (size_t i = 0; i < n; ++i) values.push_back(float(i + 1));
    all.push_back({name, DType::kF32, shape, std::as_bytes(std::span(values))});
    return *this;
  }
  Tensors& pair(const std::string& module, uint64_t r = 2, uint64_t n_in = 3, uint64_t n_out = 4) {
    return add(module + ".lora_A.weight", {r, n_in}).add(module + ".lora_B.weight", {n_out, r});
  }
};

const std::string kUp = "base_model.model.model.layers.1.up";

std::string config(const std::string& more = "") {
  return R"({"peft_type":"LORA","r":2,"lora_alpha":8,"target_modules":["up"])" + more + "}";
}

std::string refusal(ErrorKind kind, const std::string& text, const Tensors& tensors) {
  return message_of(kind, [&] { parse_peft_adapter(text, tensors.all); });
}

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

TEST(PeftAdapter, HoldsMatricesByBaseTensor) {
  const AdapterFile adapter = parse_peft_adapter(config(), Tensors().pair(kUp).all);
  ASSERT_EQ(adapter.matrices.size(), 1u);
  const AdapterMatrix& m = adapter.matrices[0];
  EXPECT_EQ(m.tensor, "model.layers.1.up.weight");
  EXPECT_EQ(m.rank, 2u);
  EXPECT_EQ(m.n_in, 3u);
  EXPECT_EQ(m.n_out, 4u);
  EXPECT_EQ(m.A, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(m.view_B().row(3)[1], 8);
  EXPECT_EQ(m.scale, 4);
  EXPECT_TRUE(m.magnitude.empty());
}

TEST(PeftAdapter, ScalesAndRanksFollowPatternsAndRsLora) {
  Tensors tensors;
  tensors.pair("m.layers.0.up", 2).pair("m.layers.1.up", 4).pair("m.layers.1.xup", 2);
  const AdapterFile adapter = parse_peft_adapter(
      R"({"peft_type":"LORA","r":2,"lora_alpha":8,"use_rslora":true,
          "rank_pattern":{"layers.1.up":4},"alpha_pattern":{"1.up":32,"up":16},"target_modules":"all-linear"})",
      tensors.all);
  ASSERT_EQ(adapter.matrices.size(), 3u);
  EXPECT_FLOAT_EQ(adapter.matrices[0].scale, 16 / std::sqrt(2.0f));
  EXPECT_FLOAT_EQ(adapter.matrices[1].scale, 32 / std::sqrt(4.0f)) << "the first pattern that matches";
  EXPECT_FLOAT_EQ(adapter.matrices[2].scale, 8 / std::sqrt(2.0f)) << "xup is not up";
}

TEST(PeftAdapter, AnEmbeddingIsAMatrixLikeAnyOther) {
  Tensors tensors;  // A [rank 2, vocab 3], B [embd 4, rank 2]
  tensors.add("up.lora_embedding_A", {2, 3}).add("up.lora_embedding_B", {4, 2});
  const AdapterMatrix m = parse_peft_adapter(config(), tensors.all).matrices.at(0);
  EXPECT_EQ(m.n_out, 3u);
  EXPECT_EQ(m.n_in, 4u);
  EXPECT_EQ(m.B, (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(m.A, (std::vector<float>{1, 3, 5, 7, 2, 4, 6, 8}));
}

TEST(PeftAdapter, MagnitudesBelongToDoraAndToLinears) {
  Tensors with;
  with.pair(kUp).add(kUp + ".lora_magnitude_vector", {4});
  EXPECT_EQ(parse_peft_adapter(config(R"(,"use_dora":true)"), with.all).matrices[0].magnitude.size(), 4u);
  EXPECT_SAYS(refusal(ErrorKind::kFormat, config(), with), "use_dora: false");
  EXPECT_SAYS(refusal(ErrorKind::kFormat, config(R"(,"use_dora":true)"), Tensors().pair(kUp)), "no magnitudes");
  Tensors wrong;
  wrong.pair(kUp).add(kUp + ".lora_magnitude_vector", {5});
  EXPECT_SAYS(refusal(ErrorKind::kFormat, config(R"(,"use_dora":true)"), wrong), "5 magnitudes for 4 outputs");
  Tensors embedding;
  embedding.add("up.lora_embedding_A", {2, 3}).add("up.lora_embedding_B", {4, 2}).add("up.lora_magnitude_vector", {3});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(R"(,"use_dora":true)"), embedding), "embedding");
}

TEST(PeftAdapter, WholeTensorsReplaceTheBases) {
  Tensors tensors;
  tensors.pair(kUp).add("base_model.model.score.weight", {2, 3}).add("base_model.model.score.bias", {2});
  tensors.add("base_model.model.lm_head.base_layer.weight", {2, 2});
  const AdapterFile adapter = parse_peft_adapter(config(R"(,"modules_to_save":["score"])"), tensors.all);
  ASSERT_EQ(adapter.replaced.size(), 3u);
  EXPECT_EQ(adapter.replaced[0].tensor, "score.weight");
  EXPECT_EQ(adapter.replaced[0].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(adapter.replaced[1].tensor, "score.bias");
  EXPECT_EQ(adapter.replaced[2].tensor, "lm_head.weight");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(), tensors), "score.weight");
}

TEST(PeftAdapter, RefusesWhatItDoesNotUnderstandByName) {
  const Tensors plain = std::move(Tensors().pair(kUp));
  const auto unsupported = [&](const std::string& more) {
    return refusal(ErrorKind::kUnsupported, config("," + more), plain);
  };
  EXPECT_SAYS(unsupported(R"("lora_bias":true)"), "lora_bias");
  EXPECT_SAYS(unsupported(R"("init_lora_weights":"pissa_niter_4")"), "pissa_niter_4");
  EXPECT_SAYS(unsupported(R"("layer_replication":[[0,4],[2,5]])"), "layer_replication");
  EXPECT_SAYS(unsupported(R"("use_qalora":true)"), "use_qalora");
  EXPECT_SAYS(unsupported(R"("target_parameters":["experts.gate_up_proj"])"), "target_parameters");
  EXPECT_SAYS(unsupported(R"("rank_pattern":{"layers\\.[0-3]\\.up":4})"), "regular expression");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, R"({"peft_type":"IA3"})", plain), "IA3");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, R"({"peft_type":"P_TUNING"})", plain), "P_TUNING");

  Tensors bias = std::move(Tensors().pair(kUp).add(kUp + ".bias", {4}));
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(R"(,"bias":"all")"), bias), kUp + ".bias");
  EXPECT_NO_THROW(parse_peft_adapter(config(R"(,"bias":"lora_only")"), plain.all)) << "no bias in the file";
  EXPECT_SAYS(refusal(ErrorKind::kFormat, config(R"(,"bias":"some")"), plain), "some");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(), std::move(Tensors().pair(kUp).add("x.ia3_l", {4, 1}))),
              "ia3_l");
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(), std::move(Tensors().pair(kUp).add(kUp + ".lora_B.bias", {4}))),
              "own");
  Tensors conv;
  conv.add(kUp + ".lora_A.weight", {2, 3, 3, 3}).add(kUp + ".lora_B.weight", {4, 2, 1, 1});
  EXPECT_SAYS(refusal(ErrorKind::kUnsupported, config(), conv), "4 dimensions");
  EXPECT_NO_THROW(parse_peft_adapter(config(R"(,"new_option":null,"other":[],"third":false)"), plain.all));
}

TEST(PeftAdapter, RefusesContradictions) {
  const Tensors plain = std::move(Tensors().pair(kUp));
  const auto wrong = [&](const std::string& text, const Tensors& tensors) {
    return refusal(ErrorKind::kFormat, text, tensors);
  };
  EXPECT_SAYS(wrong("", plain), "not a JSON object");
  EXPECT_SAYS(wrong(std::string(100000, '['), plain), "nested");
  EXPECT_SAYS(wrong("{}", plain), "peft_type");
  EXPECT_SAYS(wrong(R"({"peft_type":"LORA","lora_alpha":1})", plain), "no 'r'");
  EXPECT_SAYS(wrong(R"({"peft_type":"LORA","r":0,"lora_alpha":1})", plain), "at least 1");
  EXPECT_SAYS(wrong(R"({"peft_type":"LORA","r":2,"lora_alpha":"x"})", plain), "lora_alpha");
  EXPECT_SAYS(wrong(R"({"peft_type":"LORA","r":2,"lora_alpha":1e300})", plain), "too large");
  EXPECT_SAYS(wrong(R"({"peft_type":"LORA","r":3,"lora_alpha":1})", plain), "rank 2, but adapter_config.json says 3");
  EXPECT_SAYS(wrong(config(R"(,"layers_to_transform":[0,2])"), plain), "leave out");
  EXPECT_NO_THROW(parse_peft_adapter(config(R"(,"layers_to_transform":1,"layers_pattern":["layers"])"), plain.all));
  EXPECT_SAYS(wrong(config(), std::move(Tensors().pair("model.layers.1.down"))), "leave out");
  EXPECT_SAYS(wrong(config(), Tensors()), "no tensors");
  EXPECT_SAYS(wrong(config(), std::move(Tensors().pair(kUp).pair("model.layers.1.up"))), "twice");
  EXPECT_SAYS(wrong(config(), std::move(Tensors().add(kUp + ".lora_B.weight", {4, 2}))), "no lora_A");
  Tensors ranks;
  ranks.add(kUp + ".lora_A.weight", {2, 3}).add(kUp + ".lora_B.weight", {4, 3});
  EXPECT_SAYS(wrong(config(), ranks), "the ranks 2 and 3 differ");
  EXPECT_SAYS(wrong(config(), std::move(Tensors().pair(kUp, 2, 0, 4))), "empty");
}

TEST(PeftAdapter, DecodesHalfPrecision) {
  Tensors tensors = std::move(Tensors().pair(kUp));
  const std::vector<uint16_t> halves = {0x3c00, 0xbc00, 0x4000, 0x3800, 0, 0x4400};  // 1, -1, 2, 0.5, 0, 4
  tensors.all[0].dtype = DType::kF16;
  tensors.all[0].data = std::as_bytes(std::span(halves));
  EXPECT_EQ(parse_peft_adapter(config(), tensors.all).matrices[0].A, (std::vector<float>{1, -1, 2, 0.5f, 0, 4}));
}

ModelFile gguf_adapter(const Tensors& tensors) {
  ModelFile file;
  file.meta.set("general.type", "adapter");
  file.meta.set("general.architecture", "llama");
  file.meta.set("adapter.type", "lora");
  file.meta.set("adapter.lora.alpha", 8.0f);
  file.tensors = tensors.all;
  return file;
}

TEST(GgufAdapter, HoldsMatricesByBaseTensor) {
  Tensors tensors;
  tensors.add("blk.0.ffn_up.weight.lora_a", {2, 3}).add("blk.0.ffn_up.weight.lora_b", {4, 2});
  tensors.add("token_embd.weight.lora_a", {5, 2}).add("token_embd.weight.lora_b", {3, 2});
  const TempDir dir("gguf_adapter");
  write_gguf(dir.path / "tone.gguf", gguf_adapter(tensors));
  const AdapterFile adapter = open_adapter(dir.path / "tone.gguf");
  EXPECT_EQ(adapter.name, "tone");
  ASSERT_EQ(adapter.matrices.size(), 2u);
  EXPECT_EQ(adapter.matrices[0].tensor, "blk.0.ffn_up.weight");
  EXPECT_EQ(adapter.matrices[0].scale, 4);
  EXPECT_EQ(adapter.matrices[0].n_in, 3u);
  const AdapterMatrix& embedding = adapter.matrices[1];
  EXPECT_EQ(embedding.n_out, 5u);
  EXPECT_EQ(embedding.n_in, 3u);
  EXPECT_EQ(embedding.B, (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(embedding.A, (std::vector<float>{1, 3, 5, 2, 4, 6}));
}

TEST(GgufAdapter, RefusesModelsAndUnknownThings) {
  Tensors tensors;
  tensors.add("blk.0.ffn_up.weight.lora_a", {2, 3}).add("blk.0.ffn_up.weight.lora_b", {4, 2});
  const auto refused = [&](ErrorKind kind, const std::string& key, MetaValue value) {
    ModelFile file = gguf_adapter(tensors);
    file.meta.set(key, value);
    return message_of(kind, [&] { parse_gguf_adapter(file); });
  };
  EXPECT_SAYS(refused(ErrorKind::kFormat, "general.type", "model"), "is this a model");
  EXPECT_SAYS(refused(ErrorKind::kUnsupported, "adapter.type", "control_vector"), "control_vector");
  EXPECT_SAYS(refused(ErrorKind::kUnsupported, "adapter.alora.invocation_tokens", MetaArray(std::vector<uint32_t>{1})),
              "invocation_tokens");
  EXPECT_SAYS(refused(ErrorKind::kFormat, "adapter.lora.alpha", INFINITY), "finite");
  ModelFile none = gguf_adapter(tensors);
  none.meta.erase("adapter.lora.alpha");
  EXPECT_EQ(parse_gguf_adapter(none).matrices[0].scale, 1);
  tensors.add("blk.0.attn_norm.weight", {3});
  EXPECT_SAYS(message_of(ErrorKind::kUnsupported, [&] { parse_gguf_adapter(gguf_adapter(tensors)); }), "attn_norm");
  Tensors experts;
  experts.add("blk.0.ffn_up_exps.weight.lora_a", {2, 2, 3}).add("blk.0.ffn_up_exps.weight.lora_b", {2, 4, 2});
  EXPECT_SAYS(message_of(ErrorKind::kUnsupported, [&] { parse_gguf_adapter(gguf_adapter(experts)); }), "3 dimensions");
}

TEST(OpenAdapter, SaysWhatIsMissing) {
  const TempDir dir("adapter");
  dir.write("adapter_config.json", config());
  EXPECT_SAYS(message_of(ErrorKind::kNotFound, [&] { open_adapter(dir.path); }), "adapter_model.safetensors");
  EXPECT_SAYS(message_of(ErrorKind::kNotFound, [&] { open_adapter(dir.path / "no"); }), "no");
}

// What peft wrote: golden/adapters/README.md.
TEST(OpenAdapter, ReadsPeftFolders) {
  struct Want {
    size_t n_matrices, n_replaced;
    float scale;  // of v_proj or, where that is not adapted, o_proj
    bool dora;
  };
  const std::map<std::string, Want> wanted = {
      {"lora_llama_all", {21, 0, 2, false}},      {"lora_llama_layers_save", {4, 1, 2, false}},
      {"lora_llama_patterns", {23, 2, 2, false}}, {"lora_llama_qv", {6, 0, 2, false}},
      {"lora_opt_all", {18, 0, 2, false}},        {"lora_opt_qv", {6, 0, 2, false}},
      {"rslora_llama_all", {21, 0, 4, false}},    {"dora_llama_all", {21, 0, 2, true}},
      {"dora_llama_qv", {6, 0, 2, true}}};
  const auto root = shared_path("golden/adapters");
  if (!root) GTEST_SKIP() << "needs golden/adapters";
  size_t n_read = 0;
  for (const auto& entry : fs::directory_iterator(*root)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(name);
    if (name.starts_with("prompt") || name.starts_with("prefix")) {
      EXPECT_GT(open_adapter(entry.path()).virtual_tokens.n, 0u);
      continue;
    }
    if (name.starts_with("ia3")) {
      EXPECT_FALSE(open_adapter(entry.path()).scaled.empty());
      continue;
    }
    if (name.find("lora") == name.npos && name.find("dora") == name.npos) {
      const std::string message = message_of(ErrorKind::kUnsupported, [&] { open_adapter(entry.path()); });
      EXPECT_SAYS(message, "hunch reads L");
      EXPECT_SAYS(message, name);
      continue;
    }
    const Want want = wanted.at(name);
    ++n_read;
    const AdapterFile adapter = open_adapter(entry.path() / "");
    EXPECT_EQ(adapter.name, name);
    EXPECT_EQ(adapter.matrices.size(), want.n_matrices);
    EXPECT_EQ(adapter.replaced.size(), want.n_replaced);
    size_t n_scale_seen = 0;
    for (const AdapterMatrix& m : adapter.matrices) {
      EXPECT_EQ(m.magnitude.size(), want.dora ? m.n_out : 0) << m.tensor;
      if (!m.tensor.ends_with("v_proj.weight") && !m.tensor.ends_with("o_proj.weight")) continue;
      EXPECT_EQ(m.scale, want.scale) << m.tensor;
      EXPECT_EQ(m.rank, 4u);
      ++n_scale_seen;
    }
    EXPECT_GE(n_scale_seen, 2u);
  }
  EXPECT_EQ(n_read, wanted.size());
}

TEST(OpenAdapter, ReadsPatternsAndEmbeddingsAndFitsTheBase) {
  const auto root = shared_path("golden");
  if (!root || !fs::exists(*root / "adapters") || !fs::exists(*root / "models/llama/model.safetensors"))
    GTEST_SKIP() << "needs golden/adapters and golden/models/llama";
  const std::string base_bytes = as_text(MappedFile(*root / "models/llama/model.safetensors").bytes());
  std::map<std::string, Tensor> base;
  for (const Tensor& tensor : parse_safetensors(as_byte_span(base_bytes))) base[tensor.name] = tensor;
  for (const char* folder : {"lora_llama_patterns", "dora_llama_all", "lora_llama_layers_save"}) {
    SCOPED_TRACE(folder);
    const AdapterFile adapter = open_adapter(*root / "adapters" / folder);
    for (const AdapterMatrix& m : adapter.matrices)
      EXPECT_EQ(base.at(m.tensor).shape, (std::vector<uint64_t>{m.n_out, m.n_in})) << m.tensor;
    for (const ReplacedTensor& r : adapter.replaced) EXPECT_EQ(base.at(r.tensor).shape, r.shape) << r.tensor;
  }
  const AdapterFile adapter = open_adapter(*root / "adapters/lora_llama_patterns");
  std::map<std::string, const AdapterMatrix*> by_name;
  for (const AdapterMatrix& m : adapter.matrices) by_name[m.tensor] = &m;
  EXPECT_EQ(by_name.at("model.layers.0.mlp.up_proj.weight")->scale, 8.0f / 4);
  EXPECT_EQ(by_name.at("model.layers.1.mlp.up_proj.weight")->scale, 32.0f / 4);
  EXPECT_EQ(by_name.at("model.layers.1.mlp.down_proj.weight")->rank, 2u);
  EXPECT_EQ(by_name.at("model.layers.1.mlp.down_proj.weight")->scale, 8.0f / 2);
  EXPECT_EQ(by_name.at("model.layers.2.self_attn.q_proj.weight")->rank, 8u);
  EXPECT_EQ(by_name.at("model.layers.2.self_attn.q_proj.weight")->scale, 4.0f / 8);
  EXPECT_EQ(by_name.at("model.embed_tokens.weight")->n_out, 320u);
  // peft saved the embeddings untouched beside their adapters.
  for (const ReplacedTensor& r : adapter.replaced) {
    const Tensor& tensor = base.at(r.tensor);
    ASSERT_EQ(tensor.dtype, DType::kF32);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()),
              std::string_view(reinterpret_cast<const char*>(r.values.data()), r.values.size() * sizeof(float)));
  }
}

}  // namespace
}  // namespace hunch
