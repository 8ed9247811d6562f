#include "model/method.h"

#include "select/prompt_selector.h"
#include "select/selectors.h"

namespace hunch {
namespace {

constexpr std::string_view kNames[] = {"none", "cats", "griffin", "teal"};

}  // namespace

std::string_view name_of(Method method) { return kNames[size_t(method)]; }

std::optional<Method> method_named(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (kNames[i] == name) return Method(i);
  return std::nullopt;
}

void MethodPoint::set(Plan& plan, size_t layer) const {
  switch (method) {
    case Method::kNone: return;
    case Method::kCats: return plan.set(layer, Point::kLive, {std::make_shared<const Magnitude>(threshold)});
    case Method::kGriffin: return plan.set(layer, Point::kNeurons, {std::make_shared<const PromptSelector>(density)});
    case Method::kTeal:
      for (size_t part = 0; part < kNInputParts; ++part)
        if (inputs[part] >= 0)
          plan.set(layer, Point::kInputs, {std::make_shared<const Magnitude>(inputs[part])}, InputPart(part));
  }
}

}  // namespace hunch
