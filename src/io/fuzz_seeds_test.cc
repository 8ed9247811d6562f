// The fuzzers' seed corpora say what they are meant to say: a fuzzer that starts from files which
// are all refused at the door explores nothing.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "io/adapter.h"
#include "io/gguf.h"
#include "io/imatrix.h"
#include "io/llama2c.h"
#include "io/quantised_folder.h"
#include "io/safetensors.h"
#include "io/test_bytes.h"
#include "io/torch_checkpoint.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

using Parse = std::function<void(std::span<const std::byte>)>;

// Parses every seed of `corpus`; the named ones must be refused, all others read.
void check_corpus(const char* corpus, const std::map<std::string, ErrorKind>& refused, const Parse& parse) {
  size_t n_refused = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(HUNCH_SOURCE_DIR) / "src/io/fuzz_corpus" / corpus)) {
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    const MappedFile file(entry.path());
    const auto it = refused.find(name);
    try {
      parse(file.bytes());
      EXPECT_TRUE(it == refused.end());
    } catch (const Error& e) {
      ASSERT_TRUE(it != refused.end()) << e.what();
      EXPECT_EQ(e.kind(), it->second) << e.what();
      ++n_refused;
    }
  }
  EXPECT_EQ(n_refused, refused.size());
}

TEST(FuzzSeeds, Gguf) {
  check_corpus("gguf", {{"nested", ErrorKind::kUnsupported}, {"truncated", ErrorKind::kFormat}},
               [](auto bytes) { parse_gguf(bytes); });
}

TEST(FuzzSeeds, Safetensors) {
  check_corpus("safetensors", {{"overlap", ErrorKind::kFormat}, {"escapes", ErrorKind::kUnsupported}},
               [](auto bytes) { parse_safetensors(bytes); });
}

TEST(FuzzSeeds, TorchCheckpoint) {
  check_corpus("torch_checkpoint", {{"refused", ErrorKind::kUnsupported}},
               [](auto bytes) { parse_torch_checkpoint(bytes); });
}

TEST(FuzzSeeds, Adapter) {
  check_corpus("adapter",
               {{"ia3", ErrorKind::kFormat},
                {"bias", ErrorKind::kUnsupported},
                {"half", ErrorKind::kFormat},
                {"gguf_model", ErrorKind::kFormat}},
               [](std::span<const std::byte> bytes) {
                 if (as_text(bytes.first(4)) == "GGUF") {
                   parse_gguf_adapter(parse_gguf(bytes));
                   return;
                 }
                 const size_t n_config = size_t(bytes[0]) | size_t(bytes[1]) << 8;
                 parse_peft_adapter(as_text(bytes.subspan(2, n_config)),
                                    parse_safetensors(bytes.subspan(2 + n_config)));
               });
}

TEST(FuzzSeeds, Quantised) {
  check_corpus("quantised", {}, [](std::span<const std::byte> bytes) {
    const size_t n_config = size_t(bytes[0]) | size_t(bytes[1]) << 8;
    HfFolder folder;
    folder.config_json = as_text(bytes.subspan(2, n_config));
    folder.tensors = parse_safetensors(bytes.subspan(2 + n_config), &folder.float8);
    EXPECT_EQ(decode_quantised(folder, QuantisedAs::kBlocks).became.size(), 1u);
  });
}

TEST(FuzzSeeds, Imatrix) {
  check_corpus("imatrix",
               {{"list_negative", ErrorKind::kFormat},
                {"gguf_other", ErrorKind::kFormat},
                {"gguf_uncounted", ErrorKind::kNotFound}},
               [](auto bytes) { parse_imatrix(bytes); });
}

TEST(FuzzSeeds, Llama2c) {
  check_corpus("llama2c", {{"newer", ErrorKind::kUnsupported}}, [](auto bytes) {
    const size_t n_tokenizer = size_t(bytes[0]) | size_t(bytes[1]) << 8;
    parse_llama2c(bytes.subspan(2 + n_tokenizer), bytes.subspan(2, n_tokenizer));
  });
}

}  // namespace
}  // namespace hunch
