// The routers of a mixture by name, as a command line says them.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "select/expert_selector.h"

namespace hunch {

// "NAME[:NUMBER]":
//   top:1            so many experts for each token
//   capacity:1.25    at most so many times an equal share of the tokens for each expert, first come, first served
//   prioritised:1.25 the same, served by the weight of the first choice
//   choice:1         each expert chooses so many times an equal share
//   balanced         equal loads, the best total
//   sinkhorn         nearly equal loads
// Throws Error{kUsage} naming what was expected and what was found.
std::shared_ptr<const ExpertSelector> expert_policy_from(std::string_view text);

// What expert_policy_from() reads, for help texts.
std::string expert_policy_help();

}  // namespace hunch
