// What the verbs print with: results on stdout, everything else on stderr.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/timer.h"

namespace hunch::cli {

// Writes to stdout at once. Throws Error{kIo} when it cannot (a full disk behind a pipe).
void print(std::string_view text);
// One JSON object and a line end; strings that are not UTF-8 come out with U+FFFD in place of what is wrong.
void print_json(const nlohmann::ordered_json& json);
// One line on stderr; on a terminal it goes on below where it is too long, between words.
void note(std::string_view line);
// The same as it is: for lines that programs read too.
void log_line(std::string line);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();
// Whether it says that it knows no escape sequences (TERM=dumb).
bool terminal_is_dumb();
// Columns of the terminal at stdout or stderr; 80 where it does not say.
size_t stdout_columns();
size_t stderr_columns();

// How words stand out, where they do.
enum class Style { kPlain, kDim, kName };
// The escape sequence that begins a style (kPlain: ends it), or "" where it should not be used: the terminal is dumb,
// or NO_COLOR is set to something (no-color.org). The caller has asked whether there is a terminal.
std::string_view begin_style(Style style);
std::string styled(Style style, std::string_view text);

// All of standard input. Throws Error{kInterrupted | kIo}.
std::string read_stdin();
// The file, a pipe with a name, as <(COMMAND) of a shell is one, or standard input for "-". A byte order mark before
// UTF-8 is left out; a text in UTF-16 is Error{kFormat}.
std::string read_text(const std::string& path);

// How long the rest of something takes that is `done` of `total`: "" while nobody can tell. Anew where the total is
// another, or less is done: parts of one whole may have names of their own.
class TimeLeft {
 public:
  std::string at(uint64_t done, uint64_t total, double seconds);

 private:
  uint64_t total_ = 0, done_ = 0, first_done_ = 0;
  double began_ = 0;
};

// A bar on stderr while it lives, where that is a terminal; elsewhere, in a log, a line each minute. Nothing at all
// where it is not `wanted`.
class ProgressBar {
 public:
  explicit ProgressBar(bool wanted);
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // To hand to whatever works long; valid while the bar lives.
  Progress progress();
  void clear();

 private:
  void show(std::string_view what, uint64_t done, uint64_t total);

  static constexpr double kSecondsOfLines = 60;

  bool wanted_, draws_, shown_ = false;
  std::string what_;
  TimeLeft left_;
  Timer since_start_, since_shown_;
};

// "12.3 M", "4.2 GB" (decimal), "1,234,567".
std::string human_count(double n);
std::string human_bytes(double n_bytes);
std::string grouped(uint64_t n);
// A share in [0, 1] as "12.3 %".
std::string share_text(double share);

}  // namespace hunch::cli
