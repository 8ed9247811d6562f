#include "cli/chat_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "cli/parse.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using Kind = ChatCommand::Kind;
enum class Argument { kNone, kMay, kMust };

struct Row {
  std::string_view name;
  Kind kind;
  Argument argument;
  std::string_view argument_name, help;  // no help: another spelling of the row above
};

constexpr std::array<Row, 13> kRows = {
    {{"/clear", Kind::kClear, Argument::kNone, "", "forget the conversation, keep the system message"},
     {"/reset", Kind::kClear, Argument::kNone, "", ""},
     {"/regen", Kind::kRegenerate, Argument::kNone, "", "answer the last question again, with another seed"},
     {"/system", Kind::kSystem, Argument::kMay, "TEXT", "change the system message (without TEXT: remove it)"},
     {"/save", Kind::kSave, Argument::kMust, "FILE", "write the conversation as JSON"},
     {"/save!", Kind::kSaveOver, Argument::kMust, "FILE", "the same, over a file that is there already"},
     {"/load", Kind::kLoad, Argument::kMust, "FILE", "go on with a conversation that was saved"},
     {"/help", Kind::kHelp, Argument::kNone, "", "this list"},
     {"/?", Kind::kHelp, Argument::kNone, "", ""},
     {"/bye", Kind::kLeave, Argument::kNone, "", "leave; so do Ctrl-D, and Ctrl-C twice"},
     {"/quit", Kind::kLeave, Argument::kNone, "", ""},
     {"/exit", Kind::kLeave, Argument::kNone, "", ""},
     {"/regenerate", Kind::kRegenerate, Argument::kNone, "", ""}}};

ChatCommand wrong(std::string message) { return {Kind::kWrong, {}, std::move(message)}; }

}  // namespace

ChatCommand parse_chat_command(const std::string& line) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t end = std::min(line.find_first_of(kSpace), line.size());
  const std::string name = line.substr(0, end);
  const size_t begin = line.find_first_not_of(kSpace, end);
  const std::string rest = begin == line.npos ? "" : line.substr(begin, line.find_last_not_of(kSpace) + 1 - begin);
  const auto row = std::ranges::find(kRows, std::string_view(name), &Row::name);
  if (row == kRows.end()) {
    std::vector<std::string> names;
    for (const Row& r : kRows) names.emplace_back(r.name);
    return wrong(fmt::format("no command {}{}{} /help lists them", printable(name), suggestion(name, names),
                             suggestion(name, names).empty() ? ";" : ""));
  }
  if (row->argument == Argument::kNone && !rest.empty())
    return wrong(fmt::format("{}: expected nothing after it, found '{}'", name, printable(rest)));
  if (row->argument == Argument::kMust && rest.empty())
    return wrong(fmt::format("{}: expected {}, found nothing", name, row->argument_name));
  return {row->kind, rest, {}};
}

std::string chat_command_help() {
  std::string out;
  for (const Row& row : kRows)
    if (!row.help.empty())
      out += fmt::format("  {:<14}  {}\n", fmt::format("{} {}", row.name, row.argument_name), row.help);
  return out +
         "A \\ at the end of a line continues the message on the next one; lines between \"\"\" and \"\"\" are one\n"
         "message, as is what is pasted. Ctrl-C stops an answer.";
}

}  // namespace hunch::cli
