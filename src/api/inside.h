// What the public classes keep to themselves, for the library's own functions.
#pragma once
#include <memory>

#include "hunch/model.h"

namespace hunch {

struct Inside {
  using ModelImpl = LanguageModel::Impl;
  static const std::shared_ptr<ModelImpl>& of(const LanguageModel& model) { return model.impl_; }
  static const Stop& of(const Cancel& cancel) { return *cancel.stop_; }
};

using ModelImpl = Inside::ModelImpl;
inline const std::shared_ptr<ModelImpl>& impl_of(const LanguageModel& model) { return Inside::of(model); }

}  // namespace hunch
