// POST /v1/completions: what is asked for.
#pragma once
#include <string_view>
#include <variant>
#include <vector>

#include "serve/settings.h"

namespace hunch::serve {

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // a text, or its ids

struct CompletionRequest {
  Settings settings;
  std::vector<Prompt> prompts;
  bool echo = false;  // the answer begins with the prompt
};

constexpr size_t kMostPrompts = 128;

// Throws RequestError{400} naming the field that is wrong.
CompletionRequest completion_request(std::string_view body);

// A string, a list of ids, or a list of at most `most` of either. Throws as Fields.
std::vector<Prompt> prompts_of(const Fields& fields, const char* name, size_t most);

}  // namespace hunch::serve
