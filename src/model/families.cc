#include "model/families.h"

#include <algorithm>

#include "base/error.h"
#include "select/prompt_selector.h"
#include "select/selectors.h"

namespace hunch {

void Cats::set(Plan& plan, size_t layer, const CurvePoint& point, size_t) const {
  plan.set(layer, Point::kLive, {std::make_shared<const Magnitude>(point.threshold)});
}

void Griffin::set(Plan& plan, size_t layer, const CurvePoint& point, size_t) const {
  plan.set(layer, Point::kNeurons, {std::make_shared<const PromptSelector>(std::clamp(point.density, 0.0f, 1.0f))});
}

std::string Griffin::describe() const {
  return fmt::format(
      "griffin: a prompt of {} tokens or more chooses the neurons of the answer; after a shorter one all are computed",
      PromptSelector::kMinTokens);
}

void Teal::set(Plan& plan, size_t layer, const CurvePoint&, size_t i) const {
  HUNCH_CHECK(i < inputs_.size(), "point {} of {}", i, inputs_.size());
  for (size_t part = 0; part < kNInputParts; ++part)
    if (const float threshold = inputs_[i][part]; threshold >= 0)
      plan.set(layer, Point::kInputs, {std::make_shared<const Magnitude>(threshold)}, InputPart(part));
}

void Teal::save(ArchiveWriter& archive) const {
  archive.matrix("inputs", {DType::kF32, reinterpret_cast<const std::byte*>(inputs_.data()), inputs_.size(),
                            kNInputParts, sizeof(Inputs)});
}

std::shared_ptr<const Teal> Teal::load(size_t n_points, const ArchiveReader& archive) {
  const std::vector<float> values = archive.floats("inputs", n_points * kNInputParts);
  std::vector<Inputs> inputs(n_points);
  for (size_t p = 0; p < n_points; ++p) std::copy_n(&values[p * kNInputParts], kNInputParts, inputs[p].begin());
  return std::make_shared<const Teal>(std::move(inputs));
}

std::shared_ptr<const SelectorFamily> load_family(std::string_view kind, size_t n_points,
                                                  const ArchiveReader& archive) {
  if (kind == "cats") return std::make_shared<const Cats>();
  if (kind == "griffin") return std::make_shared<const Griffin>();
  if (kind == "teal") return Teal::load(n_points, archive);
  return nullptr;
}

}  // namespace hunch
