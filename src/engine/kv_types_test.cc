// Contexts whose caches are rotated or in groups: what they compute does not depend on how they came there.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const Engine& demo() {
  static const Engine engine =
      load_engine(fs::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf", {.n_threads = 1});
  return engine;
}

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(int32_t(300 + (i * 37 + i / 11) % 900));
  return ids;
}

Context context_of(const char* type) {
  ContextOptions options;
  options.n_ctx = 160;
  options.kv_type = *kv_type_from_name(type);
  return {demo(), options};
}

std::vector<float> copy_of(std::span<const float> logits) { return {logits.begin(), logits.end()}; }

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(double(a[i]) - b[i]));
  return most;
}

constexpr const char* kTypes[] = {"q4_0-rot", "kivi-2", "kivi-4"};

TEST(KvTypes, PromptsAndTokensOneByOneGiveTheSame) {
  const std::vector<int32_t> ids = some_ids(101);
  for (const char* type : kTypes) {
    SCOPED_TRACE(type);
    Context whole = context_of(type), parts = context_of(type), single = context_of(type);
    const std::vector<float> want = copy_of(whole.append(ids));
    std::span<const float> got;
    for (size_t at = 0, n = 0; at < ids.size(); at += n) {
      n = std::min<size_t>(1 + at % 23, ids.size() - at);
      got = parts.append(std::span(ids).subspan(at, n));
    }
    // Rounding may move a code here and there.
    EXPECT_LT(largest_difference(want, got), 0.5);
    for (const int32_t& id : ids) got = single.decode({&id, 1});
    EXPECT_LT(largest_difference(want, got), 0.5);
  }
}

// Tokens that are verified together see what each would see alone, where a group ends among them too.
TEST(KvTypes, VerifiedTokensHaveTheBitsOfDecodedOnes) {
  const std::vector<int32_t> ids = some_ids(75);
  for (const char* type : kTypes) {
    SCOPED_TRACE(type);
    Context together = context_of(type), single = context_of(type);
    together.append(std::span(ids).first(57));
    single.append(std::span(ids).first(57));
    const MatView<const float> rows = together.verify(std::span(ids).subspan(57));
    for (size_t i = 57; i < ids.size(); ++i) {
      const std::span<const float> alone = single.decode(std::span(ids).subspan(i, 1));
      ASSERT_TRUE(std::ranges::equal(rows.row(i - 57), alone)) << i;
    }
  }
}

// Into a group that was full already.
TEST(KvTypes, TokensThatWereTakenBackLeaveNoTrace) {
  const std::vector<int32_t> ids = some_ids(70);
  for (const auto& [type, n] :
       {std::pair<const char*, size_t>{"q4_0-rot", 63}, {"kivi-4", 64}, {"kivi-2", 61}, {"kivi-2", 33}}) {
    SCOPED_TRACE(fmt::format("{}, back to {}", type, n));
    Context context = context_of(type), fresh = context_of(type);
    const size_t n_prompt = n - 3;
    context.append(std::span(ids).first(n_prompt));
    fresh.append(std::span(ids).first(n_prompt));
    for (size_t i = n_prompt; i < 67; ++i) context.decode(std::span(ids).subspan(i, 1));
    for (size_t i = n_prompt; i < n; ++i) fresh.decode(std::span(ids).subspan(i, 1));
    context.truncate(n);
    EXPECT_EQ(context.n_tokens(), n);
    for (const int32_t id : {500, 600, 700}) {
      const std::vector<float> want = copy_of(fresh.decode({&id, 1}));
      ASSERT_TRUE(std::ranges::equal(context.decode({&id, 1}), want));
    }
  }
}

// Farther back, a group begins anew with the tokens themselves.
TEST(KvTypes, FarBackTokensAreComputedAgain) {
  const std::vector<int32_t> ids = some_ids(150);
  Context context = context_of("kivi-2"), fresh = context_of("kivi-2");
  context.append(ids);
  EXPECT_EQ(context.sequence().cache().back_to(context.sequence().id(), 40), 32u);
  context.truncate(40);
  EXPECT_EQ(context.n_tokens(), 40u);
  fresh.append(std::span(ids).first(40));
  const int32_t next = 777;
  const std::vector<float> want = copy_of(fresh.decode({&next, 1}));
  EXPECT_LT(largest_difference(context.decode({&next, 1}), want), 0.1);
  EXPECT_EQ(context.go_back(35), 35u);  // known since
}

TEST(KvTypes, ForkedTextsGoTheirOwnWays) {
  const std::vector<int32_t> ids = some_ids(100);
  ContextOptions options;
  options.kv_type = KvType::kivi(2);
  Batch batch(demo(), BatchOptions{512, options.kv_type});
  const auto first = batch.new_sequence(sequence_options(demo(), options));
  const auto read = [&](Sequence& sequence, std::span<const int32_t> some) {
    const SequenceRun run{&sequence, some, Phase::kPrompt, 1};
    return copy_of(batch.compute({&run, 1}).row(0));
  };
  read(*first, std::span(ids).first(70));
  const auto second = first->fork(50), third = first->fork(70);
  const std::vector<float> of_first = read(*first, std::span(ids).subspan(70));
  read(*second, std::span(ids).subspan(10, 30));  // other tokens
  const std::vector<float> of_third = read(*third, std::span(ids).subspan(70));
  EXPECT_EQ(of_first, of_third);
}

TEST(KvTypes, WhatDoesNotGoTogetherIsSaid) {
  ContextOptions options;
  options.n_ctx = 160;
  options.kv_type = KvType::kivi(2);
  options.keys = key_policy_from("h2o:32");
  try {
    Context context(demo(), options);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(e.what()).find("kivi-2 holds them in groups of 32"), std::string::npos) << e.what();
  }
  options.kv_type = *kv_type_from_name("q4_0-rot");
  Context forgets(demo(), options);
  forgets.append(some_ids(100));
  for (const int32_t id : {400, 500}) forgets.decode({&id, 1});
  EXPECT_EQ(forgets.sequence().n_cached(), 32u);
}

}  // namespace
}  // namespace hunch
