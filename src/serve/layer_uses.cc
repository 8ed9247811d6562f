#include "serve/layer_uses.h"

#include <algorithm>
#include <utility>

namespace hunch::serve {
namespace {

Json thousandths(const Share& share) {
  if (share.of == 0) return nullptr;
  const uint64_t rounded = (2000 * share.used + share.of) / (2 * share.of);
  return std::max<uint64_t>(rounded, share.used > 0);
}

}  // namespace

Json layer_uses(std::span<const LayerUse> layers) {
  Json out = Json::object();
  const auto add = [&](const char* name, Share LayerUse::*what) {
    if (std::ranges::all_of(layers, [&](const LayerUse& use) { return (use.*what).of == 0; })) return;
    Json& list = out[name] = Json::array();
    for (const LayerUse& use : layers) list.push_back(thousandths(use.*what));
  };
  add("neurons", &LayerUse::neurons);
  add("heads", &LayerUse::heads);
  add("experts", &LayerUse::experts);
  add("keys", &LayerUse::keys);
  return out;
}

void TokenUses::tell(size_t choice, Json& event) {
  if (!waiting_[choice].is_null()) event["hunch"] = {{"tokens", std::exchange(waiting_[choice], nullptr)}};
}

}  // namespace hunch::serve
