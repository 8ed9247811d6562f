// A model on a device through the public headers, in C++ and C.
#include <gtest/gtest.h>

#include "hunch/generate.h"
#include "hunch/hunch.h"
#include "hunch/model.h"

namespace hunch {
namespace {

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";

class DeviceChoice : public testing::Test {
 protected:
  void SetUp() override {
    try {
      LanguageModel(kDemo, {.n_threads = 1, .n_ctx = 64, .device = "vulkan:0"});
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kNotFound && e.kind() != ErrorKind::kUnsupported) throw;
      GTEST_SKIP() << "no Vulkan device: " << e.what();
    }
  }
  static std::string text_of(LanguageModel& model) {
    return generate(model, "Once upon a time", {.n_tokens = 8, .temperature = 0}).text;
  }
};

TEST_F(DeviceChoice, PartsOfAModelAreThereAndTheTextIsTheSame) {
  LanguageModel here(kDemo, {.n_threads = 1, .n_ctx = 64});
  EXPECT_EQ(here.info().device, "cpu");
  LanguageModel there(kDemo, {.n_threads = 1, .n_ctx = 64, .device = "vulkan:0"});
  LanguageModel partly(kDemo, {.n_threads = 1, .n_ctx = 64, .device = "vulkan:0", .gpu_layers = 2});
  EXPECT_EQ(there.info().device.find("vulkan:0 ("), 0u);
  EXPECT_NE(partly.info().device.find(", 2 of "), std::string::npos) << partly.info().device;
  EXPECT_EQ(text_of(there), text_of(here));
  EXPECT_EQ(text_of(partly), text_of(here));
}

TEST_F(DeviceChoice, CHasTheSameOptions) {
  LanguageModel here(kDemo, {.n_threads = 1, .n_ctx = 64});
  const size_t n_layers = 2;
  hunch_load_options load;
  hunch_load_options_init(&load);
  load.n_threads = 1;
  load.n_ctx = 64;
  load.device = "vulkan:0";
  load.gpu_layers = &n_layers;
  hunch_model* model = hunch_load(kDemo, &load);
  ASSERT_TRUE(model) << hunch_last_error();
  hunch_model_info info;
  hunch_model_info_get(model, &info);
  EXPECT_NE(std::string(info.device).find(", 2 of "), std::string::npos) << info.device;
  hunch_generation_options options;
  hunch_generation_options_init(&options);
  options.n_tokens = 8;
  options.temperature = 0;
  char* text = hunch_generate(model, "Once upon a time", &options, nullptr, nullptr);
  ASSERT_TRUE(text) << hunch_last_error();
  EXPECT_EQ(std::string(text), text_of(here));
  hunch_free_string(text);
  hunch_free(model);
}

TEST(NoDevice, OptionsThatCannotBeMeantAreRefused) {
  const auto kind = [](const LoadOptions& options) {
    try {
      LanguageModel model(kDemo, options);
    } catch (const Error& e) {
      return e.kind();
    }
    return ErrorKind::kIo;
  };
  EXPECT_EQ(kind({.n_threads = 1, .device = "cuda"}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.n_threads = 1, .gpu_layers = 2}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.n_threads = 1, .gpu_neurons = 0.5}), ErrorKind::kUsage);
}

}  // namespace
}  // namespace hunch
