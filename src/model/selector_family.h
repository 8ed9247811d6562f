// Ways to leave parts of a layer out that need no training and no exact zeros: the selectors of one kind, of which a
// plan takes those of one point of a curve (docs/small-activations.md).
#pragma once
#include <memory>
#include <string_view>

#include "model/plan.h"
#include "select/archive.h"
#include "select/density_curve.h"

namespace hunch {

// What calibration found for one layer. Immutable and shared.
class SelectorFamily {
 public:
  virtual ~SelectorFamily() = default;
  virtual std::string_view kind() const = 0;                            // in a sidecar and for people: "cats", ...
  virtual std::string describe() const { return std::string(kind()); }  // with what a user should know of it

  // The selectors of a point of the layer's curve, the i-th, in the place of those that the layer has at the same
  // points of the plan.
  virtual void set(Plan& plan, size_t layer, const CurvePoint& point, size_t i = 0) const = 0;
  // Whether it can say of some of a layer's neurons and heads what it says of all (Sidecar::part()).
  virtual bool speaks_of_parts() const { return true; }
  // What the curve does not say; load() of the same class reads it.
  virtual void save(ArchiveWriter& archive) const {}
};

}  // namespace hunch
