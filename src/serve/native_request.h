// POST /completion, llama.cpp's own: what is asked for.
#pragma once
#include <string_view>
#include <vector>

#include "serve/completion_request.h"

namespace hunch::serve {

struct NativeRequest {
  Settings settings;
  // Each a text, or texts and lists of ids one after the other.
  std::vector<std::vector<Prompt>> prompts;
  bool is_list = false;      // the answer is a list, with one entry for each
  bool with_tokens = false;  // ids too
  Json echoed;               // "generation_settings" of the answer
};

// With llama.cpp's names and defaults (temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, no limit of tokens). Throws
// RequestError{400} naming the field that is wrong, or that would change the answer and is not there.
NativeRequest native_request(std::string_view body);

}  // namespace hunch::serve
