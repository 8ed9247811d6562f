// What the answer to a chat is made of, told apart as it comes. Each API shows these parts in its own way.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/thinking.h"

namespace hunch::serve {

struct ChatPart {
  enum class Kind : uint8_t {
    kThinking,
    kContent,
    kCall,      // of a tool begins: `id` and `name`; no text
    kArguments  // more of the arguments of the newest call; together a JSON object
  };
  Kind kind = Kind::kContent;
  std::string text = {};
  std::string id = {}, name = {};
};

// The parts together.
struct ChatMessage {
  struct Call {
    std::string id, name, arguments;
  };
  std::string thinking, content;
  std::vector<Call> calls;
  void add(const ChatPart& part);
};

// Tells the parts of one answer apart. What is not yet certain is kept.
class ChatSplitter {
 public:
  // `tags` outlives it. `inside`: the answer begins in the thinking.
  ChatSplitter(const ThinkingTags& tags, bool inside) : thinking_(tags, inside) {}

  // What became certain with this text.
  std::vector<ChatPart> push(std::string_view text);
  // What was kept.
  std::vector<ChatPart> finish();

 private:
  static std::vector<ChatPart> parts(SplitText split);

  ThinkingSplitter thinking_;
  bool shown_ = false;
};

}  // namespace hunch::serve
