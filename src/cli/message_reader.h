// From the lines of a chat's input to messages: a message is a line, unless it says that it goes on.
#pragma once
#include <optional>
#include <string>

namespace hunch::cli {

struct ChatInput {
  std::string text;
  bool is_command = false;  // a line of its own that begins with /
};

// A \ at the end of a line continues the message on the next one. A line that begins with """ begins a message of many
// lines, which ends with """ at the end of a line; neither \ nor / mean anything in there. A line that has line ends in
// it was pasted, and is a message as it stands; between a pair of """, what is between them.
class MessageReader {
 public:
  // Takes a line without its end. The message, when it is complete.
  std::optional<ChatInput> push(const std::string& line);
  // At the end of the input: what was begun, if anything was.
  std::optional<ChatInput> finish();
  // Forgets what was begun.
  void clear();
  // Whether a message was begun that goes on.
  bool is_open() const { return is_block_ || goes_on_; }

 private:
  ChatInput take();

  std::string text_;
  bool is_block_ = false, goes_on_ = false;
  bool was_block_ = false, was_pasted_ = false;
};

}  // namespace hunch::cli
