// BitNet with inputs as they are and rounded, and what of its configs and files is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/hf_folder.h"
#include "io/quantised_folder.h"
#include "kernels/each_target.h"
#include "linear/ternary.h"
#include "model/architecture.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

std::vector<float> logits_of(const Model& model, Compute& compute, std::span<const int32_t> ids, const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config()), 64);
  Transformer transformer(model, cache, compute);
  const Run run{cache.create(), ids.size(), plan ? Phase::kDecode : Phase::kPrompt, plan};
  const std::vector<uint32_t> rows = rows_up_to(ids.size());
  std::vector<float> out;
  append_rows(transformer.run({ids, {&run, 1}, rows}), out);
  return out;
}

TEST(BitNet, RoundsInputsWhereItsFileSaysSo) {
  const GoldenData golden(golden_fixture("tiny_bitnet") / "golden");
  Compute compute(1);
  for_each_target([&] {
    for (const bool rounds : {true, false}) {
      ModelFile file = open_model(golden_fixture("tiny_bitnet")).file;
      EXPECT_EQ(file.meta.get_uint("bitnet.input_bits"), 8u);
      file.meta.set("bitnet.input_bits", uint32_t(rounds ? 8 : 0));
      const Model model(std::move(file), {}, compute);
      const Plan exact = Plan::exact(model.config());
      for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact})
        for (size_t s = 0; s < golden.sequences.size(); ++s) {
          const std::string name = "s" + std::to_string(s) + (rounds ? ".logits" : ".logits_float_activations");
          EXPECT_LE(worst_difference(logits_of(model, compute, golden.sequences[s].ids, plan), golden.array(name)),
                    rounds ? 5e-2f : 1e-4f)
              << name << (plan ? " exact" : " dense");
        }
    }
  });
}

TEST(BitNet, IsHeldInTwoBits) {
  Compute compute(1);
  const Model model(open_model(golden_fixture("tiny_bitnet")).file, {}, compute);
  EXPECT_EQ(model.weights().held.n_tensors, 0u);
  EXPECT_EQ(model.file().get("blk.0.ffn_down.weight").dtype, DType::kQ2_0);
  for (const Linear* matrix : matrices_of(model, {Role::kQuery, Role::kUp, Role::kDown})) {
    ASSERT_TRUE(dynamic_cast<const Ternary*>(matrix));
    EXPECT_EQ(matrix->reads_less_by_input(1), matrix->id.role == Role::kDown);
  }
  EXPECT_FALSE(can_choose_heads(model.config()));
}

// A float file of the same numbers is the same model.
TEST(BitNet, RunsFromFloats) {
  HfFolder folder = open_hf_folder(golden_fixture("tiny_bitnet"));
  decode_quantised(folder, QuantisedAs::kFloats);
  HfImport hf(folder, "bitnet");
  architecture_by_hf_type("bitnet").import_hf(hf);
  Compute compute(1);
  const Model floats(hf.finish(), {}, compute), blocks(open_model(golden_fixture("tiny_bitnet")).file, {}, compute);
  EXPECT_TRUE(info(floats.file().get("blk.0.ffn_down.weight").dtype).is_float());
  const std::vector<int32_t> ids = {3, 40, 17};
  EXPECT_EQ(logits_of(floats, compute, ids, nullptr), logits_of(blocks, compute, ids, nullptr));
}

float scale_with(const char* linear_class) {
  HfFolder folder = open_hf_folder(golden_fixture("tiny_bitnet"));
  Json json = Json::parse(folder.config_json);
  json["quantization_config"]["linear_class"] = linear_class;
  folder.config_json = json.dump();
  decode_quantised(folder, QuantisedAs::kAuto);
  HfImport hf(folder, "bitnet");
  architecture_by_hf_type("bitnet").import_hf(hf);
  const ModelFile file = hf.finish();
  float scale;
  std::memcpy(&scale, file.get("blk.1.attn_q.scale").data.data(), sizeof scale);
  return scale;
}

TEST(BitNet, MultipliesOrDividesByTheScaleAsTheClassDoes) {
  EXPECT_FLOAT_EQ(scale_with("bitlinear"), 1 / scale_with("autobitlinear"));
  EXPECT_THROW(scale_with("otherlinear"), Error);
}

TEST(BitNet, RefusesWhatItCannotCompute) {
  const auto refused = [](const char* key, const Json& value) {
    HfFolder folder = open_hf_folder(golden_fixture("tiny_bitnet"));
    Json json = Json::parse(folder.config_json);
    json["quantization_config"][key] = value;
    folder.config_json = json.dump();
    try {
      decode_quantised(folder, QuantisedAs::kAuto);
      HfImport hf(folder, "bitnet");
      architecture_by_hf_type("bitnet").import_hf(hf);
    } catch (const Error& e) {
      return e.kind() == ErrorKind::kUnsupported;
    }
    return false;
  };
  EXPECT_TRUE(refused("use_rms_norm", true));
  EXPECT_TRUE(refused("quantization_mode", "online"));
  ModelFile file = open_model(golden_fixture("tiny_bitnet")).file;
  file.meta.set("bitnet.input_bits", uint32_t{4});
  EXPECT_THROW(config_from_gguf(file), Error);
}

TEST(BitNet, RefusesBytesThatAreNoFourWeights) {
  HfFolder folder = open_hf_folder(golden_fixture("tiny_bitnet"));
  std::vector<std::byte> bytes;
  for (Tensor& t : folder.tensors)
    if (t.name.ends_with("layers.0.mlp.up_proj.weight")) {
      bytes.assign(t.data.begin(), t.data.end());
      bytes[5] = std::byte{0x0c};
      t.data = bytes;
    }
  EXPECT_THROW(decode_quantised(folder, QuantisedAs::kAuto), Error);
}

}  // namespace
}  // namespace hunch
