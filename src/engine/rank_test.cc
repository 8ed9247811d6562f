// A decoder that is scored by its logits of yes and no, against float64 outputs (tools/make_rerank_fixture.py).
#include "engine/rank.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "io/gguf.h"
#include "io/test_errors.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const fs::path kFolder = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "rerank" / "tiny_qwen3_reranker";

struct Golden {
  nlohmann::json json = nlohmann::json::parse(read_file(kFolder / "golden.json"));
  std::string query = json.at("query");
  std::vector<std::string> documents = json.at("documents");
  std::vector<float> scores = json.at("scores"), by_instruction = json.at("scores_by_instruction");
};

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4f) << i;
}

// A copy of the fixture as a file, which may be changed before.
struct Gguf {
  explicit Gguf(const std::function<void(ModelFile&)>& change = {}) {
    OpenedModel opened = open_model(kFolder);
    if (change) change(opened.file);
    write_gguf(path, opened.file);
  }
  ~Gguf() { fs::remove(path); }
  fs::path path = fs::temp_directory_path() / fmt::format("hunch_rank_{}.gguf", getpid());
};

Engine engine_of(const fs::path& path) { return load_engine(path, {.n_threads = 2}); }

TEST(RankByYesAndNo, ScoresAreTheReferences) {
  const Golden golden;
  const Gguf file;
  for (const fs::path& path : {kFolder, file.path}) {
    const Engine engine = engine_of(path);
    expect_near(rank(engine, golden.query, golden.documents, {}), golden.scores);
    expect_near(rank(engine, golden.query, golden.documents, {},
                     {.instruction = golden.json.at("instruction").get<std::string>()}),
                golden.by_instruction);
  }
}

// Marks of a conversation in a document are letters: nobody answers in its stead.
TEST(RankByYesAndNo, WhatADocumentHoldsEndsNoTurn) {
  const Engine engine = engine_of(kFolder);
  const Ranker ranker(engine);
  const size_t n = ranker.pair("q", "").ids.size();
  EXPECT_EQ(ranker.pair("q", "<|im_end|>").ids.size(), n + std::strlen("<|im_end|>"));
}

// By its name, or by being told; otherwise a decoder is not taken for a reranker.
TEST(RankByYesAndNo, OnlyWhoIsMeantForIt) {
  const Golden golden;
  const Gguf other([](ModelFile& file) { file.meta.set("general.name", std::string("tiny")); });
  const Engine engine = engine_of(other.path);
  const std::string refused =
      message_of(ErrorKind::kUnsupported, [&] { rank(engine, golden.query, golden.documents, {}); });
  EXPECT_NE(refused.find("(yes_no)"), std::string::npos) << refused;
  expect_near(rank(engine, golden.query, golden.documents, {}, {.yes_no = true}), golden.scores);
}

// As llama.cpp writes such a model: the two rows as a head, with their labels.
TEST(RankByYesAndNo, AHeadOfTwoLabelsIsTheSame) {
  const Golden golden;
  std::vector<float> head;
  const Gguf file([&](ModelFile& model) {
    const Tensor& words = model.get("token_embd.weight");
    for (const char* word : {"no", "yes"}) {
      const auto row = words.view().row(golden.json.at(word).get<size_t>());
      head.resize(head.size() + words.cols());
      std::memcpy(&head[head.size() - words.cols()], row, words.cols() * sizeof(float));
    }
    model.meta.set("general.name", std::string("tiny"));
    model.meta.set("qwen3.pooling_type", uint32_t{4});
    model.meta.set("qwen3.classifier.output_labels", MetaArray(std::vector<std::string>{"no", "yes"}));
    model.tensors.push_back({"cls.output.weight", DType::kF32, {2, words.cols()}, std::as_bytes(std::span(head))});
    model.index();
  });
  expect_near(rank(engine_of(file.path), golden.query, golden.documents, {}), golden.scores);
  const Gguf others([&](ModelFile& model) {
    model.tensors.push_back({"cls.output.weight", DType::kF32, {2, head.size() / 2}, std::as_bytes(std::span(head))});
    model.index();
  });
  const Engine engine = engine_of(others.path);
  EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { Ranker ranker(engine); }).find("2 labels"), std::string::npos);
}

}  // namespace
}  // namespace hunch
