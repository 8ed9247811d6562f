#include "cli/answer_view.h"

#include <fmt/format.h>

#include <utility>

#include "cli/console.h"

namespace hunch::cli {

AnswerView::AnswerView(AnswerLook look) : look_(std::move(look)) {}

std::string AnswerView::begin() const { return look_.terminal ? styled(Style::kName, look_.name + ":") + "\n" : ""; }

std::string AnswerView::raw(std::string_view text) const {
  return look_.terminal || look_.hide_thinking ? "" : std::string(text);
}

std::string AnswerView::wrapped(const std::string& text) {
  if (!look_.terminal) return text;
  if (!wrap_) wrap_.emplace(look_.columns < 3 ? 2 : look_.columns - 1);
  return wrap_->push(text);
}

std::string AnswerView::text(const SplitText& part) {
  std::string out;
  n_thought_ += part.is_thinking;
  is_thinking_ = part.is_thinking;
  has_thought_ = has_thought_ || !part.thinking.empty();
  if (!part.thinking.empty() && look_.terminal && !look_.hide_thinking) {
    if (!is_dim_) out += fmt::format("{}(thinking)\n", begin_style(Style::kDim));
    is_dim_ = true;
    out += wrapped(part.thinking);
  }
  if (part.content.empty()) return out;
  if (!in_answer_ && has_thought_ && look_.terminal) {
    out += fmt::format("{}{}\n", is_dim_ ? std::string("\n") : std::string(begin_style(Style::kDim)),
                       fmt::format("(thought for {} token{})", n_thought_, n_thought_ == 1 ? "" : "s"));
    out += fmt::format("{}\n", begin_style(Style::kPlain));
    wrap_.reset();
  }
  is_dim_ = false;
  in_answer_ = true;
  if (look_.terminal || look_.hide_thinking) out += wrapped(part.content);
  return out;
}

std::string AnswerView::finish() {
  is_thinking_ = false;
  std::string out(is_dim_ ? begin_style(Style::kPlain) : "");
  is_dim_ = false;
  return out + (look_.terminal ? "\n\n" : "\n");
}

std::string AnswerView::status() {
  if (!look_.progress || !look_.hide_thinking) return "";
  if (is_thinking_) {
    status_shown_ = true;
    return fmt::format("\r\033[Kthinking ... {} tokens", n_thought_);
  }
  const bool shown = std::exchange(status_shown_, false);
  return shown ? "\r\033[K" : "";
}

}  // namespace hunch::cli
