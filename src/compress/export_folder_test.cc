#include "compress/export_folder.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "compress/test_models.h"
#include "io/gguf.h"
#include "io/hf_folder.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct TempFolder {
  static inline int n_made = 0;
  fs::path path = fs::temp_directory_path() / fmt::format("hunch-export-{}-{}", ::getpid(), ++n_made);
  ~TempFolder() {
    std::error_code ec;
    fs::remove_all(path, ec);
  }
  // Whatever a run may leave beside it.
  std::vector<std::string> beside() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path.parent_path()))
      if (entry.path().filename().string().starts_with(path.filename().string()))
        names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
};

struct Case {
  const char* methods;
  ExportLayout layout;
  GridOptions grid = {};
};

CompressOptions options_for(const Case& c) {
  CompressOptions options;
  options.methods = parse_methods(c.methods);
  options.dense_inputs = scales_inputs(options.methods.rounder);
  options.n_tokens = 300;
  return options;
}

std::map<std::string, const Tensor*> by_name(const HfFolder& folder) {
  std::map<std::string, const Tensor*> out;
  for (const Tensor& t : folder.tensors) out[t.name] = &t;
  return out;
}

// Read again, the folder has the numbers of a file of floats that the same method writes.
void expect_equal_to_file(const fs::path& source, const Case& c) {
  SCOPED_TRACE(fmt::format("{} as {}, {} bits", c.methods, name_of(c.layout), c.grid.bits));
  const TempFolder out;
  const TempFile file;
  const Engine engine = engine_of(source);
  const std::vector<int32_t> ids = random_ids(engine, 400);
  const std::vector<float> before = logits_of(engine, std::span(ids).first(20));
  CompressOptions options = options_for(c);
  const ExportForm form = export_form(engine, c.layout, c.grid, options);
  const CompressReport report = export_folder(engine, source, ids, options, form, out.path, false);
  options.without_zeros = false;
  compress_weights(engine, ids, options, file.path);
  EXPECT_EQ(worst_difference(logits_of(engine, std::span(ids).first(20)), before), 0.0f) << "the model has changed";
  const Engine folder = engine_of(out.path), plain = engine_of(file.path);
  EXPECT_EQ(folder.source, "HF folder");
  EXPECT_NE(folder.quantised.method, "");
  EXPECT_EQ(folder.unused, std::vector<std::string>());
  const std::vector<const Linear*> want = matrices(plain), got = matrices(folder);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i]->id, want[i]->id);
    EXPECT_EQ(floats_of(*folder.compute, *got[i]), floats_of(*plain.compute, *want[i]))
        << name_of(want[i]->id.role) << " of layer " << want[i]->id.layer;
    EXPECT_TRUE(std::ranges::equal(got[i]->bias(), want[i]->bias()));
  }
  // int8 files round inputs too, which is up to who reads the folder. Sums of other forms have another order.
  if (!form.int8) {
    EXPECT_LE(worst_difference(logits_of(folder, std::span(ids).first(20)), logits_of(plain, std::span(ids).first(20))),
              5e-5f);
  }
  uint64_t n_bytes = 0;
  const HfFolder read = open_hf_folder(out.path);
  for (const Tensor& t : read.tensors) n_bytes += t.data.size();
  EXPECT_EQ(report.bytes, n_bytes);
  for (const auto& [role, r] : report.roles) EXPECT_GT(r.n_matrices, 0u) << name_of(role);
  EXPECT_EQ(out.beside(), std::vector<std::string>{out.path.filename().string()});
}

// Fused q, k and v in every order, interleaved rows, experts, shared experts, biases, norms as 1 + w, norms of heads.
class ExportOf : public ::testing::TestWithParam<const char*> {};

TEST_P(ExportOf, EveryRowIsWhereTheCheckpointHasIt) {
  expect_equal_to_file(golden_fixture(GetParam()), {"w8a8", ExportLayout::kCompressedTensors});
}

TEST_P(ExportOf, ScalesAreFoldedIntoTheCheckpointsNorms) {
  expect_equal_to_file(golden_fixture(GetParam()), {"smoothquant", ExportLayout::kCompressedTensors});
}

INSTANTIATE_TEST_SUITE_P(, ExportOf,
                         ::testing::Values("tiny_llama", "tiny_qwen2", "tiny_qwen2moe", "tiny_mixtral", "tiny_phi3",
                                           "tiny_gemma", "tiny_gptneox", "tiny_bloom", "tiny_falcon", "tiny_stablelm",
                                           "tiny_opt", "tiny_mpt", "tiny_starcoder2", "tiny_olmo3", "tiny_qwen3",
                                           "tiny_command_r"));

TEST(ExportFolder, GridsOfEveryLayoutComeBackAsTheyWere) {
  const fs::path source = golden_fixture("opt_sparse");
  using enum ExportLayout;
  for (const Case& c : {Case{"gptq", kGptq, {4, false, 32}},
                        {"gptq", kGptq, {3, false, 0}},
                        {"rtn", kGptq, {8, true, 64}},
                        {"rtn", kGptq, {2, true, 32}},
                        {"awq", kAwq, {4, false, 32}},
                        {"rtn", kAwq, {4, true, 64}},
                        {"gptq", kCompressedTensors, {4, true, 32}},
                        {"awq", kCompressedTensors, {4, false, 32}},
                        {"rtn", kCompressedTensors, {8, false, 0}},
                        {"wanda,gptq", kCompressedTensors, {4, true, 32}}})
    expect_equal_to_file(source, c);
}

