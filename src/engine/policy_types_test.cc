// Key policies on caches of every type: each pair computes what it should, or is refused by name.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "engine/test_forgetful.h"
#include "engine/test_hiding.h"
#include "engine/test_policies.h"
#include "engine/test_synth.h"
#include "engine/test_texts.h"

namespace hunch {
namespace {

ContextOptions options_of(const KvType& type, std::shared_ptr<const KeySelector> keys) {
  ContextOptions options;
  options.n_ctx = 200;
  options.kv_type = type;
  options.keys = std::move(keys);
  return options;
}

class PolicyTypes : public ::testing::TestWithParam<std::string> {};

// A prompt, tokens one by one, a part of them verified or taken back where the policy allows it.
TEST_P(PolicyTypes, ChainOrAreRefusedByName) {
  const Engine& engine = synth_engine();
  const auto keys = key_policy_from(GetParam());
  const std::vector<int32_t> ids = some_ids(engine, 130, 7);
  for (const std::string& name : kv_type_names()) {
    SCOPED_TRACE(name);
    const KvType type = *kv_type_from_name(name);
    if (keys->drops() && type.grouped()) {
      try {
        Context refused(engine, options_of(type, keys));
        ADD_FAILURE() << "tokens go from groups";
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
        for (const std::string_view part : {std::string_view(name), keys->kind()})
          EXPECT_NE(std::string_view(e.what()).find(part), std::string_view::npos) << e.what();
      }
      continue;
    }
    // What the policy is on a cache of which nothing goes, or that is met anew by every query; where positions begin
    // anew there is no such cache.
    std::shared_ptr<const KeySelector> reference;
    if (!keys->drops()) {
      reference = std::make_shared<Forgetful>(keys);
    } else if (!keys->streams()) {
      reference = std::make_shared<Hiding>(keys);
    }
    Context got(engine, options_of(type, keys)), want(engine, options_of(type, reference)),
        whole(engine, options_of(type, nullptr));
    float most_off_whole = 0;
    const auto compare = [&](std::span<const float> a, std::span<const float> b, std::span<const float> all) {
      for (const float x : a) ASSERT_TRUE(std::isfinite(x));
      if (reference) ASSERT_LT(most_off(a, b), 2e-3f);
      most_off_whole = std::max(most_off_whole, most_off(a, all));
    };
    const std::span<const int32_t> prompt = std::span(ids).first(100);
    compare(got.append(prompt), want.append(prompt), whole.append(prompt));
    for (size_t i = 100; i < ids.size(); ++i) {
      const std::span<const int32_t> id = std::span(ids).subspan(i, 1);
      compare(got.decode(id), want.decode(id), whole.decode(id));
      if (keys->drops() || i != 120) continue;
      for (Context* context : {&got, &want, &whole}) context->truncate(110);
      const std::span<const int32_t> again = std::span(ids).subspan(60, 11);
      const MatView<const float> a = got.verify(again), b = want.verify(again), all = whole.verify(again);
      for (size_t r = 0; r < again.size(); ++r) compare(a.row(r), b.row(r), all.row(r));
    }
    EXPECT_GT(most_off_whole, 1e-3f) << "something is left out";
    if (keys->drops()) EXPECT_LT(got.sequence().n_cached(), 100u);
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, PolicyTypes, ::testing::ValuesIn(all_policies()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(c); }, '_');
  return name;
});

// Prompts that read a part, on caches of every type: against the same prompt with all of its keys, of which nothing
// may be far off where the pattern reads nearly everything.
TEST(PromptPatterns, ReadCachesOfEveryType) {
  const Engine& engine = synth_engine();
  const std::vector<int32_t> ids = some_ids(engine, 300, 8);
  for (const std::string& name : kv_type_names())
    for (const char* pattern : {"a-shape:192", "vertical-slash:192", "blocks:192"}) {
      SCOPED_TRACE(name + " " + pattern);
      ContextOptions options = options_of(*kv_type_from_name(name), nullptr);
      options.n_ctx = 320;
      Context whole(engine, options);
      const std::span<const float> all = whole.append(ids);
      options.prefill = pattern;
      Context part(engine, options), in_two(engine, options);
      const std::span<const float> some = part.append(ids);
      const float off = most_off(some, all);
      if (std::string_view(pattern).starts_with("a-shape")) EXPECT_GT(off, 0.0f);  // others may find all of it
      in_two.append(std::span(ids).first(290));
      for (const float x : in_two.decode(std::span(ids).subspan(290, 1))) ASSERT_TRUE(std::isfinite(x));
      float largest = 0;
      for (const float x : all) largest = std::max(largest, std::abs(x));
      EXPECT_LT(off, largest);
    }
}

// Blocks of a prompt's tokens that compute a part of the neurons: what is counted, what short ones do, and that a
// prompt in two parts, the first whole chunks, is one prompt.
TEST(PromptNeurons, ComputeTheirShareInPromptsOnly) {
  const Engine& engine = synth_engine();
  const std::vector<int32_t> ids = some_ids(engine, 300, 9);
  const auto context_of = [&](const char* prefill) {
    ContextOptions options = options_of(DType::kF32, nullptr);
    options.n_ctx = 320, options.mode = "dense", options.prefill = prefill;
    return Context(engine, options);
  };
  Context whole = context_of(""), all = context_of("neurons:1"), half = context_of("neurons:0.5"),
          most = context_of("neurons:0.95");
  const auto read = [&](Context& context) {
    const std::span<const float> logits = context.append(ids);
    return std::vector<float>(logits.begin(), logits.end());
  };
  const std::vector<float> want = read(whole);
  EXPECT_EQ(read(all), want);
  const float off_half = most_off(read(half), want), off_most = most_off(read(most), want);
  EXPECT_GT(off_half, 1e-3f);
  EXPECT_LT(off_most, off_half);
  Context in_two = context_of("neurons:0.5"), at_once = context_of("neurons:0.5");
  in_two.append(std::span(ids).first(256));
  EXPECT_LT(most_off(in_two.append(std::span(ids).subspan(256)), read(at_once)), 1e-4f);
  const StepStats& stats = half.stats();
  // Two blocks of 128 and one of 44, each of which computes 32 of 64 neurons.
  for (size_t layer = 0; layer < 2; ++layer) EXPECT_EQ(stats.active_neurons[layer] * 2, stats.all_neurons[layer]);
  const uint64_t before = stats.active_neurons[0], of_before = stats.all_neurons[0];
  half.decode({ids.data(), 1});
  EXPECT_EQ(stats.all_neurons[0] - of_before, 64u);
  EXPECT_GT(stats.active_neurons[0] - before, 32u) << "a decoded token computes all";
  Context brief = context_of("neurons:0.5"), plain = context_of("");
  const std::span<const int32_t> few = std::span(ids).first(31);
  EXPECT_TRUE(std::ranges::equal(brief.append(few), plain.append(few))) << "too few to tell";
  EXPECT_THROW(context_of("neurons:0"), Error);
  EXPECT_THROW(context_of("a-shape:128,neurons=2"), Error);
  EXPECT_NO_THROW(context_of("a-shape:128,sinks=16,neurons=0.5"));
}

}  // namespace
}  // namespace hunch
