// Patterns of prompts in sidecars.
#include <gtest/gtest.h>
#include <unistd.h>

#include "io/gguf.h"
#include "io/test_errors.h"
#include "model/sidecar.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct SidecarFile {
  SidecarFile() {
    sidecar.base = {"a1", "b2", "llama", "tiny", 3, 32, 48};
    sidecar.layers.resize(3);
    sidecar.prompts = std::make_shared<const PromptPatterns>(std::vector<std::vector<PromptPattern>>{
        {prompt_pattern_from("a-shape:256"), {}}, {}, {prompt_pattern_from("vertical-slash:512,verticals=0.125")}});
  }
  ~SidecarFile() { fs::remove(path); }
  Sidecar sidecar;
  const fs::path path = fs::temp_directory_path() / ("hunch-prompts-" + std::to_string(::getpid()) + ".hunch");
};

TEST(SidecarPrompts, AreReadAsTheyWereWritten) {
  SidecarFile file;
  write_sidecar(file.path, file.sidecar);
  const Sidecar read = open_sidecar(file.path);
  ASSERT_TRUE(read.prompts);
  EXPECT_EQ(read.prompts->heads(), file.sidecar.prompts->heads());
  file.sidecar.prompts = nullptr;
  write_sidecar(file.path, file.sidecar);
  EXPECT_FALSE(open_sidecar(file.path).prompts);
}

TEST(SidecarPrompts, WhatIsWrongIsSaid) {
  SidecarFile file;
  const auto refusal = [&](std::vector<std::string> patterns) {
    write_sidecar(file.path, file.sidecar);
    ModelFile opened = open_gguf(file.path);
    opened.meta.set("hunch.prefill.patterns", MetaArray(std::move(patterns)));
    return message_of(ErrorKind::kFormat, [&] { parse_sidecar(std::move(opened)); });
  };
  EXPECT_NE(refusal({"", ""}).find("has 2 values"), std::string::npos);
  const std::string unknown = refusal({"", "dense;stars:3", ""});
  EXPECT_NE(unknown.find("'hunch.prefill.patterns', layer 1: unknown pattern"), std::string::npos) << unknown;
  EXPECT_NE(refusal({"a-shape:256;", "", ""}).find("layer 0"), std::string::npos) << "an empty pattern";
}

}  // namespace
}  // namespace hunch
