// ASCII letters in lower case: names of headers, hosts and files.
#pragma once
#include <cctype>
#include <string>
#include <string_view>

namespace hunch {

inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = char(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace hunch
