#include "compress/mixed_types.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "compress/compress_weights.h"
#include "compress/test_models.h"

namespace hunch {
namespace {

CompressOptions options_of(const char* method) {
  CompressOptions options;
  options.methods = parse_methods(method);
  options.target = {DType::kQ8_0, {}};
  options.n_tokens = 256;
  options.without_zeros = false;
  return options;
}

double bits_of(const MixedTypes& mixed) {
  uint64_t bytes = 0, n = 0;
  for (const MixedTensor& t : mixed.tensors) bytes += t.choices[t.chosen].bytes, n += t.n_weights;
  return 8 * double(bytes) / double(n);
}

TEST(MixedTypes, TakeNoMoreThanTheBudgetAndLoseLessTheMoreThereIs) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 400), some(ids.begin(), ids.begin() + 20);
  const std::vector<float> want = logits_of(engine, some);
  double last = INFINITY;
  for (const double bits : {5.0, 6.5, 9.0}) {
    const CompressOptions options = options_of("rtn");
    const MixedTypes mixed = choose_types(engine, ids, options, {bits, {}});
    EXPECT_EQ(worst_difference(logits_of(engine, some), want), 0.0f) << "the model has changed";
    EXPECT_LE(mixed.bits, bits);
    EXPECT_GT(mixed.bits, bits - 1);
    EXPECT_NEAR(mixed.bits, bits_of(mixed), 1e-12);
    CompressOptions chosen = options;
    chosen.types = mixed.types();
    const TempFile out;
    compress_weights(engine, ids, chosen, out.path);
    const Engine small = engine_of(out.path);
    for (const MixedTensor& t : mixed.tensors) EXPECT_EQ(small.model->file().get(t.name).dtype, t.type()) << t.name;
    const double d = distance(want, logits_of(small, some));
    EXPECT_LT(d, last);
    last = d;
  }
}

TEST(MixedTypes, LossesFollowTheSquaredErrorsOfOutputs) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  const MixedTypes mixed = choose_types(engine, ids, options_of("rtn"), {6.0, {}});
  for (const MixedTensor& t : mixed.tensors) {
    EXPECT_GE(t.choices.size(), 4u);
    for (const TypeChoice& c : t.choices) EXPECT_GE(c.loss, 0);
    // A step of 8 bits is a sixteenth of one of 4, its square less than a hundredth.
    const auto loss = [&](DType type) {
      return t.choices[size_t(std::ranges::find(t.types, type) - t.types.begin())].loss;
    };
    EXPECT_LT(loss(DType::kQ8_0), 0.05 * loss(DType::kQ4_0)) << t.name;
    EXPECT_LT(loss(DType::kF16), 0.01 * loss(DType::kQ8_0)) << t.name;
  }
  // No other type for one tensor at the same bytes or fewer saves anything.
  for (const MixedTensor& t : mixed.tensors)
    for (const TypeChoice& c : t.choices)
      if (c.bytes <= t.choices[t.chosen].bytes) {
        EXPECT_GE(c.loss, t.choices[t.chosen].loss) << t.name;
      }
}

TEST(MixedTypes, KeepThePerplexityThatWasAskedFor) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  double last = 0;
  for (const double increase : {0.2, 0.002}) {
    const MixedTypes mixed = choose_types(engine, ids, options_of("rtn"), {{}, increase});
    EXPECT_LE(mixed.perplexity, mixed.before * (1 + increase) * (1 + 1e-9));
    EXPECT_GT(mixed.bits, last);
    last = mixed.bits;
  }
}

TEST(MixedTypes, PrunedZerosStay) {
  const Engine engine = engine_of(golden_fixture("opt_sparse"));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  CompressOptions options = options_of("wanda,gptq");
  options.types = choose_types(engine, ids, options, {6.0, {}}).types();
  const TempFile out;
  const CompressReport report = compress_weights(engine, ids, options, out.path);
  for (const auto& [role, r] : report.roles) EXPECT_GE(double(r.n_zeros), 0.49 * double(r.n_weights)) << name_of(role);
}

TEST(MixedTypes, RefusesBudgetsThatNobodyMeets) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const auto refusal = [&](const char* method, const MixedBudget& budget, size_t n = 400) -> std::string {
    try {
      choose_types(engine, random_ids(engine, n), options_of(method), budget);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  EXPECT_NE(refusal("rtn", {2.0, {}}).find("the smallest types"), std::string::npos);
  EXPECT_NE(refusal("awq", {5.0, {}}).find("rtn and gptq"), std::string::npos);
  EXPECT_NE(refusal("rtn", {5.0, {}}, 100).find("at least 256"), std::string::npos);
  EXPECT_NE(refusal("rtn", {{}, -0.1}).find("more than 0"), std::string::npos);
}

}  // namespace
}  // namespace hunch
