// Messages have their content as one text or as a list of parts; templates often take one of the two only, and make
// nothing, or Python's notation of a list, of the other.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hunch {

// The messages as they are where `render` shows the text of each; else in the form in which it shows the most, with
// parts of text as one text, or texts as a part each. It is asked with this conversation, its contents exchanged for
// marks. Messages with parts that are no text stay.
nlohmann::ordered_json with_shown_content(const nlohmann::ordered_json& messages, const std::string& source,
                                          const std::function<std::string(const nlohmann::ordered_json&)>& render);

// The messages with parts of text under other names ("input_text", "output_text", "refusal") as parts of text. Throws
// Error{kUsage} for a part of text without one.
nlohmann::ordered_json with_text_parts(nlohmann::ordered_json messages);

// Throws Error{kUnsupported} where a part that is no text, as an image, came out as Python's notation of it.
void check_parts_shown(const nlohmann::ordered_json& messages, const std::string& rendered);

// The messages with "" as the content of those that have none beside their calls; an empty list where all have some.
nlohmann::ordered_json with_empty_content(const nlohmann::ordered_json& messages);

}  // namespace hunch
