// Numbers that are none: where in the model they come from.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/engine.h"

namespace hunch {

// Throws Error{kFormat}: `what` ("the logit of token 5 is nan") is not a finite number, and since which part of the
// model the numbers are none. `ids`, not empty, is what was read; its last 512 tokens are computed once more, dense, to
// see.
[[noreturn]] void fail_not_finite(const Engine& engine, std::span<const int32_t> ids, std::string_view what);

}  // namespace hunch
