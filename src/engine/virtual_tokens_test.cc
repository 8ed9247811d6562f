// Adapters whose tokens stand before every text: prompt and prefix tuning.
#include <gtest/gtest.h>

#include <fstream>

#include "base/test_paths.h"
#include "engine/answer.h"
#include "engine/generate.h"
#include "formats/format.h"
#include "io/safetensors_write.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"
#include "model/golden_data.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

using Floats = std::vector<float>;

Floats all_logits(Context& context, std::span<const int32_t> ids) {
  Floats out;
  context.append_all(ids, [&](size_t, MatView<const float> logits) {
    for (size_t t = 0; t < logits.rows; ++t) out.insert(out.end(), logits.row(t).begin(), logits.row(t).end());
  });
  return out;
}

class VirtualTokensOf : public ::testing::TestWithParam<const char*> {
 protected:
  // A prompt whose embeddings are those of words.
  AdapterSource write_words(std::span<const int32_t> words, const std::string& name = "words") {
    const WeightView table = engine_.model->weights().token_embd;
    const size_t n = words.size();
    values_.resize(n * table.cols);
    for (size_t i = 0; i < n; ++i)
      codec(table.dtype).decode(table.row(size_t(words[i])), &values_[i * table.cols], table.cols);
    fs::create_directories(dir_.path / name);
    const TensorToWrite tensor{
        "prompt_embeddings", DType::kF32, {n, table.cols}, [&] { return std::as_bytes(std::span(values_)); }};
    write_safetensors(dir_.path / name / "adapter_model.safetensors", {&tensor, 1});
    std::ofstream(dir_.path / name / "adapter_config.json")
        << R"({"peft_type":"PROMPT_TUNING","task_type":"CAUSAL_LM","num_virtual_tokens":)" << n << "}";
    return {dir_.path / name};
  }

  TempDir dir_{"virtual_tokens"};
  Floats values_;
  Engine engine_ = load_engine(golden_fixture(GetParam()), {.n_threads = 2});
  const std::vector<int32_t> words_ = {7, 3, 30}, text_ = {5, 9, 2, 40, 7, 11};
};

TEST_P(VirtualTokensOf, WordsBeforeATextAreReadAsWords) {
  const AdapterSource source = write_words(words_);
  const auto adapter = engine_.load_adapter({&source, 1});
  Context tuned(engine_, {.n_ctx = 32, .adapter = adapter}), plain(engine_, {.n_ctx = 32});
  std::vector<int32_t> all = words_;
  all.insert(all.end(), text_.begin(), text_.end());
  const Floats want = all_logits(plain, all), got = all_logits(tuned, text_);
  ASSERT_EQ(got.size() + words_.size() * engine_.config().n_vocab, want.size());
  EXPECT_LE(worst_difference(got, {want.end() - ptrdiff_t(got.size()), want.end()}), 2e-5f);
  EXPECT_EQ(tuned.n_tokens(), text_.size());
  EXPECT_EQ(tuned.n_ctx(), 32u) << "they stand beside the context";

  // They stay when the text goes.
  tuned.truncate(0);
  EXPECT_LE(worst_difference(all_logits(tuned, text_), got), 2e-5f);
  tuned.truncate(2);
  EXPECT_LE(worst_difference(all_logits(tuned, std::span(text_).subspan(2)),
                             {got.begin() + ptrdiff_t(2 * engine_.config().n_vocab), got.end()}),
            2e-5f);
  EXPECT_THROW(tuned.append(std::vector<int32_t>(32 - text_.size() + 1, 5)), Error);
  EXPECT_NO_THROW(tuned.append(std::vector<int32_t>(32 - text_.size(), 5)));
  Batch batch(engine_, {.n_tokens = 96});
  EXPECT_EQ(batch.new_sequence({.adapter = adapter, .n_ctx = 32})->n_ctx(), 32 - words_.size());
}

