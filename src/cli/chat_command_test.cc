#include "cli/chat_command.h"

#include <gtest/gtest.h>

namespace hunch::cli {
namespace {

using Kind = ChatCommand::Kind;

std::string complaint(const std::string& line) {
  const ChatCommand command = parse_chat_command(line);
  EXPECT_EQ(command.kind, Kind::kWrong) << line;
  return command.message;
}

TEST(ChatCommand, OldAndNewSpellings) {
  for (const char* line : {"/clear", "/reset"}) EXPECT_EQ(parse_chat_command(line).kind, Kind::kClear);
  for (const char* line : {"/bye", "/quit", "/exit", "/bye  "}) EXPECT_EQ(parse_chat_command(line).kind, Kind::kLeave);
  for (const char* line : {"/regen", "/regenerate"}) EXPECT_EQ(parse_chat_command(line).kind, Kind::kRegenerate);
}

TEST(ChatCommand, ArgumentsKeepTheirInnerSpaces) {
  const ChatCommand save = parse_chat_command("/save   my talk.json \r");
  EXPECT_EQ(save.kind, Kind::kSave);
  EXPECT_EQ(save.argument, "my talk.json");
  EXPECT_EQ(parse_chat_command("/save! x").kind, Kind::kSaveOver);
  EXPECT_EQ(parse_chat_command("/system a\n b").argument, "a\n b");
  EXPECT_EQ(parse_chat_command("/system").kind, Kind::kSystem);
}

TEST(ChatCommand, UnknownOnesAreNamedWithASuggestion) {
  EXPECT_EQ(complaint("/laod x.json"), "no command /laod; did you mean '/load'? /help lists them");
  EXPECT_EQ(complaint("/nonsense"), "no command /nonsense; /help lists them");
  EXPECT_EQ(complaint("/"), "no command /; did you mean '/?'? /help lists them");
}

TEST(ChatCommand, ArgumentsThatLackOrAreTooMany) {
  EXPECT_EQ(complaint("/load"), "/load: expected FILE, found nothing");
  EXPECT_EQ(complaint("/clear it"), "/clear: expected nothing after it, found 'it'");
}

TEST(ChatCommand, HelpNamesEveryCommandOnce) {
  const std::string help = chat_command_help();
  for (const char* name : {"/clear", "/regen", "/system TEXT", "/save FILE", "/save! FILE", "/load FILE", "/bye"})
    EXPECT_NE(help.find(name), help.npos) << name;
  EXPECT_EQ(help.find("/reset"), help.npos);
}

}  // namespace
}  // namespace hunch::cli