TEST(ExportFolder, ColumnsSettledInAnotherOrderKeepTheirGroups) {
  const TempFolder out;
  const fs::path source = golden_fixture("opt_sparse");
  const Engine engine = engine_of(source);
  CompressOptions options = options_for({"gptq", ExportLayout::kGptq});
  options.act_order = true;
  const ExportForm form = export_form(engine, ExportLayout::kGptq, {4, false, 32}, options);
  const CompressReport report = export_folder(engine, source, random_ids(engine, 400), options, form, out.path, false);
  const Engine folder = engine_of(out.path);
  for (const auto& [role, r] : report.roles) EXPECT_LT(r.error, 0.2) << name_of(role);
  const std::vector<const Linear*> own = matrices(engine), got = matrices(folder);
  for (size_t i = 0; i < own.size(); ++i)
    EXPECT_LT(distance(floats_of(*engine.compute, *own[i]), floats_of(*folder.compute, *got[i])), 0.5);
}

// Names, types and shapes as the tools' own folders have them.
TEST(ExportFolder, LaysTensorsOutAsTheToolsDo) {
  const auto shared = shared_path("golden/quantised");
  if (!shared) GTEST_SKIP() << "no shared data";
  const Engine engine = engine_of(*shared / "base");
  const std::vector<int32_t> ids = random_ids(engine, 300);
  struct Published {
    const char* folder;
    Case as;
  };
  using enum ExportLayout;
  for (const auto& [name, c] : {Published{"gptq_b4_sym_g128", {"rtn", kGptq, {4, true, 128}}},
                                {"gptq_b4_asym_g32", {"rtn", kGptq, {4, false, 32}}},
                                {"gptq_b3_asym_g128", {"rtn", kGptq, {3, false, 128}}},
                                {"gptq_b2_sym_g32", {"rtn", kGptq, {2, true, 32}}},
                                {"gptq_b8_sym_gall", {"rtn", kGptq, {8, true, 0}}},
                                {"awq_g128", {"rtn", kAwq, {4, false, 128}}},
                                {"awq_g32", {"rtn", kAwq, {4, false, 32}}},
                                {"ct_w4a16_sym_g128", {"rtn", kCompressedTensors, {4, true, 128}}},
                                {"ct_w4a16_asym_g32", {"rtn", kCompressedTensors, {4, false, 32}}},
                                {"ct_w8a8_int8", {"w8a8", kCompressedTensors}}}) {
    SCOPED_TRACE(name);
    const TempFolder out;
    CompressOptions options = options_for(c);
    const ExportForm form = export_form(engine, c.layout, c.grid, options);
    export_folder(engine, *shared / "base", ids, options, form, out.path, false);
    const HfFolder own = open_hf_folder(out.path), published = open_hf_folder(*shared / name);
    const auto ours = by_name(own), theirs = by_name(published);
    for (const auto& [tensor, t] : theirs) {
      const bool zero_bias = c.layout == kGptq && tensor.ends_with("_proj.bias");  // of AutoGPTQ, where there is none
      const auto found = ours.find(tensor);
      if (zero_bias) continue;
      ASSERT_NE(found, ours.end()) << tensor;
      EXPECT_EQ(found->second->shape, t->shape) << tensor;
      // Theirs were made of a bf16 model, ours of an f16 one.
      const bool float_of_model = c.layout == kCompressedTensors && t->dtype == DType::kBF16;
      EXPECT_EQ(found->second->dtype, float_of_model ? DType::kF16 : t->dtype) << tensor;
    }
    for (const auto& [tensor, t] : ours) EXPECT_TRUE(theirs.contains(tensor)) << tensor;
    // Every key of their config that says what the numbers are is in ours, with the same value.
    const auto config = [](const fs::path& path) {
      return nlohmann::json::parse(read_file(path / "config.json"))["quantization_config"];
    };
    const nlohmann::json our = config(out.path), their = config(*shared / name);
    const std::set<std::string> of_tool = {"is_marlin_format", "version", "sparsity_config", "transform_config"};
    for (const auto& [key, value] : their.items()) {
      if (of_tool.contains(key) && c.layout != kAwq) continue;
      if (key == "config_groups") {
        for (const char* part : {"weights", "input_activations", "targets"})
          EXPECT_EQ(our[key]["group_0"][part], value["group_0"][part]) << part;
        continue;
      }
      EXPECT_EQ(our.value(key, nlohmann::json("nothing")), value) << key;
    }
  }
}

