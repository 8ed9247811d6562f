// The policies of the key/value cache by name, as a command line says them.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "select/key_selector.h"

namespace hunch {

// "NAME:BUDGET[,OPTION=VALUE]...": BUDGET is the number of cached tokens per head that stay.
//   streaming:256[,sinks=4]               the first tokens and the most recent ones
//   h2o:128[,recent=0.5]                  heavy hitters, and a share of recent ones
//   spatten:128[,recent=0.5][,heads=1][,values=1]  cascade pruning; mean over the layers
//   tova:128                              what the newest query looked at, the same in all heads of a layer
//   snapkv:1024[,window=32][,kernel=5][,max=0]  of a prompt, what its last queries looked at; later tokens all stay
//   pyramidkv:1024[,beta=20]...           the same, first layers more than last ones
//   adakv:1024[,floor=0.2]...             the same, heads by what they look at
//   quest:1024[,page=16][,full=2][,newest=1][,own=0][,certified=0]  drops nothing: the pages that a query needs most
// Throws Error{kUsage} naming what was expected and what was found.
std::shared_ptr<const KeySelector> key_policy_from(std::string_view text);

// Whether there is a policy of this name.
bool is_key_policy(std::string_view name);

// What key_policy_from() reads, for help texts.
std::string key_policy_help();

}  // namespace hunch
