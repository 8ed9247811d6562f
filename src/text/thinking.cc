#include "text/thinking.h"

#include <algorithm>
#include <array>

namespace hunch {
namespace {

constexpr std::string_view kAroundMarks = " \t\r\n";

// As published templates have them; the last row is also what is looked for where a template says nothing.
const std::array<ThinkingTags, 11>& all_tags() {
  static const std::array<ThinkingTags, 11> kTags = {{
      {"<|channel|>analysis<|message|>",  // gpt-oss
       "<|end|>",
       {"<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>"},
       "<|end|>"},
      {"<|channel>thought", "<channel|>"},                                                     // Gemma 4
      {"[THINK]", "[/THINK]"},                                                                 // Magistral, Ministral 3
      {"<|START_THINKING|>", "<|END_THINKING|>", {"<|START_RESPONSE|>"}, "<|END_RESPONSE|>"},  // Command A
      {"<|inner_prefix|>", "<|inner_suffix|>"},                                                // Apertus
      {"<seed:think>", "</seed:think>"},                                                       // Seed-OSS
      {"<mm:think>", "</mm:think>"},                                                           // MiniMax M3
      {"◁think▷", "◁/think▷"},                                                                 // Kimi-VL
      {"<thought>", "</thought>"},                                                             // EXAONE Deep
      {"<think>", "</think>", {"<response>"}, "</response>"},                                  // Granite 3.3
      {"<think>", "</think>"},  // DeepSeek-R1, Qwen3, SmolLM3, GLM 4.5
  }};
  return kTags;
}

// Length of the longest end of `text` that begins `mark` but is not all of it.
size_t begun_mark(std::string_view text, std::string_view mark) {
  size_t n = std::min(text.size(), mark.empty() ? 0 : mark.size() - 1);
  while (n && !text.ends_with(mark.substr(0, n))) --n;
  return n;
}

size_t end_without_space(std::string_view text) {
  const size_t last = text.find_last_not_of(kAroundMarks);
  return last == text.npos ? 0 : last + 1;
}

}  // namespace

const ThinkingTags& thinking_tags(std::string_view source) {
  const auto occurs = [&](std::string_view mark) { return source.find(mark) != source.npos; };
  for (const ThinkingTags& tags : all_tags())
    if (occurs(tags.open) && (tags.answer.empty() || std::ranges::any_of(tags.answer, occurs))) return tags;
  return all_tags().back();
}

bool opens_thinking(std::string_view rendered, const ThinkingTags& tags) {
  return rendered.substr(0, end_without_space(rendered)).ends_with(tags.open);
}

SplitText ThinkingSplitter::push(std::string_view text) {
  SplitText out;
  kept_ += text;
  while (step(out)) {
  }
  out.is_thinking = state_ == State::kThinking;
  return out;
}

SplitText ThinkingSplitter::finish() {
  SplitText out;
  if (state_ == State::kThinking) {
    out.thinking = kept_.substr(0, end_without_space(kept_));
  } else {
    out.content = kept_;
  }
  kept_.clear();
  return out;
}

// Moves the first n kept bytes to `out`.
void ThinkingSplitter::take(std::string& out, size_t n) {
  out.append(kept_, 0, n);
  kept_.erase(0, n);
}

// One step of the state: true while there is more to decide.
bool ThinkingSplitter::step(SplitText& out) {
  if (state_ == State::kBetween) return between();
  const bool thinking = state_ == State::kThinking;
  const std::string_view mark = thinking ? tags_.close : tags_.end;
  if (thinking && !begun_) kept_.erase(0, std::min(kept_.find_first_not_of(kAroundMarks), kept_.size()));
  const size_t at = mark.empty() ? kept_.npos : kept_.find(mark);
  size_t n = at != kept_.npos ? at : kept_.size() - begun_mark(kept_, mark);
  if (thinking) n = end_without_space(std::string_view(kept_).substr(0, n));
  begun_ = thinking && (begun_ || n);
  if (at == kept_.npos) {
    take(thinking ? out.thinking : out.content, n);
    return false;
  }
  const size_t rest = at + mark.size() - n;
  take(thinking ? out.thinking : out.content, n);
  kept_.erase(0, rest);
  state_ = State::kBetween;
  begun_ = false;
  return true;
}

// Before the answer: skips white space and marks. False where more text has to decide.
bool ThinkingSplitter::between() {
  kept_.erase(0, std::min(kept_.find_first_not_of(kAroundMarks), kept_.size()));
  if (kept_.empty()) return false;
  if (kept_.starts_with(tags_.open)) {
    kept_.erase(0, tags_.open.size());
    state_ = State::kThinking;
    return true;
  }
  for (std::string_view mark : tags_.answer)
    if (kept_.starts_with(mark)) {
      kept_.erase(0, mark.size());
      return true;
    }
  if (tags_.open.starts_with(kept_)) return false;
  if (std::ranges::any_of(tags_.answer, [&](std::string_view mark) { return mark.starts_with(kept_); })) return false;
  state_ = State::kAnswer;
  return true;
}

}  // namespace hunch
