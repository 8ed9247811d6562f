#include "cli/message_reader.h"

#include <string_view>

namespace hunch::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

}  // namespace

std::optional<ChatInput> MessageReader::push(const std::string& line) {
  std::string_view rest = line;
  const bool pasted = rest.find('\n') != rest.npos;
  was_pasted_ = was_pasted_ || pasted;
  if (is_block_) {
    text_ += '\n';
  } else if (!goes_on_ && rest.starts_with(kQuotes)) {
    // A pasted text may begin with quotes of its own: a pair around all of it is the person's.
    const size_t next = rest.find(kQuotes, kQuotes.size());
    if (!pasted || (next != rest.npos && next + kQuotes.size() == rest.size())) {
      rest.remove_prefix(kQuotes.size());
      is_block_ = was_block_ = true;
    }
  }
  if (is_block_) {
    if (!rest.ends_with(kQuotes)) {
      text_ += rest;
      return std::nullopt;
    }
    text_ += rest.substr(0, rest.size() - kQuotes.size());
    return take();
  }
  text_ += rest;
  goes_on_ = !pasted && text_.ends_with('\\');
  if (!goes_on_) return take();
  text_.back() = '\n';
  return std::nullopt;
}

std::optional<ChatInput> MessageReader::finish() {
  if (!is_open()) return std::nullopt;
  return take();
}

void MessageReader::clear() { *this = MessageReader(); }

ChatInput MessageReader::take() {
  ChatInput input{text_, !was_block_ && !was_pasted_ && text_.starts_with('/')};
  if (was_block_) {
    // The lines of the quotes themselves are not part of it.
    if (input.text.starts_with('\n')) input.text.erase(0, 1);
    if (input.text.ends_with('\n')) input.text.pop_back();
  }
  clear();
  return input;
}

}  // namespace hunch::cli
