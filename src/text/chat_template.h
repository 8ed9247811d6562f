// Chat templates: a sandboxed interpreter for the part of Jinja2 that real templates use.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace hunch {

// Renders `source` (Jinja2, with trim_blocks and lstrip_blocks as Hugging Face sets them) with the
// given variables: a JSON object, usually {messages, add_generation_prompt, bos_token, eos_token,
// tools, ...}. `strftime_now(format)` and `raise_exception(message)` are available. Steps, recursion
// depth and output size are bounded. Throws Error{kFormat} naming line and construct for what cannot
// be parsed or rendered, and Error{kUsage} with the template's own message for raise_exception.
std::string render_template(std::string_view source, const nlohmann::ordered_json& variables);

}  // namespace hunch
