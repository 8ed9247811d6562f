#include "serve/chat_parts.h"

#include <fmt/format.h>

#include "serve/random_number.h"

namespace hunch::serve {

void ChatMessage::add(const ChatPart& part) {
  switch (part.kind) {
    case ChatPart::Kind::kThinking: thinking += part.text; break;
    case ChatPart::Kind::kContent: content += part.text; break;
    case ChatPart::Kind::kCall: calls.push_back({part.id, part.name, {}}); break;
    case ChatPart::Kind::kArguments: calls.back().arguments += part.text; break;
  }
}

ChatSplitter::ChatSplitter(const ThinkingTags& tags, bool inside, const ChatCalls& calls)
    : thinking_(tags, inside),
      calls_(calls.syntax ? *calls.syntax : tool_syntaxes().back(), calls.tools),
      parallel_(calls.parallel) {}

void ChatSplitter::add(std::vector<ChatPart>& out, SplitText split) {
  if (!split.thinking.empty()) out.push_back({ChatPart::Kind::kThinking, std::move(split.thinking)});
  add(out, calls_.push(split.content));
}

void ChatSplitter::add(std::vector<ChatPart>& out, const std::vector<ToolPart>& parts) {
  for (const ToolPart& part : parts) {
    n_calls_ += part.kind == ToolPart::Kind::kCall;
    if (part.kind == ToolPart::Kind::kText) {
      out.push_back({ChatPart::Kind::kContent, part.text});
    } else if (!parallel_ && n_calls_ > 1) {
      continue;
    } else if (part.kind == ToolPart::Kind::kCall) {
      out.push_back({ChatPart::Kind::kCall, {}, fmt::format("call_{:016x}", random_number()), part.text});
    } else {
      out.push_back({ChatPart::Kind::kArguments, part.text});
    }
  }
}

std::vector<ChatPart> ChatSplitter::push(std::string_view text) {
  // Many vocabularies have white space before the first word, and templates add it again.
  if (!shown_) text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \n")));
  shown_ = shown_ || !text.empty();
  std::vector<ChatPart> out;
  add(out, thinking_.push(text));
  return out;
}

std::vector<ChatPart> ChatSplitter::finish() {
  std::vector<ChatPart> out;
  add(out, thinking_.finish());
  add(out, calls_.finish());
  return out;
}

}  // namespace hunch::serve
