// The policies of the key/value cache by name, as a command line says them.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "select/key_selector.h"
#include "select/policy_options.h"

namespace hunch {

// "NAME:BUDGET[,OPTION=VALUE]...": BUDGET is the number of cached tokens per head that stay.
//   streaming:256[,sinks=4]               the first tokens and the most recent ones
//   h2o:128[,recent=0.5]                  heavy hitters, and a share of recent ones
//   spatten:128[,recent=0.5][,heads=1][,values=1]  cascade pruning; mean over the layers
//   tova:128                              what the newest query looked at, the same in all heads of a layer
//   snapkv:1024[,window=32][,kernel=5][,max=0]  of a prompt, what its last queries looked at; later tokens all stay
//   pyramidkv:1024[,beta=20]...           the same, first layers more than last ones
//   adakv:1024[,floor=0.2]...             the same, heads by what they look at
//   expected:1024[,queries=256][,future=512][,sinks=4][,cov=1][,values=1][,floor=1]  what queries to come may look at
//   kvzip:1024[,chunk=512][,sinks=4][,floor=0.2]  what saying the text once more looks at
//   quest:1024[,page=16][,full=2][,newest=1][,own=0][,certified=0]  drops nothing: the pages that a query needs most
// and forms of attention that take the place of the model's own, in prompts too unless prompts=0 is said:
//   longformer:256[,global=4]             a window and the first tokens; BUDGET is both
//   bigbird:256[,block=16][,global=1][,random=3][,seed=1]  blocks: the first, some at random, the last ones
//   strided:64                            the last 64, and every 64th before
//   lsh:256[,buckets=16][,rounds=8][,recent=64][,seed=1]   keys in the query's hash buckets
//   hyper:256[,drawn=64]...               the same, and keys drawn from all others, which stand for them
//   clusters:256[,k=32][,recent=64]       keys in the clusters that the query points to
//   linear:64                             feature map elu + 1; BUDGET tokens are not in the sums yet
//   performer:256[,recent=64][,seed=1]    BUDGET positive random features, and the recent keys exactly
//   linformer:256[,recent=64]             BUDGET means of far keys, and the recent ones exactly
// Throws Error{kUsage} naming what was expected and what was found.
std::shared_ptr<const KeySelector> key_policy_from(std::string_view text);

// Whether there is a policy of this name.
bool is_key_policy(std::string_view name);

// What there is to know of a policy before it is made.
struct KeyPolicyInfo {
  std::string_view name;          // "streaming"
  const PolicyOptions& defaults;  // all options that it has
};
std::vector<KeyPolicyInfo> key_policy_infos();

// What key_policy_from() reads, for help texts.
std::string key_policy_help();

}  // namespace hunch
