// Variants that users meet on the hub and the golden models do not show.
#include <gtest/gtest.h>

#include "io/test_errors.h"
#include "model/arch/test_folder.h"
#include "model/transformer.h"

namespace hunch {
namespace {

using Floats = std::vector<float>;

constexpr size_t kEmbd = 8, kFf = 32, kVocab = 11, kLayers = 2, kCtx = 16;

Floats rows_of(const Floats& values, size_t cols, size_t begin, size_t count) {
  return {values.begin() + std::ptrdiff_t(begin * cols), values.begin() + std::ptrdiff_t((begin + count) * cols)};
}

ModelConfig config_of(const ModelFile& file) { return config_from_gguf(file); }

Floats last_logits(ModelFile file) {
  Compute compute(1);
  const Model model(std::move(file), {}, compute);
  KvCache cache(Transformer::kv_shape(model.config()), 64);
  Transformer transformer(model, cache, compute);
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5};
  const Run run{cache.create(), ids.size()};
  const uint32_t last = 4;
  const MatView<const float> logits = transformer.run({ids, {&run, 1}, {&last, 1}});
  return {logits.data, logits.data + logits.cols};
}

float distance(const Floats& a, const Floats& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

TestFolder gpt2(const std::string& more) {
  TestFolder f(R"({"n_layer": 2, "n_embd": 8, "n_head": 2, "n_positions": 16)" + more + "}");
  f.add("wte.weight", {kVocab, kEmbd}).add("wpe.weight", {kCtx, kEmbd}).add_with_bias("ln_f", {kEmbd});
  for (size_t i = 0; i < kLayers; ++i) {
    const std::string h = fmt::format("h.{}.", i);
    f.add_with_bias(h + "ln_1", {kEmbd}).add_with_bias(h + "ln_2", {kEmbd});
    f.add(h + "attn.c_attn.weight", {kEmbd, 3 * kEmbd}).add(h + "attn.c_attn.bias", {3 * kEmbd});
    f.add(h + "attn.c_proj.weight", {kEmbd, kEmbd}).add(h + "attn.c_proj.bias", {kEmbd});
    f.add(h + "mlp.c_fc.weight", {kEmbd, kFf}).add(h + "mlp.c_fc.bias", {kFf});
    f.add(h + "mlp.c_proj.weight", {kFf, kEmbd}).add(h + "mlp.c_proj.bias", {kEmbd});
  }
  return f;
}

TEST(Gpt2Import, FoldsTheScaleByInverseLayerIntoTheQueriesOnly) {
  const ModelFile plain = gpt2("").import("gpt2");
  const ModelFile scaled = gpt2(R"(, "scale_attn_by_inverse_layer_idx": true)").import("gpt2");
  const auto tensor = [](const ModelFile& file, const char* name) { return TestFolder::floats(file.get(name)); };
  EXPECT_EQ(tensor(plain, "blk.0.attn_qkv.weight"), tensor(scaled, "blk.0.attn_qkv.weight"));
  for (const char* name : {"blk.1.attn_qkv.weight", "blk.1.attn_qkv.bias"}) {
    Floats want = tensor(plain, name);
    for (size_t i = 0; i < want.size() / 3; ++i) want[i] /= 2;
    EXPECT_EQ(tensor(scaled, name), want) << name;
  }
}

TEST(Gpt2Import, TakesAnOwnHeadAndRefusesItsAbsence) {
  const std::string untied = R"(, "tie_word_embeddings": false)";
  EXPECT_NE(gpt2(untied).add("lm_head.weight", {kVocab, kEmbd}).import("gpt2").find("output.weight"), nullptr);
  const std::string message = message_of(ErrorKind::kNotFound, [&] { gpt2(untied).import("gpt2"); });
  EXPECT_NE(message.find("lm_head.weight"), std::string::npos) << message;
}

TestFolder gpt_neo(const std::string& more) {
  TestFolder f(R"({"num_layers": 2, "hidden_size": 8, "num_heads": 2, "max_position_embeddings": 16)" + more + "}");
  f.add("transformer.wte.weight", {kVocab, kEmbd}).add("transformer.wpe.weight", {kCtx, kEmbd});
  f.add_with_bias("transformer.ln_f", {kEmbd});
  for (size_t i = 0; i < kLayers; ++i) {
    const std::string h = fmt::format("transformer.h.{}.", i);
    f.add_with_bias(h + "ln_1", {kEmbd}).add_with_bias(h + "ln_2", {kEmbd});
    for (const char* name : {"q_proj", "k_proj", "v_proj"})
      f.add(h + "attn.attention." + name + ".weight", {kEmbd, kEmbd});
    f.add_with_bias(h + "attn.attention.out_proj", {kEmbd, kEmbd});
    f.add_with_bias(h + "mlp.c_fc", {kFf, kEmbd}).add_with_bias(h + "mlp.c_proj", {kEmbd, kFf});
  }
  return f;
}

TEST(GptNeoImport, ReadsWindowsFromEveryFormOfTheConfig) {
  const auto windows = [](const std::string& more) { return config_of(gpt_neo(more).import("gpt_neo")).windows; };
  using Sizes = std::vector<size_t>;
  EXPECT_EQ(windows(""), (Sizes{0, 256}));
  EXPECT_EQ(windows(R"(, "attention_layers": ["local", "global"], "window_size": 5)"), (Sizes{5, 0}));
  EXPECT_EQ(windows(R"(, "attention_types": [[["local"], 2]], "window_size": 7)"), (Sizes{7, 7}));
  EXPECT_EQ(windows(R"(, "attention_types": [[["global"], 2]])"), Sizes());
}

TEST(GptNeoImport, RefusesAttentionKindsThatItDoesNotKnowOrCount) {
  message_of(ErrorKind::kUnsupported,
             [] { gpt_neo(R"(, "attention_layers": ["global", "strided"])").import("gpt_neo"); });
  message_of(ErrorKind::kFormat, [] { gpt_neo(R"(, "attention_layers": ["global"])").import("gpt_neo"); });
  message_of(ErrorKind::kFormat, [] { gpt_neo(R"(, "attention_types": [["global", 2]])").import("gpt_neo"); });
}

TEST(StarcoderImport, SortsTheHeadsOfAMultiHeadModel) {
  TestFolder f(R"({"n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 16, "multi_query": false})");
  f.add("wte.weight", {kVocab, kEmbd}).add("wpe.weight", {kCtx, kEmbd}).add_with_bias("ln_f", {kEmbd});
  f.add_with_bias("h.0.ln_1", {kEmbd}).add_with_bias("h.0.ln_2", {kEmbd});
  Floats bias;  // head 0: q 0-3, k 4-7, v 8-11; head 1: 12-23
  for (size_t i = 0; i < 24; ++i) bias.push_back(float(i));
  f.add("h.0.attn.c_attn.weight", {24, kEmbd}).add("h.0.attn.c_attn.bias", {24}, bias);
  f.add_with_bias("h.0.attn.c_proj", {kEmbd, kEmbd});
  f.add_with_bias("h.0.mlp.c_fc", {kFf, kEmbd}).add_with_bias("h.0.mlp.c_proj", {kEmbd, kFf});
  const ModelFile file = f.import("gpt_bigcode");
  EXPECT_EQ(TestFolder::floats(file.get("blk.0.attn_qkv.bias")),
            (Floats{0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23}));
  EXPECT_EQ(config_of(file).n_kv_head, 2u);
}

TEST(CodeGenImport, TakesQueriesValuesAndKeysOutOfTheFourPartitions) {
  TestFolder f(R"({"n_layer": 1, "n_embd": 8, "n_head": 4, "n_positions": 16, "rotary_dim": 2})");
  f.add("transformer.wte.weight", {kVocab, kEmbd}).add_with_bias("transformer.ln_f", {kEmbd});
  f.add_with_bias("lm_head", {kVocab, kEmbd}).add_with_bias("transformer.h.0.ln_1", {kEmbd});
  f.add("transformer.h.0.attn.qkv_proj.weight", {24, kEmbd})
      .add("transformer.h.0.attn.out_proj.weight", {kEmbd, kEmbd});
  f.add_with_bias("transformer.h.0.mlp.fc_in", {kFf, kEmbd}).add_with_bias("transformer.h.0.mlp.fc_out", {kEmbd, kFf});
  const ModelFile file = f.import("codegen");
  const Floats fused = f.values("transformer.h.0.attn.qkv_proj.weight");
  for (const auto& [name, first] :
       {std::pair{"blk.0.attn_q.weight", 0}, {"blk.0.attn_v.weight", 2}, {"blk.0.attn_k.weight", 4}})
    for (size_t p = 0; p < 4; ++p)  // a partition: two rows each of q, v, k
      EXPECT_EQ(rows_of(TestFolder::floats(file.get(name)), kEmbd, 2 * p, 2),
                rows_of(fused, kEmbd, 6 * p + size_t(first), 2))
          << name;
  EXPECT_EQ(TestFolder::floats(file.get("output.bias")), f.values("lm_head.bias"));
}

TEST(BloomImport, RefusesResidualsBehindTheNorm) {
  message_of(ErrorKind::kUnsupported, [] {
    TestFolder(
        R"({"n_layer": 1, "n_embed": 8, "num_attention_heads": 2, "apply_residual_connection_post_layernorm": true})")
        .import("bloom");
  });
}

TestFolder falcon(const std::string& more, size_t n_qkv, bool two_norms) {
  TestFolder f(R"({"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 4)" + more + "}");
  f.add("transformer.word_embeddings.weight", {kVocab, kEmbd}).add_with_bias("transformer.ln_f", {kEmbd});
  const std::string h = "transformer.h.0.";
  if (two_norms) {
    f.add_with_bias(h + "ln_attn", {kEmbd}).add_with_bias(h + "ln_mlp", {kEmbd});
  } else {
    f.add_with_bias(h + "input_layernorm", {kEmbd});
  }
  f.add(h + "self_attention.query_key_value.weight", {n_qkv, kEmbd})
      .add(h + "self_attention.dense.weight", {kEmbd, kEmbd});
  f.add(h + "mlp.dense_h_to_4h.weight", {kFf, kEmbd}).add(h + "mlp.dense_4h_to_h.weight", {kEmbd, kFf});
  return f;
}

