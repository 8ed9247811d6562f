// The template language as one function: source and variables in, text out.
#pragma once
#include <ctime>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "jinja/runtime.h"

namespace hunch::jinja {

struct RenderOptions {
  Limits limits;
  std::optional<std::time_t> now;    // what strftime_now shows; nullopt: the system's clock
  bool strip_before_output = false;  // see LexOptions
};

// Renders `source` with the members of the JSON object `variables`. Throws Error{kFormat} with line
// and construct, or Error{kUsage} with the template's own message when it calls raise_exception.
std::string render(std::string_view source, const nlohmann::ordered_json& variables, const RenderOptions& options = {});

}  // namespace hunch::jinja