TEST(ExportFolder, TokenizerAndConfigComeAlong) {
  const TempFolder out, source;
  fs::copy(golden_fixture("opt_sparse"), source.path, fs::copy_options::recursive);
  for (const char* name : {"tokenizer_config.json", "generation_config.json", "notes.txt"}) {
    AtomicFile file(source.path / name);
    file.write("{\"a\": 1}");
    file.commit();
  }
  const Engine engine = engine_of(source.path);
  CompressOptions options = options_for({"rtn", ExportLayout::kGptq});
  const ExportForm form = export_form(engine, ExportLayout::kGptq, {4, false, 32}, options);
  const std::vector<int32_t> ids = random_ids(engine, 300);
  export_folder(engine, source.path, ids, options, form, out.path, false);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(out.path)) names.insert(entry.path().filename().string());
  EXPECT_EQ(names, (std::set<std::string>{"config.json", "generation_config.json", "model.safetensors",
                                          "quantize_config.json", "tokenizer_config.json"}));
  nlohmann::json config = nlohmann::json::parse(read_file(out.path / "config.json"));
  EXPECT_EQ(config["quantization_config"], nlohmann::json::parse(read_file(out.path / "quantize_config.json")));
  config.erase("quantization_config");
  EXPECT_EQ(config, nlohmann::json::parse(read_file(source.path / "config.json")));
  // What is there stays unless it is to be replaced, and is whole again then.
  EXPECT_THROW(export_folder(engine, source.path, ids, options, form, out.path, false), Error);
  EXPECT_TRUE(fs::exists(out.path / "config.json"));
  export_folder(engine, source.path, ids, options, form, out.path, true);
  EXPECT_NO_THROW(engine_of(out.path));
  EXPECT_EQ(out.beside(), std::vector<std::string>{out.path.filename().string()});
}

TEST(ExportFolder, AnInterruptedOneLeavesNothingAndGoesOnWhereItStopped) {
  const TempFolder whole, out, finished;
  const fs::path source = golden_fixture("opt_sparse");
  Engine engine = engine_of(source);
  const std::vector<int32_t> ids = random_ids(engine, 400);
  CompressOptions options = options_for({"gptq", ExportLayout::kGptq});
  const ExportForm form = export_form(engine, ExportLayout::kGptq, {4, false, 32}, options);
  export_folder(engine, source, ids, options, form, whole.path, false);
  options.finished = finished.path;
  Stop stop;
  engine.compute->stop = &stop;
  const auto progress = [&](std::string_view what, uint64_t, uint64_t) {
    if (what == "layer 1") stop.request();
  };
  EXPECT_THROW(export_folder(engine, source, ids, options, form, out.path, false, progress), Error);
  EXPECT_EQ(out.beside(), std::vector<std::string>());
  engine.compute->stop = nullptr;
  const CompressReport report = export_folder(engine, source, ids, options, form, out.path, false);
  EXPECT_EQ(report.n_resumed, 1u);
  EXPECT_EQ(read_file(out.path / "model.safetensors"), read_file(whole.path / "model.safetensors"));
  EXPECT_FALSE(fs::exists(finished.path));
}

TEST(ExportFolder, WhatNoFolderCanHaveIsRefused) {
  const TempFolder out;
  const auto refused = [&](const fs::path& source, const Case& c) {
    const Engine engine = engine_of(source);
    try {
      CompressOptions options = options_for(c);
      const ExportForm form = export_form(engine, c.layout, c.grid, options);
      export_folder(engine, source, random_ids(engine, 300), options, form, out.path, false);
    } catch (const Error& e) {
      EXPECT_EQ(out.beside(), std::vector<std::string>());
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  using enum ExportLayout;
  const fs::path opt = golden_fixture("opt_sparse");
  EXPECT_NE(refused(golden_fixture("tiny_gpt2"), {"w8a8", kCompressedTensors}).find("stored otherwise"),
            std::string::npos);
  EXPECT_NE(refused(opt, {"w8a8", kGptq}).find("compressed-tensors"), std::string::npos);
  EXPECT_NE(refused(opt, {"nf4", kGptq}).find("nf4"), std::string::npos);
  EXPECT_NE(refused(opt, {"wanda", kGptq}).find("wanda"), std::string::npos);
  EXPECT_NE(refused(opt, {"rtn", kAwq, {3, false, 32}}).find("4 bits"), std::string::npos);
  EXPECT_NE(refused(opt, {"rtn", kGptq, {5, false, 32}}).find("2, 3, 4 or 8"), std::string::npos);
  EXPECT_NE(refused(opt, {"rtn", kGptq, {4, false, 48}}).find("48"), std::string::npos);
  EXPECT_NE(refused(golden_fixture("tiny_llama"), {"rtn", kGptq, {4, false, 0}}).find("44"), std::string::npos);
  const TempFile file;
  write_gguf(file.path, engine_of(opt).model->file());
  EXPECT_NE(refused(file.path, {"rtn", kGptq, {4, false, 32}}).find("Hugging Face folder"), std::string::npos);
  EXPECT_NE(refused(fs::path(HUNCH_SOURCE_DIR) / "tests/data/quantised/gptq_sym", {"rtn", kGptq, {4, false, 32}})
                .find("quantised already"),
            std::string::npos);
}

}  // namespace
}  // namespace hunch
