// The functions that every template can call.
#pragma once
#include "jinja/runtime.h"
#include "jinja/scope.h"

namespace hunch::jinja {

// The message that a template gave to raise_exception.
class TemplateRaised : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Sets range, dict, namespace, joiner, cycler, raise_exception and strftime_now in `scope`.
void define_globals(Runtime& rt, Scope& scope);

}  // namespace hunch::jinja
