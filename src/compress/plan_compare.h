// What plans cost and give, beside the dense model.
#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include "measure/compare.h"

namespace hunch {

// Rows of compare_modes: dense, exact where asked for, then each plan. Windows of at most 512 tokens,
// each begun anew or, with `half_strides`, overlapping by half; n_decode tokens are decoded to measure speed, 0: none.
inline std::vector<CompareRow> compare_plans(const Engine& engine, std::span<const Plan> plans,
                                             std::span<const int32_t> ids, size_t n_decode, bool exact,
                                             bool half_strides = false) {
  std::vector<CompareMode> modes(1, {"dense", {}});
  modes[0].context.mode = "dense";
  if (exact) modes.push_back({"exact", {}});
  for (const Plan& plan : plans) {
    CompareMode mode{plans.size() == 1 ? "sparse" : fmt::format("sparse {}", modes.size()), {}};
    mode.context.plan = std::make_shared<const Plan>(plan);
    modes.push_back(mode);
  }
  CompareOptions options;
  options.windows.n_ctx = options.windows.stride = std::min({engine.config().n_ctx_train, size_t{512}, ids.size()});
  if (half_strides) options.windows.stride = std::max<size_t>(1, options.windows.n_ctx / 2);
  options.n_decode = n_decode;
  return compare_modes(engine, modes, ids, options);
}

}  // namespace hunch
