#include "cli/text_lines.h"

#include "base/error.h"
#include "cli/console.h"

namespace hunch::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    const size_t next = end + 1;
    if (end > begin && text[end - 1] == '\r') --end;
    lines.push_back(text.substr(begin, end - begin));
    begin = next;
  }
  return lines;
}

}  // namespace

std::vector<std::string> texts_of(const TextsFlags& flags, const char* what) {
  if (flags.file && !flags.texts.empty()) fail(ErrorKind::kUsage, "give either {} or --file, not both", what);
  if (!flags.texts.empty()) return flags.texts;
  if (!flags.file && stdin_is_terminal())
    fail(ErrorKind::kUsage, "no {}: give them as arguments, with --file FILE, or pipe them in, one a line", what);
  std::vector<std::string> lines = lines_of(read_text(flags.file.value_or("-")));
  if (lines.empty()) fail(ErrorKind::kUsage, "no {}: there is no line to read", what);
  return lines;
}

}  // namespace hunch::cli