TEST(FalconImport, RunsElevenBsOneNormInTheNewDecoder) {
  const std::string config = R"(, "new_decoder_architecture": true, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1)";
  ModelFile file = falcon(config, 16, false).import("falcon");
  EXPECT_TRUE(config_of(file).parallel_residual);
  EXPECT_EQ(config_of(file).n_kv_head, 2u);
  for (float logit : last_logits(std::move(file))) EXPECT_TRUE(std::isfinite(logit));
}

TEST(FalconImport, ReadsConfigsOfBeforeItEnteredTransformers) {
  const auto kv_heads = [](const std::string& more, size_t n_qkv, bool two_norms, const char* type) {
    return config_of(falcon(fmt::format(R"(, "model_type": "{}"{})", type, more), n_qkv, two_norms).import(type))
        .n_kv_head;
  };
  EXPECT_EQ(kv_heads(R"(, "n_head_kv": 2)", 16, true, "RefinedWeb"), 2u);
  EXPECT_EQ(kv_heads(R"(, "multi_query": true, "parallel_attn": true)", 12, false, "RefinedWebModel"), 1u);
}

TEST(FalconImport, RefusesHeadsThatDoNotDivide) {
  message_of(ErrorKind::kFormat,
             [] { falcon(R"(, "new_decoder_architecture": true, "num_kv_heads": 3)", 16, true).import("falcon"); });
  message_of(ErrorKind::kFormat, [] { falcon(R"(, "multi_query": true)", 16, false).import("falcon"); });
}

