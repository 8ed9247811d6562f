// What of a body says which model is meant, without reading all of it: that is the model's own business.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace hunch::serve {

struct ModelChoice {
  std::string name;                         // "model"; "": none
  std::optional<double> keep_seconds = {};  // "keep_alive" of Ollama's API; less than 0: for good
};

// The fields of an object; of other JSON none. Throws RequestError{400} as parse_value(), and for a "model" that is no
// text or a "keep_alive" that is no duration.
ModelChoice model_choice(std::string_view body);

// "10m", "90s", "1h30m", "500ms", "-1" or 300: seconds. Nothing for what is none.
std::optional<double> duration_from(std::string_view text);

}  // namespace hunch::serve
