// What a line of a chat that begins with / asks for.
#pragma once
#include <string>

namespace hunch::cli {

struct ChatCommand {
  enum class Kind { kHelp, kClear, kRegenerate, kSystem, kSave, kSaveOver, kLoad, kLeave, kWrong };
  Kind kind = Kind::kWrong;
  std::string argument;  // without white space around it
  std::string message;   // kWrong: what was expected and found
};

// Words that are no command, commands that lack their argument or have one too many give kWrong.
ChatCommand parse_chat_command(const std::string& line);

// A line for each command.
std::string chat_command_help();

}  // namespace hunch::cli
