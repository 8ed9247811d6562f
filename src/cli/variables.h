// Variables for chat templates, as the command line gives them.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/chat_text.h"

namespace hunch::cli {

// Each item is an object as JSON, {"enable_thinking": false}; KEY=VALUE, where VALUE is JSON, True, False or None as
// templates spell them, or else a text; or a file with such an object ("-": standard input). Later items win. Null
// where there are none. Throws Error{kUsage | kFormat} naming the item.
nlohmann::ordered_json parse_variables(const std::vector<std::string>& items);

// Has the template see them. `variables` outlives `chat`.
void use_variables(ChatText& chat, const nlohmann::ordered_json& variables);

}  // namespace hunch::cli
