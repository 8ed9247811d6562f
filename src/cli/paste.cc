#include "cli/paste.h"

#include "text/utf8.h"

namespace hunch::cli {

bool PasteReader::push(char byte) {
  bytes_ += byte;
  if (!bytes_.ends_with(kPasteEnd)) return false;
  bytes_.resize(bytes_.size() - kPasteEnd.size());
  return true;
}

std::string PasteReader::text() const {
  std::string text;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const char c = bytes_[i];
    if (c == '\r') {  // what terminals make of line ends
      text += '\n';
      if (i + 1 < bytes_.size() && bytes_[i + 1] == '\n') ++i;
    } else if (c == '\n' || c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) {
      text += c;
    }
  }
  text.erase(text.find_last_not_of('\n') + 1);
  return replace_invalid_utf8(text);
}

}  // namespace hunch::cli
