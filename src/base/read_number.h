#pragma once
#include <charconv>
#include <string_view>

namespace hunch {

// Whether `text` is a number and nothing else, which `value` then is.
template <class Value>
bool read_number(std::string_view text, Value& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace hunch
