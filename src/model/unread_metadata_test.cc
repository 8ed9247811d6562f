#include "model/unread_metadata.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

TEST(UnreadMetadata, NamesWhatWouldBeDroppedWithoutAWord) {
  ModelFile file = open_model(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / "llama_mha").file;
  EXPECT_EQ(unread_metadata(file), std::vector<std::string>());
  file.meta.set("llama.attention.scale_by_layer", true);
  file.meta.set("llama.rope.scaling.finetuned", true);
  file.meta.set("llama.vocab_size", uint32_t{300});
  file.meta.set("other.key", uint32_t{1});
  EXPECT_EQ(unread_metadata(file), (std::vector<std::string>{"llama.attention.scale_by_layer"}));
  file.meta.erase("llama.attention.scale_by_layer");
  file.meta.set("tokenizer.ggml.add_space_prefix", true);
  file.meta.set("tokenizer.ggml.fim_pre_token_id", uint32_t{3});
  file.meta.set("tokenizer.chat_template.tool_use", std::string("{{ x }}"));
  file.meta.set("tokenizer.ggml.lowercase", true);
  file.meta.set("tokenizer.other", true);
  EXPECT_EQ(unread_metadata(file), (std::vector<std::string>{"tokenizer.ggml.lowercase", "tokenizer.other"}));
  file.meta.set("llama.block_count", std::string("many"));
  EXPECT_EQ(unread_metadata(file), std::vector<std::string>());
}

// What hunch writes, it reads: every architecture's own metadata.
TEST(UnreadMetadata, NothingOfOurOwnFiles) {
  for (const auto& entry : fs::directory_iterator(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden"))
    if (entry.is_directory())
      EXPECT_EQ(unread_metadata(open_model(entry.path()).file), std::vector<std::string>()) << entry.path();
}

}  // namespace
}  // namespace hunch
