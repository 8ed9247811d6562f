#include "cli/line_editor.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/paste.h"
#include "text/utf8.h"

#ifdef HUNCH_HAVE_LIBEDIT
#include <histedit.h>
#include <langinfo.h>

#include <clocale>
#include <cstring>
#endif

namespace hunch::cli {
namespace {

enum class ByteResult { kByte, kEnd, kInterrupted };

// One byte of standard input. Waits in slices, so that a Ctrl-C between two system calls is not missed.
ByteResult read_byte(char& byte) {
  while (true) {
    if (take_interrupt()) return ByteResult::kInterrupted;
    pollfd fd{STDIN_FILENO, POLLIN, 0};
    if (poll(&fd, 1, 100) <= 0) continue;
    const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
    if (n == 1) return ByteResult::kByte;
    if (n == 0 || errno != EINTR) return ByteResult::kEnd;
  }
}

LineEditor::Result read_plain(std::string& line) {
  line.clear();
  for (char byte;;) {
    switch (read_byte(byte)) {
      case ByteResult::kInterrupted: line.clear(); return LineEditor::Result::kInterrupted;
      case ByteResult::kEnd: return line.empty() ? LineEditor::Result::kEnd : LineEditor::Result::kLine;
      case ByteResult::kByte: break;
    }
    if (byte == '\n') {
      if (line.ends_with('\r')) line.pop_back();  // a line of Windows
      return LineEditor::Result::kLine;
    }
    line += byte;
  }
}

}  // namespace

#ifdef HUNCH_HAVE_LIBEDIT

namespace {

constexpr char kInvisible = '\1';  // around what of a prompt takes no room

// The prompt, whose last character is a space: libedit loses what is invisible at the very end.
std::string styled_prompt(const std::string& prompt) {
  const auto invisible = [](std::string_view text) {
    return text.empty() ? "" : fmt::format("{}{}{}", kInvisible, text, kInvisible);
  };
  return invisible(begin_style(Style::kName)) + prompt.substr(0, prompt.size() - 1) +
         invisible(begin_style(Style::kPlain)) + " ";
}

}  // namespace

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string prompt;
  std::filesystem::path file;
  bool interrupted = false;

  static Impl& of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<Impl*>(data);
  }
  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  // Bound to kPasteBegin. Keys that libedit would obey, a line end first of all, are text here.
  static unsigned char insert_paste(EditLine* editor, int) {
    PasteReader paste;
    for (char byte = 0;;) {
      switch (read_byte(byte)) {
        case ByteResult::kInterrupted: of(editor).interrupted = true; return CC_EOF;
        case ByteResult::kEnd: return CC_EOF;
        case ByteResult::kByte: break;
      }
      if (paste.push(byte)) break;
    }
    const std::string text = paste.text();
    return text.empty() || el_insertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  // libedit's own reader would take Ctrl-C for a broken read; this one tells it apart.
  static int read_char(EditLine* editor, wchar_t* out) {
    std::string bytes;
    for (char byte;;) {
      switch (read_byte(byte)) {
        case ByteResult::kInterrupted: of(editor).interrupted = true; return 0;
        case ByteResult::kEnd: return 0;
        case ByteResult::kByte: break;
      }
      bytes += byte;
      const Utf8Step step = utf8_step(bytes, 0);
      if (step.status == Utf8Step::Status::kIncomplete) continue;
      *out = step.status == Utf8Step::Status::kValid ? wchar_t(step.code_point) : wchar_t(0xfffd);
      return 1;
    }
  }
};

LineEditor::LineEditor(std::filesystem::path history_file) {
  if (!stdin_is_terminal() || !stderr_is_terminal()) return;
  setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
  impl_ = std::make_unique<Impl>();
  impl_->file = std::move(history_file);
  impl_->editor = el_init("hunch", stdin, stderr, stderr);
  impl_->history = history_init();
  if (!impl_->editor || !impl_->history) {
    if (impl_->editor) el_end(impl_->editor);
    if (impl_->history) history_end(impl_->history);
    impl_.reset();
    return;
  }
  EditLine* editor = impl_->editor;
  history(impl_->history, &impl_->event, H_SETSIZE, 1000);
  history(impl_->history, &impl_->event, H_SETUNIQUE, 1);
  if (!impl_->file.empty()) history(impl_->history, &impl_->event, H_LOAD, impl_->file.c_str());
  el_set(editor, EL_CLIENTDATA, impl_.get());
  el_set(editor, EL_PROMPT_ESC, &Impl::show_prompt, kInvisible);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_SIGNAL, 0);
  el_set(editor, EL_GETCFN, &Impl::read_char);
  el_set(editor, EL_HIST, history, impl_->history);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_set(editor, EL_ADDFN, "hunch-paste", "insert what is pasted", &Impl::insert_paste);
  el_source(editor, nullptr);  // the person's own ~/.editrc
  el_set(editor, EL_BIND, std::string(kPasteBegin).c_str(), "hunch-paste", nullptr);
}

LineEditor::~LineEditor() {
  if (!impl_) return;
  if (!impl_->file.empty()) {
    std::error_code ec;
    std::filesystem::create_directories(impl_->file.parent_path(), ec);
    history(impl_->history, &impl_->event, H_SAVE, impl_->file.c_str());
  }
  history_end(impl_->history);
  el_end(impl_->editor);
}

LineEditor::Result LineEditor::read(const std::string& prompt, std::string& line) {
  if (!impl_) {
    if (interactive()) fmt::print(stderr, "{}", prompt);
    return read_plain(line);
  }
  line.clear();
  impl_->prompt = styled_prompt(prompt);
  impl_->interrupted = false;
  int n = 0;
  const bool asks = !terminal_is_dumb();
  if (asks) fmt::print(stderr, "{}", kPasteOn);
  const char* text = el_gets(impl_->editor, &n);
  if (asks) fmt::print(stderr, "{}", kPasteOff);
  if (impl_->interrupted) {
    el_reset(impl_->editor);
    fmt::print(stderr, "\n");
    return Result::kInterrupted;
  }
  if (!text || n <= 0) return Result::kEnd;
  line.assign(text, size_t(n));
  if (line.ends_with('\n')) line.pop_back();
  if (line.find_first_not_of(" \t") != line.npos) history(impl_->history, &impl_->event, H_ENTER, line.c_str());
  return Result::kLine;
}

#else

struct LineEditor::Impl {};
LineEditor::LineEditor(std::filesystem::path) {}
LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::read(const std::string& prompt, std::string& line) {
  if (interactive()) fmt::print(stderr, "{}", prompt);
  return read_plain(line);
}

#endif

bool LineEditor::interactive() const { return stdin_is_terminal() && stderr_is_terminal(); }

}  // namespace hunch::cli
