#include "select/key_policies.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/read_number.h"
#include "select/attention_forms.h"
#include "select/expected_keys.h"
#include "select/heavy_hitters.h"
#include "select/per_head_keys.h"
#include "select/policy_options.h"
#include "select/prompt_keys.h"
#include "select/quest.h"
#include "select/reread_keys.h"
#include "select/spatten_keys.h"
#include "select/streaming_llm.h"
#include "select/tova.h"

namespace hunch {
namespace {

using Options = PolicyOptions;

struct Policy {
  std::string_view name, example;
  Options defaults;
  std::shared_ptr<KeySelector> (*make)(size_t budget, const Options& options);
};

std::shared_ptr<KeySelector> streaming(size_t budget, const Options& options) {
  const double sinks = options.at("sinks");
  if (!(sinks >= 1 && sinks < double(budget) && sinks == std::floor(sinks)))
    fail(ErrorKind::kUsage,
         "the key policy (kv_policy) has sinks {}, expected a number of tokens from 1 to less than the budget of {}",
         sinks, budget);
  const size_t n_sinks = size_t(sinks);
  return std::make_shared<PerHeadKeys>("streaming", std::make_unique<StreamingLlm>(n_sinks), budget, n_sinks);
}

std::shared_ptr<KeySelector> h2o(size_t budget, const Options& options) {
  expect_share(options, "recent", 0);
  const size_t n_recent = size_t(std::ceil(options.at("recent") * double(budget)));
  return std::make_shared<PerHeadKeys>("h2o", std::make_unique<HeavyHitters>(n_recent), budget);
}

std::shared_ptr<KeySelector> spatten(size_t budget, const Options& options) {
  expect_share(options, "recent", 0);
  expect_share(options, "heads", 0.05);
  expect_share(options, "values", 0.01);
  return std::make_shared<SpattenKeys>(
      SpattenOptions{budget, options.at("recent"), options.at("heads"), options.at("values")});
}

std::shared_ptr<KeySelector> quest(size_t budget, const Options& options) {
  expect_count(options, "page", 1, 1024);
  expect_count(options, "newest", 1, double(1 << 20));
  expect_count(options, "full", 0, double(1 << 20));
  expect_count(options, "own", 0, 1);
  if (const double tolerance = options.at("certified"); !(tolerance >= 0 && tolerance < 1))
    fail(ErrorKind::kUsage,
         "the key policy (kv_policy) has certified {}, expected the share of the weight that may stay unread, below 1",
         tolerance);
  const size_t page = size_t(options.at("page")), newest = size_t(options.at("newest"));
  if (!std::has_single_bit(page))
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has pages of {} tokens, expected a power of two", page);
  if (budget / page <= newest)
    fail(ErrorKind::kUsage,
         "the key policy (kv_policy) has a budget of {} tokens, expected at least {}: {} pages of {} that are always "
         "read, and one to choose",
         budget, (newest + 1) * page, newest, page);
  return std::make_shared<Quest>(
      PageBudget{page, budget / page, newest, options.at("own") == 1, options.at("certified")},
      size_t(options.at("full")));
}

std::shared_ptr<KeySelector> tova(size_t budget, const Options&) { return std::make_shared<Tova>(budget); }

// Those options that the policy has.
std::shared_ptr<KeySelector> prompt_keys(std::string_view kind, size_t budget, const Options& options) {
  PromptKeysOptions own;
  own.budget = budget;
  expect_count(options, "window", 1, double(1 << 20));
  expect_count(options, "kernel", 1, 1023);
  expect_count(options, "max", 0, 1);
  own.window = size_t(options.at("window")), own.kernel = size_t(options.at("kernel"));
  own.pools_max = options.at("max") == 1;
  if (own.kernel % 2 == 0)
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has kernel {}, expected an odd number of tokens", own.kernel);
  if (own.window >= budget)
    fail(
        ErrorKind::kUsage,
        "the key policy (kv_policy) has a budget of {} tokens, expected more than the window of {}, which always stays",
        budget, own.window);
  if (options.contains("beta")) {
    own.beta = options.at("beta");
    if (!(own.beta >= 1 && own.beta <= 1e6))
      fail(ErrorKind::kUsage, "the key policy (kv_policy) has beta {}, expected 1 or more", own.beta);
  }
  if (options.contains("floor")) {
    expect_share(options, "floor", 0);
    own.floor = options.at("floor");
  }
  return std::make_shared<PromptKeys>(kind, own);
}

std::shared_ptr<KeySelector> snapkv(size_t budget, const Options& options) {
  return prompt_keys("snapkv", budget, options);
}
std::shared_ptr<KeySelector> pyramidkv(size_t budget, const Options& options) {
  return prompt_keys("pyramidkv", budget, options);
}
std::shared_ptr<KeySelector> adakv(size_t budget, const Options& options) {
  return prompt_keys("adakv", budget, options);
}

void expect_sinks(size_t budget, const Options& options) { expect_count(options, "sinks", 0, double(budget) - 1); }

std::shared_ptr<KeySelector> expected(size_t budget, const Options& options) {
  expect_sinks(budget, options);
  expect_count(options, "queries", 1, double(1 << 20));
  expect_count(options, "future", 1, double(1 << 20));
  expect_count(options, "cov", 0, 1);
  expect_count(options, "values", 0, 1);
  expect_share(options, "floor", 0);
  return std::make_shared<ExpectedKeys>(ExpectedKeysOptions{
      budget, size_t(options.at("sinks")), size_t(options.at("queries")), size_t(options.at("future")),
      options.at("cov") == 1, options.at("values") == 1, options.at("floor")});
}

std::shared_ptr<KeySelector> kvzip(size_t budget, const Options& options) {
  expect_sinks(budget, options);
  expect_count(options, "chunk", 2 * RereadKeys::kLeadIn, double(1 << 20));
  expect_share(options, "floor", 0);
  return std::make_shared<RereadKeys>(
      RereadKeysOptions{budget, size_t(options.at("sinks")), size_t(options.at("chunk")), options.at("floor")});
}

const std::vector<Policy>& policies() {
  static const std::vector<Policy> all = {
      {"streaming", "streaming:256", {{"sinks", 4}}, streaming},
      {"h2o", "h2o:128", {{"recent", 0.5}}, h2o},
      {"spatten", "spatten:128", {{"heads", 1}, {"recent", 0.5}, {"values", 1}}, spatten},
      {"tova", "tova:128", {}, tova},
      {"snapkv", "snapkv:1024", {{"kernel", 5}, {"max", 0}, {"window", 32}}, snapkv},
      {"pyramidkv", "pyramidkv:1024", {{"beta", 20}, {"kernel", 5}, {"max", 0}, {"window", 32}}, pyramidkv},
      {"adakv", "adakv:1024", {{"floor", 0.2}, {"kernel", 5}, {"max", 0}, {"window", 32}}, adakv},
      {"expected",
       "expected:1024",
       {{"cov", 1}, {"floor", 1}, {"future", 512}, {"queries", 256}, {"sinks", 4}, {"values", 1}},
       expected},
      {"kvzip", "kvzip:1024", {{"chunk", 512}, {"floor", 0.2}, {"sinks", 4}}, kvzip},
      {"quest", "quest:1024", {{"certified", 0}, {"full", 2}, {"newest", 1}, {"own", 0}, {"page", 16}}, quest},
      {"longformer", "longformer:256", {{"full", 0}, {"global", 4}, {"prompts", 1}}, longformer},
      {"bigbird",
       "bigbird:256",
       {{"block", 16}, {"full", 0}, {"global", 1}, {"prompts", 1}, {"random", 3}, {"seed", 1}},
       bigbird},
      {"strided", "strided:64", {{"full", 0}, {"prompts", 1}}, strided},
      {"lsh",
       "lsh:256",
       {{"buckets", 16}, {"full", 0}, {"prompts", 1}, {"recent", 64}, {"rounds", 8}, {"seed", 1}},
       lsh},
      {"hyper",
       "hyper:256",
       {{"buckets", 16}, {"drawn", 64}, {"full", 0}, {"prompts", 1}, {"recent", 64}, {"rounds", 8}, {"seed", 1}},
       hyper},
      {"clusters", "clusters:256", {{"full", 0}, {"k", 32}, {"prompts", 1}, {"recent", 64}}, clusters},
      {"linear", "linear:64", {{"full", 0}, {"prompts", 1}}, linear_attention},
      {"performer", "performer:256", {{"full", 0}, {"prompts", 1}, {"recent", 64}, {"seed", 1}}, performer},
      {"linformer", "linformer:256", {{"full", 0}, {"prompts", 1}, {"recent", 64}}, linformer}};
  return all;
}

void read_option(const Policy& policy, std::string_view option, Options& options) {
  const size_t equals = option.find('=');
  const auto found = options.find(option.substr(0, equals));
  std::vector<std::string_view> names;
  for (const auto& [name, value] : policy.defaults) names.push_back(name);
  if (equals == std::string_view::npos || found == options.end() ||
      !read_number(option.substr(equals + 1), found->second))
    fail(ErrorKind::kUsage, "the key policy (kv_policy): '{}' is no option of {}, expected {}", option, policy.name,
         names.empty() ? "none" : fmt::format("NAME=NUMBER with one of {}", fmt::join(names, ", ")));
}

}  // namespace

std::shared_ptr<const KeySelector> key_policy_from(std::string_view text) {
  const size_t colon = text.find(':'), comma = std::min(text.find(','), text.size());
  for (const Policy& policy : policies()) {
    if (policy.name != text.substr(0, colon)) continue;
    size_t budget = 0;
    if (colon == std::string_view::npos || !read_number(text.substr(colon + 1, comma - colon - 1), budget) ||
        budget == 0 || budget > (size_t{1} << 30))
      fail(ErrorKind::kUsage,
           "the key policy (kv_policy) '{}' has no budget, expected {}: so many cached tokens per head", text,
           policy.example);
    Options options = policy.defaults;
    for (size_t begin = comma; begin < text.size();) {
      const size_t end = std::min(text.find(',', begin + 1), text.size());
      read_option(policy, text.substr(begin + 1, end - begin - 1), options);
      begin = end;
    }
    const std::shared_ptr<KeySelector> made = policy.make(budget, options);
    made->text = text;
    return made;
  }
  fail(ErrorKind::kUsage, "unknown key policy (kv_policy) '{}', expected {}", text, key_policy_help());
}

bool is_key_policy(std::string_view name) {
  return std::ranges::find(policies(), name, &Policy::name) != policies().end();
}

std::vector<KeyPolicyInfo> key_policy_infos() {
  std::vector<KeyPolicyInfo> infos;
  for (const Policy& policy : policies()) infos.push_back({policy.name, policy.defaults});
  return infos;
}

std::string key_policy_help() {
  std::vector<std::string_view> examples;
  for (const Policy& policy : policies()) examples.push_back(policy.example);
  return fmt::format("{}", fmt::join(examples, ", "));
}

}  // namespace hunch
