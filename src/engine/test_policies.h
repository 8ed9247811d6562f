// For tests: every key policy that there is, for texts of a hundred tokens.
#pragma once
#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "select/key_policies.h"

namespace hunch {

// "NAME:BUDGET,..." with the smallest of some budgets that the policy takes, and small numbers for what it counts in
// tokens: by what options are called, so that a new policy is here by itself. Throws where it takes none of these: a
// new option that counts tokens needs its small number here.
inline std::string small_spelling(const KeyPolicyInfo& policy) {
  static const std::map<std::string_view, double> kSmall = {
      {"sinks", 2}, {"window", 4}, {"page", 4},  {"full", 0},     {"recent", 6},  {"block", 4},
      {"k", 5},     {"chunk", 24}, {"drawn", 6}, {"queries", 20}, {"buckets", 8}, {"future", 9}};
  std::string error;
  for (const size_t budget : {16, 24, 32, 84, 128}) {
    std::string text = fmt::format("{}:{}", policy.name, budget);
    for (const auto& [name, value] : policy.defaults)
      if (const auto found = kSmall.find(name); found != kSmall.end() && value > 1)
        text += fmt::format(",{}={}", name, found->second);
      else if (name == "full")
        text += ",full=0";
    try {
      key_policy_from(text);
      return text;
    } catch (const Error& e) {
      error = e.what();
    }
  }
  fail(ErrorKind::kUsage, "the policy {} takes no small budget: {}", policy.name, error);
}

inline std::vector<std::string> all_policies() {
  std::vector<std::string> all;
  for (const KeyPolicyInfo& policy : key_policy_infos()) all.push_back(small_spelling(policy));
  return all;
}

}  // namespace hunch
