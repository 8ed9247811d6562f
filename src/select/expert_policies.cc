#include "select/expert_policies.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/read_number.h"
#include "select/expert_selectors.h"

namespace hunch {
namespace {

using Selected = std::shared_ptr<ExpertSelector>;

struct Policy {
  std::string_view name, example;
  bool has_number;
  Selected (*make)(double number);
};

Selected top(double number) {
  if (!(number >= 1 && number <= 65536 && number == std::floor(number)))
    fail(ErrorKind::kUsage, "a router (experts) of top {}, expected a number of experts from 1", number);
  return std::make_shared<TopExperts>(size_t(number));
}

double factor(double number) {
  if (!(number > 0 && number <= 65536))
    fail(ErrorKind::kUsage, "a router (experts) with a capacity factor of {}, expected one above 0", number);
  return number;
}

const std::vector<Policy>& policies() {
  static const std::vector<Policy> all = {
      {"top", "top:1", true, top},
      {"capacity", "capacity:1.25", true,
       [](double f) -> Selected { return std::make_shared<ExpertCapacity>(factor(f), QueueOrder::kByToken); }},
      {"prioritised", "prioritised:1.25", true,
       [](double f) -> Selected { return std::make_shared<ExpertCapacity>(factor(f), QueueOrder::kByWeight); }},
      {"choice", "choice:1", true, [](double f) -> Selected { return std::make_shared<ExpertsChoose>(factor(f)); }},
      {"balanced", "balanced", false,
       [](double) -> Selected { return std::make_shared<BalancedExperts>(Balance::kOptimal); }},
      {"sinkhorn", "sinkhorn", false, [](double) -> Selected { return std::make_shared<SinkhornExperts>(); }}};
  return all;
}

}  // namespace

std::shared_ptr<const ExpertSelector> expert_policy_from(std::string_view text) {
  const size_t colon = text.find(':');
  for (const Policy& policy : policies()) {
    if (policy.name != text.substr(0, colon)) continue;
    const bool has_number = colon != std::string_view::npos;
    double number = 0;
    if (has_number != policy.has_number || (has_number && !read_number(text.substr(colon + 1), number)))
      fail(ErrorKind::kUsage, "the router (experts) '{}', expected {}", text, policy.example);
    const auto made = policy.make(number);
    made->text = text;
    return made;
  }
  fail(ErrorKind::kUsage, "unknown router (experts) '{}', expected {}", text, expert_policy_help());
}

std::string expert_policy_help() {
  std::vector<std::string_view> examples;
  for (const Policy& policy : policies()) examples.push_back(policy.example);
  return fmt::format("{}", fmt::join(examples, ", "));
}

}  // namespace hunch
