// `compress --rotate-inputs`: the same function in floats, and nearer to it where outliers meet few bits.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "compress/compress_weights.h"
#include "compress/convert.h"
#include "compress/test_models.h"
#include "io/test_errors.h"
#include "linear/rotated.h"

namespace hunch {
namespace {

CompressOptions options_of(const char* method, DType dtype) {
  CompressOptions options;
  options.methods = parse_methods(method);
  options.target = {dtype, {}};
  options.rotated = {Role::kHeads, Role::kDown};
  options.text_name = "random.txt";
  return options;
}

// 44 inputs of `down` in the one are not to be rotated.
CompressOptions options_of(std::string_view model, const char* method, DType dtype) {
  CompressOptions options = options_of(method, dtype);
  if (model == "tiny_phi3") options.rotated = {Role::kHeads};
  return options;
}

// Plain, with experts, with biases, in wide heads.
class RotatedInputs : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, RotatedInputs, ::testing::Values("llama_mha", "tiny_phi3", "qwen2_moe", "opt_sparse"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(RotatedInputs, KeepTheFunctionAndComeBackAsPlainMatrices) {
  const TempFile rotated, back;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
  const CompressOptions options = options_of(GetParam(), "rtn", DType::kF32);
  compress_weights(engine, ids, options, rotated.path);
  const Engine got = engine_of(rotated.path);
  size_t n_rotated = 0;
  for (const Linear* w : matrices(got)) {
    const bool wanted = std::ranges::find(options.rotated, w->id.role) != options.rotated.end();
    const bool is = dynamic_cast<const Rotated*>(w) != nullptr;
    n_rotated += is;
    if (w->id.expert != LinearId::kShared) EXPECT_EQ(is, wanted) << name_of(w->id.role);
  }
  EXPECT_GE(n_rotated, 2u);
  EXPECT_LT(distance(logits_of(engine, some), logits_of(got, some)), 1e-5);

  convert_model(got.model->file(), back.path, {DType::kF32, DownFile::kRows}, *got.compute);
  const Engine plain = engine_of(back.path);
  const std::vector<const Linear*> want = matrices(engine), again = matrices(plain);
  ASSERT_EQ(again.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(dynamic_cast<const Rotated*>(again[i]), nullptr);
    EXPECT_LT(distance(floats_of(*engine.compute, *want[i]), floats_of(*plain.compute, *again[i])), 1e-6);
  }
}

// GPTQ is fitted to what the rotated inputs are: its error is that of its own outputs, and below rounding to the
// nearest.
TEST_P(RotatedInputs, GptqIsFittedToThem) {
  const TempFile nearest, fitted;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  CompressOptions options = options_of(GetParam(), "rtn", DType::kQ4_0);
  options.dense_inputs = true;
  const CompressReport by_rtn = compress_weights(engine, ids, options, nearest.path);
  options.methods = parse_methods("gptq");
  const CompressReport by_gptq = compress_weights(engine, ids, options, fitted.path);
  for (const Role role : options.rotated) {
    SCOPED_TRACE(name_of(role));
    EXPECT_LT(by_gptq.roles.at(role).error, by_rtn.roles.at(role).error);
    EXPECT_LT(by_rtn.roles.at(role).error, 0.2);
  }
}

TEST(RotateInputs, WhatCannotBeIsRefusedByName) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  const auto message = [&](ErrorKind kind, const auto& change) {
    CompressOptions options = options_of("rtn", DType::kQ8_0);
    change(options);
    return message_of(kind, [&] { check_compress(engine, ids, options); });
  };
  const auto expect = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), text.npos) << text << "\nhas no: " << part;
  };
  expect(message(ErrorKind::kUsage, [](auto& o) { o.rotated = {Role::kUp}; }), "not those of up");
  expect(message(ErrorKind::kUsage, [](auto& o) { o.roles = {Role::kHeads}; }), "inputs of down are to be rotated");
  expect(message(ErrorKind::kUsage, [](auto& o) { o.methods = parse_methods("awq"); }), "the method is awq");
  expect(message(ErrorKind::kUsage, [](auto& o) { o.methods = parse_methods("wanda,rtn"); }),
         "the method is wanda,rtn");
  const Engine narrow = engine_of(golden_fixture("tiny_phi3"));
  expect(message_of(ErrorKind::kUnsupported,
                    [&] { check_compress(narrow, random_ids(narrow, 300), options_of("rtn", DType::kQ8_0)); }),
         "44 inputs, of which only 4");
}

}  // namespace
}  // namespace hunch
