// Blocks that guess tokens beyond the next one are named and not computed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"
#include "model/hf_import.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

TEST(LeftOut, OfAFolderByTheImport) {
  HfFolder folder{"a folder", "{}", {}, {}};
  const std::vector<float> values(4);
  for (const char* name : {"model.embed.weight", "mtp.fc.weight", "mtp.norm.weight", "model.layers.61.up.weight",
                           "model.layers.6.up.weight"})
    folder.tensors.push_back({name, DType::kF32, {4}, std::as_bytes(std::span(values))});
  HfImport hf(folder, "llama");
  hf.choose_prefix({"model."}, "embed.weight");
  hf.leave_out("mtp.");
  hf.leave_out("layers.61.");
  EXPECT_EQ(hf.left_out(), (std::vector<std::string>{"model.layers.61.up.weight", "mtp.fc.weight", "mtp.norm.weight"}));
  EXPECT_EQ(hf.unused(), (std::vector<std::string>{"model.embed.weight", "model.layers.6.up.weight"}));
  EXPECT_EQ(describe_left_out(hf.left_out()),
            "3 tensors that guess tokens beyond the next one are left out: model.layers.61.up.weight, ...");
  EXPECT_EQ(describe_left_out({"mtp.fc.weight"}),
            "1 tensor that guesses tokens beyond the next one is left out: mtp.fc.weight");
}

TEST(LeftOut, OfAFileByItsKey) {
  ModelFile file = open_model(golden_fixture("tiny_llama")).file;
  EXPECT_EQ(open_model(golden_fixture("tiny_llama")).left_out, std::vector<std::string>());
  const auto n_layer = uint32_t(file.meta.get_uint("llama.block_count"));
  const std::vector<float> values(4);
  const std::string name = fmt::format("blk.{}.nextn.eh_proj.weight", n_layer);
  file.meta.set("llama.block_count", n_layer + 1);
  file.meta.set("llama.nextn_predict_layers", uint32_t{1});
  file.tensors.push_back({name, DType::kF32, {2, 2}, std::as_bytes(std::span(values))});
  file.index();
  const fs::path path = fs::temp_directory_path() / fmt::format("hunch_left_out_{}.gguf", getpid());
  write_gguf(path, file);
  EXPECT_EQ(open_model(path).left_out, std::vector<std::string>{name});
  file.meta.set("llama.nextn_predict_layers", std::string("many"));
  write_gguf(path, file);
  EXPECT_EQ(open_model(path).left_out, std::vector<std::string>());
  fs::remove(path);
}

}  // namespace
}  // namespace hunch
