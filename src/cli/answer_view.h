// How an answer looks while it comes: on a terminal words are wrapped and thinking is dim, elsewhere it is what the
// model says and nothing else.
#pragma once
#include <optional>
#include <string>

#include "cli/word_wrap.h"
#include "text/thinking.h"

namespace hunch::cli {

struct AnswerLook {
  bool terminal = false;       // marks, wrapping and styles
  size_t columns = 80;         // of the terminal
  bool hide_thinking = false;  // instead of it, how long it is
  bool progress = false;       // where it is hidden, count its tokens on stderr while they come
  std::string name;            // who answers
};

// Pure: it says what to print, and nothing else may be printed in between, since it knows where the cursor is.
class AnswerView {
 public:
  explicit AnswerView(AnswerLook look);

  // For stdout: before the answer; of each token, its text as it came and as it was split; at the end, however it came.
  std::string begin() const;
  std::string raw(std::string_view text) const;
  std::string text(const SplitText& part);
  std::string finish();
  // For stderr, before what text() or finish() returned: a line that is written over.
  std::string status();

 private:
  std::string wrapped(const std::string& text);

  const AnswerLook look_;
  std::optional<WordWrap> wrap_;
  bool is_thinking_ = false, in_answer_ = false;
  bool is_dim_ = false;  // thinking is being shown
  bool has_thought_ = false, status_shown_ = false;
  size_t n_thought_ = 0;  // tokens
};

}  // namespace hunch::cli
