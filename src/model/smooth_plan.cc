#include "model/smooth_plan.h"

namespace hunch {

std::string_view name_of(SmoothMethod method) {
  switch (method) {
    case SmoothMethod::kNone: return "none";
    case SmoothMethod::kCats: return "cats";
    case SmoothMethod::kGriffin: return "griffin";
    case SmoothMethod::kTeal: return "teal";
  }
  return "unknown";
}

std::optional<SmoothMethod> smooth_method(std::string_view name) {
  for (SmoothMethod method : {SmoothMethod::kNone, SmoothMethod::kCats, SmoothMethod::kGriffin, SmoothMethod::kTeal})
    if (name == name_of(method)) return method;
  return std::nullopt;
}

}  // namespace hunch