struct MptOptions {
  std::string config, attn;
  bool positions = false, qk_norm = false;
  float head0 = 1, all_heads = 1;  // factors of W_q's rows
};

TestFolder mpt(const MptOptions& o) {
  TestFolder f(
      R"({"n_layers": 1, "d_model": 8, "n_heads": 2, "max_seq_len": 16, "expansion_ratio": 4, "attn_config": {)" +
      o.attn + "}" + o.config + "}");
  f.add("transformer.wte.weight", {kVocab, kEmbd}).add("transformer.norm_f.weight", {kEmbd});
  const std::string b = "transformer.blocks.0.";
  f.add(b + "norm_1.weight", {kEmbd}).add(b + "norm_2.weight", {kEmbd}).add(b + "attn.out_proj.weight", {kEmbd, kEmbd});
  f.add(b + "ffn.up_proj.weight", {kFf, kEmbd}).add(b + "ffn.down_proj.weight", {kEmbd, kFf});
  Floats qkv(24 * kEmbd);
  for (size_t i = 0; i < qkv.size(); ++i) qkv[i] = std::sin(float(i * i % 97));
  for (size_t i = 0; i < 8 * kEmbd; ++i) qkv[i] *= o.all_heads * (i < 4 * kEmbd ? o.head0 : 1);
  f.add(b + "attn.Wqkv.weight", {24, kEmbd}, qkv);
  if (o.qk_norm) f.add(b + "attn.q_ln.weight", {kEmbd}).add(b + "attn.k_ln.weight", {kEmbd});
  if (o.positions) f.add("transformer.wpe.weight", {kCtx, kEmbd});
  return f;
}

