// Quantised checkpoints against what the tools that wrote them decode: the repository's fixtures, and the shared data.
#include "io/quantised_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "io/ordered_tensors.h"
#include "io/test_errors.h"
#include "io/test_quantised_folders.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

std::vector<float> floats(const Tensor& t) {
  std::vector<float> values(t.n_elems());
  for (size_t r = 0; r < t.rows(); ++r)
    codec(t.dtype).decode(t.data.data() + r * row_bytes(t.dtype, t.cols()), &values[r * t.cols()], t.cols());
  return values;
}

class Quantised : public ::testing::TestWithParam<fs::path> {
 protected:
  fs::path folder_ = GetParam();
  std::map<std::string, std::string> hashes_ = [&] {
    const fs::path ours = folder_ / "expected.json";
    const auto json = nlohmann::json::parse(read_file(fs::exists(ours) ? ours : folder_ / "golden" / "golden.json"));
    return json.at("dequantised_sha256").get<std::map<std::string, std::string>>();
  }();
};

TEST_P(Quantised, EveryMatrixIsDecodedExactly) {
  std::map<std::string, std::vector<float>> decoded;
  for (const QuantisedAs as : {QuantisedAs::kFloats, QuantisedAs::kBlocks}) {
    HfFolder folder = open_hf_folder(folder_);
    const QuantisedReport report = decode_quantised(folder, as);
    size_t n_seen = 0, n_matrices = 0;
    for (const Tensor& t : folder.tensors) {
      const auto name = std::ranges::find_if(
          hashes_, [&](const auto& h) { return t.name == h.first || t.name.ends_with("." + h.first + "_blocks"); });
      if (name == hashes_.end()) continue;
      if (as == QuantisedAs::kFloats) {
        EXPECT_TRUE(info(t.dtype).is_float()) << t.name;
      }
      std::vector<float> values = floats(t), scratch;
      if (const auto order = folder.orders.find(t.name); order != folder.orders.end())
        for (size_t r = 0; r < t.rows(); ++r)
          put_in_place(order->second, std::span(values).subspan(r * t.cols(), t.cols()), scratch);
      if (t.dtype == DType::kMXFP4) {  // has no sign of zeros
        EXPECT_TRUE(std::ranges::equal(values, decoded.at(t.name))) << t.name;
        ++n_seen;
        continue;
      }
      decoded[t.name] = values;
      EXPECT_EQ(sha256_hex(std::as_bytes(std::span(values))), name->second) << t.name << " as " << name_of(t.dtype);
      ++n_seen;
    }
    EXPECT_EQ(n_seen, hashes_.size());
    for (const auto& became : report.became) n_matrices += became.n_matrices;
    EXPECT_EQ(n_matrices, hashes_.size()) << report.text();
  }
}

INSTANTIATE_TEST_SUITE_P(, Quantised, ::testing::ValuesIn(quantised_folders()), [](const auto& param) {
  const bool ours = param.param.parent_path() == kQuantisedFixtures;
  return (ours ? "own_" : "") + param.param.filename().string();
});

// What a checkpoint becomes in blocks.
TEST(QuantisedForms, IntegersWithF16ScalesBecomeBlocks) {
  const std::map<std::string, DType> expected = {
      {"gptq_sym", DType::kQ4_0}, {"gptq_b2", DType::kQ4_0},
      {"ct_int8", DType::kQ8_0},  {"fp8_block", DType::kF32},  // blocks of 48
      {"bnb_nf4", DType::kF32},                                // a table of its own
      {"awq", DType::kQ5_0}};
  for (const auto& [name, dtype] : expected) {
    HfFolder folder = open_hf_folder(kQuantisedFixtures / name);
    const QuantisedReport report = decode_quantised(folder, QuantisedAs::kBlocks);
    ASSERT_EQ(report.became.size(), 1u) << report.text();
    EXPECT_EQ(report.became[0].dtype, dtype) << report.text();
    EXPECT_EQ(report.became[0].n_matrices, 7u);
  }
}

// Blocks of 64 that hold their bytes, where rows are whole ones: of these models the down projections'.
TEST(QuantisedForms, FloatsOfOtherToolsKeepTheirBytes) {
  const std::map<std::string, DType> expected = {{"fp8_static", DType::kFP8},
                                                 {"bnb_nf4_table", DType::kNF4},
                                                 {"bnb_fp4_table", DType::kFP4},
                                                 {"bnb_int8", DType::kI8_64}};
  for (const auto& [name, dtype] : expected) {
    HfFolder folder = open_hf_folder(kQuantisedFixtures / name);
    const QuantisedReport report = decode_quantised(folder, QuantisedAs::kBlocks);
    ASSERT_EQ(report.became.size(), 2u) << report.text();
    for (const auto& became : report.became) EXPECT_EQ(became.dtype, became.n_matrices == 1 ? dtype : DType::kF32);
  }
  HfFolder folder = open_hf_folder(kQuantisedFixtures / "fp8_static");
  for (Tensor& t : folder.tensors)
    if (t.name.ends_with("down_proj.weight")) {
      auto bytes = std::make_shared<std::vector<std::byte>>(t.data.begin(), t.data.end());
      (*bytes)[70] = std::byte{0x7f};
      t.data = *bytes;
      folder.owners.push_back(bytes);
    }
  const std::string text = message_of(ErrorKind::kFormat, [&] { decode_quantised(folder, QuantisedAs::kBlocks); });
  EXPECT_NE(text.find("row 1 that is no number"), std::string::npos) << text;
}

