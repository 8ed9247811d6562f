#include "model/hf_pooling.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "model/architecture.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "embedding";

template <class F>
std::string error_of(ErrorKind kind, const F& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(HfPooling, IsOneOfTheModes) {
  EXPECT_EQ(parse_pooling(R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})"), PoolingKind::kCls);
  EXPECT_EQ(parse_pooling(R"({"pooling_mode_mean_tokens": true, "include_prompt": true})"), PoolingKind::kMean);
  EXPECT_EQ(parse_pooling(R"({"pooling_mode_lasttoken": true})"), PoolingKind::kLast);
  EXPECT_EQ(parse_pooling(R"({"pooling_mode": "cls"})"), PoolingKind::kCls);
  EXPECT_EQ(parse_pooling(R"({"word_embedding_dimension": 3})"), std::nullopt);
}

TEST(HfPooling, OthersAreRefusedByName) {
  EXPECT_NE(error_of(ErrorKind::kUnsupported, [] { parse_pooling(R"({"pooling_mode_max_tokens": true})"); })
                .find("max_tokens"),
            std::string::npos);
  error_of(ErrorKind::kUnsupported,
           [] { parse_pooling(R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})"); });
  error_of(ErrorKind::kFormat, [] { parse_pooling("[]"); });
}

TEST(HfPooling, BecomesMetadata) {
  const auto pooling = [](const char* name) { return config_from_gguf(open_model(kFixtures / name).file).pooling; };
  EXPECT_EQ(pooling("tiny_bert"), PoolingKind::kMean);
  EXPECT_EQ(pooling("tiny_roberta"), PoolingKind::kCls);
  EXPECT_EQ(pooling("tiny_bert_rank"), PoolingKind::kRank);
}

TEST(HfPooling, ModulesThatAreNotComputedAreNamed) {
  const fs::path folder = fs::temp_directory_path() / ("hunch_pooling" + std::to_string(getpid()));
  fs::create_directories(folder);
  const auto write = [&](const char* text) {
    AtomicFile file(folder / "modules.json");
    file.write(std::string_view(text));
    file.commit();
  };
  write(R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])");
  EXPECT_EQ(read_hf_pooling(folder).unknown, std::vector<std::string>{"modules.json: Dense"});
  EXPECT_EQ(read_hf_pooling(folder).kind, std::nullopt);
  write(R"([{"type": "sentence_transformers.models.Pooling", "path": "../../etc"}])");
  EXPECT_NE(error_of(ErrorKind::kFormat, [&] { read_hf_pooling(folder); }).find("../../etc"), std::string::npos);
  write(R"([{"type": "sentence_transformers.models.Pooling", "path": ".."}, 7])");
  error_of(ErrorKind::kFormat, [&] { read_hf_pooling(folder); });
  write(R"({"type": 1})");
  error_of(ErrorKind::kFormat, [&] { read_hf_pooling(folder); });
  fs::remove_all(folder);
}

}  // namespace
}  // namespace hunch