TEST(MptImport, UsesLearnedPositionsWhereAlibiIsOffAndIgnoresThemWhereItIsOn) {
  const ModelFile learned = mpt({.attn = R"("alibi": false)", .positions = true}).import("mpt");
  EXPECT_EQ(config_of(learned).position, PositionKind::kLearned);
  const ModelFile alibi = mpt({.attn = R"("alibi": true, "alibi_bias_max": 4)", .positions = true}).import("mpt");
  EXPECT_EQ(config_of(alibi).position, PositionKind::kAlibi);
  EXPECT_EQ(config_of(alibi).alibi_max_bias, 4.0);
  EXPECT_EQ(config_of(mpt({.attn = R"("alibi": false)"}).import("mpt")).position, PositionKind::kNone);
}

TEST(MptImport, NormalisesQueriesOverAllHeadsTogether) {
  const auto logits = [](float head0, float all_heads) {
    return last_logits(
        mpt({.attn = R"("qk_ln": true)", .qk_norm = true, .head0 = head0, .all_heads = all_heads}).import("mpt"));
  };
  EXPECT_LT(distance(logits(1, 1), logits(1, 8)), 1e-3f);  // the norm takes a common factor out
  EXPECT_GT(distance(logits(1, 1), logits(8, 1)), 1e-2f);  // and a factor of one head not
}

TEST(MptImport, ReadsScalesOfScoresAndLogits) {
  const ModelConfig c = config_of(
      mpt({.config = R"(, "logit_scale": "inv_sqrt_d_model")", .attn = R"("softmax_scale": 0.125)"}).import("mpt"));
  EXPECT_FLOAT_EQ(c.attn_scale, 0.125f);
  EXPECT_FLOAT_EQ(c.logit_scale, 1 / std::sqrt(8.0f));
}

TEST(MptImport, RefusesTheScalesThatAwqPutsOnTheActivation) {
  const auto says = [](const std::string& message) {
    EXPECT_NE(message.find("ffn.act.scales"), message.npos) << message;
    EXPECT_NE(message.find("AWQ"), message.npos) << message;
  };
  TestFolder folder = mpt({});
  folder.add("transformer.blocks.0.ffn.act.scales", {32});
  says(message_of(ErrorKind::kUnsupported, [&] { folder.import("mpt"); }));
  ModelFile file = mpt({}).import("mpt");  // as llama.cpp's converter writes them
  Tensor scales = file.tensors[0];
  scales.name = "blk.0.ffn.act.scales";
  file.tensors.push_back(scales);
  file.index();
  says(message_of(ErrorKind::kUnsupported, [&] { config_of(file); }));
}

TEST(Activation, IsTheArchitecturesOwnUnlessAKeyNamesAnother) {
  ModelFile file = mpt({}).import("mpt");
  EXPECT_EQ(config_of(file).activation, Activation::kGeluErf);
  file.meta.set("mpt.hidden_activation", std::string("relu"));  // llama.cpp's key
  EXPECT_EQ(config_of(file).activation, Activation::kRelu);
  file.meta.set("mpt.activation", std::string("silu"));  // hunch's own
  EXPECT_EQ(config_of(file).activation, Activation::kSilu);
  file.meta.set("mpt.activation", std::string("swoosh"));
  EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { config_of(file); }).find("swoosh"), std::string::npos);
}

TEST(MptImport, RefusesWhatItWouldComputeWrongly) {
  for (const char* config : {R"(, "norm_type": "rmsnorm")", R"(, "logit_scale": "half")"})
    message_of(ErrorKind::kUnsupported, [&] { mpt({.config = config}).import("mpt"); });
  message_of(ErrorKind::kUnsupported, [] { mpt({.attn = R"("rope": true)"}).import("mpt"); });
}

}  // namespace
}  // namespace hunch