TEST_P(VirtualTokensOf, BelongToTheirRunAlone) {
  const AdapterSource source = write_words(words_);
  const auto adapter = engine_.load_adapter({&source, 1});
  Batch batch(engine_, {.n_tokens = 96, .n_sequences = 2});
  const auto tuned = batch.new_sequence({.adapter = adapter, .n_ctx = 24}), plain = batch.new_sequence({.n_ctx = 24});
  GenerateOptions options;
  options.n_tokens = 8;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  const auto first = batch.admit(*tuned, text_, options), second = batch.admit(*plain, text_, options);
  while (batch.step()) {
  }
  Context alone(engine_, {.n_ctx = 24}), with(engine_, {.n_ctx = 24, .adapter = adapter});
  EXPECT_EQ(second->generated().ids, generate(alone, text_, options).ids);
  EXPECT_EQ(first->generated().ids, generate(with, text_, options).ids);
  const auto branch = tuned->fork(4);
  EXPECT_EQ(branch->n_tokens(), 4u);
  EXPECT_EQ(branch->n_ctx(), tuned->n_ctx());
  EXPECT_EQ(branch->n_cached(), 4 + words_.size());
}

TEST_P(VirtualTokensOf, WhatDoesNotGoWithThemIsRefusedByName) {
  const AdapterSource source = write_words(words_);
  const auto adapter = engine_.load_adapter({&source, 1});
  const AdapterSource twice[] = {source, source}, half{source.path, 0.5f};
  const auto says = [](const std::string& message, const char* what) {
    EXPECT_NE(message.find(what), message.npos) << message;
  };
  says(message_of(ErrorKind::kUsage, [&] { engine_.load_adapter(twice); }), "virtual tokens");
  says(message_of(ErrorKind::kUsage, [&] { engine_.load_adapter({&half, 1}); }), "virtual tokens");
  says(message_of(ErrorKind::kLimit,
                  [&] { Batch(engine_, {.n_tokens = 96}).new_sequence({.adapter = adapter, .n_ctx = 3}); }),
       "virtual tokens");
  says(message_of(ErrorKind::kUnsupported,
                  [&] { Context(engine_, {.n_ctx = 24, .prefill = "a-shape:128", .adapter = adapter}); }),
       "patterns of prompts");
  Context host(engine_, {.n_ctx = 24});
  says(message_of(ErrorKind::kUsage, [&] { Context(engine_, {.adapter = adapter}, host.sequence()); }), "3");
}

INSTANTIATE_TEST_SUITE_P(Fixtures, VirtualTokensOf, ::testing::Values("opt_sparse", "llama_mha", "tiny_llama"),
                         [](const auto& i) { return std::string(i.param); });

// What PEFT computes: golden/adapters/README.md.
class GoldenVirtualTokens : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenVirtualTokens, GiveWhatPeftGives) {
  const std::string name = GetParam();
  const auto root = shared_path("golden");
  const std::string base = name.ends_with("opt") ? "models/opt" : "models/llama";
  if (!root || !fs::exists(*root / "adapters" / name) || !fs::exists(*root / base))
    GTEST_SKIP() << "needs golden/adapters and golden/models of the shared data";
  const AdapterSource source{*root / "adapters" / name};
  const Engine engine = load_engine(*root / base, {.n_threads = 2, .adapters = {source}});
  const GoldenData golden(source.path / "golden");
  for (size_t s = 0; s < golden.sequences.size(); ++s) {
    Context context(engine, {});
    const std::vector<int32_t>& ids = golden.sequences[s].ids;
    EXPECT_LE(worst_difference(all_logits(context, ids), golden.array("s" + std::to_string(s) + ".logits")), 1e-4f);
    context.truncate(0);
    GenerateOptions options;
    options.n_tokens = golden.sequences[s].greedy.size();
    options.ignore_end = true;
    options.sampler.temperature = 0;
    EXPECT_EQ(generate(context, ids, options).ids, golden.sequences[s].greedy);
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, GoldenVirtualTokens,
                         ::testing::Values("prompt_llama", "prompt_opt", "prefix_llama", "prefix_opt"),
                         [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace hunch
