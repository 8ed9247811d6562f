// Ways to leave parts of an MLP out that need no training and no exact zeros: what a sidecar says of a layer, and the
// selectors that it stands for (docs/small-activations.md).
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "model/plan.h"

namespace hunch {

enum class Method : uint8_t {
  kNone,
  kCats,     // neurons whose activated gate is small are left out of up and down (Lee et al. 2024, arXiv:2404.08763)
  kGriffin,  // the neurons that the prompt used most, for the whole answer (Dong et al. 2024, arXiv:2404.01365)
  kTeal,     // small inputs of every projection are left out (Liu et al. 2024, arXiv:2408.14690)
};

// As in a sidecar: "cats", "griffin", "teal"; "none".
std::string_view name_of(Method method);
std::optional<Method> method_named(std::string_view name);  // none of these: nullopt

// A layer's method with what calibration set.
struct MethodPoint {
  Method method = Method::kNone;
  float threshold = 0;  // kCats: of |act(gate)|, or of |act(up)| where there is no gate
  float density = 1;    // kGriffin: share of the neurons that are kept
  std::array<float, kNInputParts> inputs{-1, -1, -1, -1};  // kTeal: of |x|; below 0: everything is kept

  // Its selectors, in the place of those that the layer has at the same points.
  void set(Plan& plan, size_t layer) const;
};

}  // namespace hunch
