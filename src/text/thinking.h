// Models that think before they answer: how their templates mark that part, and how it is told from the answer while
// tokens come.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

// The marks of one family. Where they are control tokens, who generates has to show them (GenerateOptions::shown).
struct ThinkingTags {
  std::string_view open, close;               // around the thinking
  std::vector<std::string_view> answer = {};  // what may stand between it and the answer
  std::string_view end = {};                  // what may stand after the answer
};

// The family whose opening mark occurs in this chat template; <think> where there is none.
const ThinkingTags& thinking_tags(std::string_view template_source);

// Whether a rendered conversation ends inside of the thinking: some templates open it themselves.
bool opens_thinking(std::string_view rendered, const ThinkingTags& tags);

struct SplitText {
  std::string thinking, content;
  bool is_thinking = false;  // whether the thinking goes on
};

// Splits an answer as it comes. Thinking is what stands between the marks, at the beginning of the answer only: marks
// in the middle of a sentence are text. White space around both parts is dropped, but for the end of the answer.
class ThinkingSplitter {
 public:
  // `tags` outlives it. `inside`: the answer begins in the thinking.
  ThinkingSplitter(const ThinkingTags& tags, bool inside)
      : tags_(tags), state_(inside ? State::kThinking : State::kBetween) {}

  // What became certain with this text; what may be the beginning of a mark is kept until it is decided.
  SplitText push(std::string_view text);
  // What was kept.
  SplitText finish();

 private:
  enum class State { kBetween, kThinking, kAnswer };
  bool step(SplitText& out);
  bool between();
  void take(std::string& out, size_t n);

  const ThinkingTags& tags_;
  State state_;
  bool begun_ = false;  // something of the present thinking was handed out
  std::string kept_;
};

}  // namespace hunch
