// A plan as rank 0 tells it to the others, which make the same one of their parts.
#pragma once
#include <string>

#include "model/plan.h"
#include "parallel/message.h"

namespace hunch {

class Model;

struct PlanOrder {
  std::string name;  // Plan::name
  PlanSource source;
  std::string prompts, keys, experts;  // as their parsers read them, or "sidecar"; "": none
  uint32_t n_keys = 0;                 // numbers the selectors of keys: one that plans share has one state in a text
  bool has_memory = false;

  // Throws Error{kUnsupported} naming what ranks that have parts of the model, which is one of them, do not make, or
  // would not compute as one process does. `n_keys` is the caller's.
  static PlanOrder of(const Plan& plan, const Model& model);

  void put(Message& message) const;
  static PlanOrder take(Message& message);
  auto operator<=>(const PlanOrder&) const = default;
};

}  // namespace hunch
