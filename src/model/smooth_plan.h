// Ways to skip that need no training and no exact zeros: for SwiGLU and GELU models (docs/smooth-models.md).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hunch {

enum class SmoothMethod : uint8_t {
  kNone,
  kCats,     // neurons whose activated gate is small are left out of up and down (Lee et al. 2024, arXiv:2404.08763)
  kGriffin,  // the neurons that the prompt used most, for the whole answer (Dong et al. 2024, arXiv:2404.01365)
  kTeal,     // small inputs of every projection are left out (Liu et al. 2024, arXiv:2408.14690)
};

// As in a sidecar: "cats", "griffin", "teal"; "none".
std::string_view name_of(SmoothMethod method);
std::optional<SmoothMethod> smooth_method(std::string_view name);  // none of these: nullopt

// Groups of a layer's projections that share an input, which TEAL thresholds.
enum class InputPart : uint8_t {
  kAttention,  // q, k and v
  kHeads,      // o
  kMlp,        // gate and up
  kNeurons,    // down
};
constexpr size_t kNInputParts = 4;

struct SmoothLayerPlan {
  SmoothMethod method = SmoothMethod::kNone;
  float threshold = 0;  // kCats: of |act(gate)|, or of |act(up)| where there is no gate
  float density = 1;    // kGriffin: share of the neurons that are kept
  std::array<float, kNInputParts> inputs{-1, -1, -1, -1};  // kTeal: of |x|; below 0: everything is kept
};

}  // namespace hunch