// Inputs in the order of their activation: of 64 inputs two groups are mixed, of 32 there is one.
TEST(QuantisedForms, GroupsInActivationOrderBecomeBlocksWithAnOrder) {
  HfFolder folder = open_hf_folder(kQuantisedFixtures / "gptq_b3_act");
  const QuantisedReport report = decode_quantised(folder, QuantisedAs::kBlocks);
  ASSERT_EQ(report.became.size(), 1u) << report.text();
  EXPECT_EQ(report.became[0].dtype, DType::kQ4_0);
  EXPECT_EQ(report.became[0].n_ordered, 1u);
  EXPECT_EQ(folder.orders.size(), 1u);
  EXPECT_NE(report.text().find("q4_0 (1 with inputs in another order)"), std::string::npos) << report.text();
}

// A folder of a fixture's files with another config.
std::string error_of(const char* fixture, const std::function<void(HfFolder&, nlohmann::json&)>& change) {
  HfFolder folder = open_hf_folder(kQuantisedFixtures / fixture);
  nlohmann::json config = nlohmann::json::parse(folder.config_json);
  change(folder, config);
  folder.config_json = config.dump();
  try {
    decode_quantised(folder, QuantisedAs::kBlocks);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(QuantisedErrors, NameWhatIsWrong) {
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), text.npos) << text << "\nhas no: " << part;
  };
  const auto with = [](const char* key, const nlohmann::json& value) {
    return [=](HfFolder&, nlohmann::json& c) { c["quantization_config"][key] = value; };
  };
  has(error_of("awq", with("quant_method", "aqlm")), "'aqlm'");
  has(error_of("awq", with("version", "gemv")), "'gemv'");
  has(error_of("fp8_static",
               [](HfFolder&, nlohmann::json& c) {
                 c["quantization_config"] = {{"quant_method", "modelopt"}, {"quant_algo", "NVFP4"}};
               }),
      "nvfp4");
  has(error_of("fp8_static",
               [](HfFolder&, nlohmann::json& c) {
                 c["quantization_config"] = {{"quant_method", "modelopt"}, {"quant_algo", "FP8"}};
               }),
      "no error");
  has(error_of("ct_packed",
               [](HfFolder&, nlohmann::json& c) {
                 c["compression_config"] = c["quantization_config"];
                 c.erase("quantization_config");
               }),
      "no error");
  has(error_of("awq", with("bits", 3)), "3 bits");
  has(error_of("gptq_sym", with("bits", 5)), "5 bits");
  has(error_of("gptq_sym", with("bits", 8)), "groups");
  has(error_of("gptq_sym", with("bits", "four")), "a whole number");
  has(error_of("gptq_sym", with("group_size", 16)), "groups");
  has(error_of("gptq_sym", with("group_size", -7)), "-7");
  has(error_of("gptq_sym", with("checkpoint_format", "marlin")), "marlin");
  has(error_of("gptq_sym", with("quant_method", "awq")), "scales");
  has(error_of("gptq_sym", with("quant_method", "fp8")), "no tensor is");
  has(error_of("fp8_block", with("weight_block_size", {16, 16})), "weight_scale_inv");
  has(error_of("fp8_block", with("weight_block_size", {0, 16})), "two positive numbers");
  has(error_of("fp8_block", [](HfFolder&, nlohmann::json& c) { c.erase("quantization_config"); }), "F8_E4M3");
  has(error_of("ct_packed", with("format", "nvfp4-pack-quantized")), "nvfp4-pack-quantized");
  has(error_of("bnb_nf4",
               [](HfFolder& f, nlohmann::json&) {
                 std::erase_if(f.tensors, [](const Tensor& t) { return t.name.ends_with("nested_absmax"); });
               }),
      "nested_absmax");
  has(error_of("gptq_b3_act",
               [](HfFolder& f, nlohmann::json&) {
                 for (Tensor& t : f.tensors)
                   if (t.name.ends_with("down_proj.g_idx")) {
                     auto bytes = std::make_shared<std::vector<std::byte>>(t.data.begin(), t.data.end());
                     (*bytes)[4] = std::byte{2};
                     t.data = *bytes;
                     f.owners.push_back(bytes);
                   }
               }),
      "puts input 1 into group 2");
}

}  // namespace
}  // namespace hunch
