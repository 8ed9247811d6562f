// For tests: a family's selectors with one setting, without a curve.
#pragma once
#include "model/families.h"

namespace hunch {

struct Setting {
  std::string_view kind;  // "cats", "griffin", "teal"
  float threshold = 0;    // cats
  float density = 1;      // griffin
  Teal::Inputs inputs{-1, -1, -1, -1};

  void set(Plan& plan, size_t layer) const {
    const CurvePoint point{threshold, density};
    if (kind == "cats") Cats().set(plan, layer, point);
    if (kind == "griffin") Griffin().set(plan, layer, point);
    if (kind == "teal") Teal({inputs}).set(plan, layer, point);
  }
};

}  // namespace hunch
