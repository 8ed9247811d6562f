// One line at a time from a person: with editing and history (libedit) where that was built in and a
// terminal is at both ends, plain lines otherwise. With libedit, what is pasted is inserted as it is, line ends
// and all: the terminal marks it (cli/paste.h), and only a key ends a line.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

namespace hunch::cli {

class LineEditor {
 public:
  enum class Result { kLine, kEnd, kInterrupted };

  // History is read from and, by the destructor, written to `history_file` (errors are ignored; empty: none).
  explicit LineEditor(std::filesystem::path history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool interactive() const;
  // Shows `prompt` on stderr where interactive and reads a line without its end; line ends within it were pasted.
  // Ctrl-D (end of input) gives kEnd, Ctrl-C kInterrupted; `line` is then empty.
  Result read(const std::string& prompt, std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch::cli
