// Where a JSON value ends, a byte at a time. What is between its brackets is not looked at.
#pragma once
#include <cstdint>

namespace hunch {

class JsonExtent {
 public:
  // Begins with the first byte of an object, a list or a text. True with its last byte.
  bool step(char c) {
    if (in_text_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_text_ = false;
      }
    } else if (c == '"') {
      in_text_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && depth_) {
      --depth_;
    }
    return !in_text_ && depth_ == 0;
  }
  bool in_text() const { return in_text_; }

 private:
  uint32_t depth_ = 0;
  bool in_text_ = false, escaped_ = false;
};

}  // namespace hunch
