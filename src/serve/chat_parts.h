// What the answer to a chat is made of, told apart as it comes. Each API shows these parts in its own way.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/thinking.h"
#include "text/tool_calls.h"

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

// How calls are written, and the tools at hand; none: all is content.
struct ChatCalls {
  const ToolSyntax* syntax = nullptr;
  std::shared_ptr<const std::vector<Tool>> tools = {};
  bool parallel = true;  // false: only the first call counts
};

// Tells the parts of one answer apart. What is not yet certain is kept.
class ChatSplitter {
 public:
  // `tags` and the syntax outlive it. `inside`: the answer begins in the thinking.
  ChatSplitter(const ThinkingTags& tags, bool inside, const ChatCalls& calls = {});

  // What became certain with this text.
  std::vector<ChatPart> push(std::string_view text);
  // What was kept.
  std::vector<ChatPart> finish();

 private:
  void add(std::vector<ChatPart>& out, SplitText split);
  void add(std::vector<ChatPart>& out, const std::vector<ToolPart>& parts);

  ThinkingSplitter thinking_;
  ToolCallSplitter calls_;
  bool parallel_;
  size_t n_calls_ = 0;
  bool shown_ = false;
};

}  // namespace hunch::serve
