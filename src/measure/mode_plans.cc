// Modes that are sidecars.
#include <map>

#include "measure/compare.h"

namespace hunch {

void load_plans(const Engine& engine, std::span<CompareMode> modes) {
  std::map<std::filesystem::path, std::shared_ptr<const Sidecar>> opened;
  for (CompareMode& mode : modes) {
    if (mode.sidecar.empty()) continue;
    std::shared_ptr<const Sidecar>& sidecar = opened[mode.sidecar];
    if (!sidecar) sidecar = engine.load_sidecar(mode.sidecar);
    mode.context.plan = std::make_shared<const Plan>(sidecar->plan(engine.config(), mode.context.density));
  }
}

}  // namespace hunch
