#include "serve/chat_parts.h"

namespace hunch::serve {

void ChatMessage::add(const ChatPart& part) {
  switch (part.kind) {
    case ChatPart::Kind::kThinking: thinking += part.text; break;
    case ChatPart::Kind::kContent: content += part.text; break;
    case ChatPart::Kind::kCall: calls.push_back({part.id, part.name, {}}); break;
    case ChatPart::Kind::kArguments: calls.back().arguments += part.text; break;
  }
}

std::vector<ChatPart> ChatSplitter::parts(SplitText split) {
  std::vector<ChatPart> out;
  if (!split.thinking.empty()) out.push_back({ChatPart::Kind::kThinking, std::move(split.thinking)});
  if (!split.content.empty()) out.push_back({ChatPart::Kind::kContent, std::move(split.content)});
  return out;
}

std::vector<ChatPart> ChatSplitter::push(std::string_view text) {
  // Many vocabularies have white space before the first word, and templates add it again.
  if (!shown_) text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \n")));
  shown_ = shown_ || !text.empty();
  return parts(thinking_.push(text));
}

std::vector<ChatPart> ChatSplitter::finish() { return parts(thinking_.finish()); }

}  // namespace hunch::serve
