// A text that a person pastes into a terminal: with bracketed paste on, it comes between two escape sequences, so that
// its lines are told from lines that are typed.
#pragma once
#include <string>
#include <string_view>

namespace hunch::cli {

constexpr std::string_view kPasteOn = "\033[?2004h", kPasteOff = "\033[?2004l";  // what asks the terminal for it
constexpr std::string_view kPasteBegin = "\033[200~", kPasteEnd = "\033[201~";

// Reads what follows kPasteBegin.
class PasteReader {
 public:
  // Takes the next byte. True when the paste is complete: kPasteEnd came.
  bool push(char byte);
  // What was pasted: lines end with \n whatever they came with, line ends at its very end are dropped, as are control
  // characters but for tabs; what is not UTF-8 is U+FFFD.
  std::string text() const;

 private:
  std::string bytes_;
};

}  // namespace hunch::cli
