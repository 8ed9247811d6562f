#include "cli/console.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "cli/table.h"
#include "io/printable.h"

namespace hunch::cli {

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::kIo, "cannot write to standard output: {}", std::strerror(errno));
    text.remove_prefix(size_t(n));
  }
}

void print_json(const nlohmann::ordered_json& json) {
  print(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void note(std::string_view line) {
  log_line(stderr_is_terminal() ? whole_words(line, 2, stderr_columns()) : std::string(line));
}

void log_line(std::string text) {
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool stdin_is_terminal() { return isatty(STDIN_FILENO); }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO); }
bool stderr_is_terminal() { return isatty(STDERR_FILENO); }

namespace {

size_t columns_at(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool has_styles() {
  const char* no_color = std::getenv("NO_COLOR");
  return !(no_color && *no_color) && !terminal_is_dumb();
}

}  // namespace

bool terminal_is_dumb() {
  const char* term = std::getenv("TERM");
  return term && std::string_view(term) == "dumb";
}

size_t stdout_columns() { return columns_at(STDOUT_FILENO); }
size_t stderr_columns() { return columns_at(STDERR_FILENO); }

std::string_view begin_style(Style style) {
  static const bool wanted = has_styles();
  if (!wanted) return "";
  switch (style) {
    case Style::kDim: return "\033[2m";
    case Style::kName: return "\033[1;36m";
    default: return "\033[0m";
  }
}

std::string styled(Style style, std::string_view text) {
  return fmt::format("{}{}{}", begin_style(style), text, begin_style(Style::kPlain));
}

namespace {

std::string read_all(int fd, const std::string& name) {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) {
      throw_if_interrupted();
      continue;
    }
    if (n < 0) fail(ErrorKind::kIo, "cannot read {}: {}", name, std::strerror(errno));
    if (n == 0) return text;
    text.append(buffer, size_t(n));
  }
}

}  // namespace

std::string read_stdin() { return read_all(STDIN_FILENO, "standard input"); }

namespace {

std::string text_of_file(const std::string& path) {
  std::error_code ec;
  if (!std::filesystem::is_fifo(path, ec)) return read_file(path);
  struct Pipe {
    int fd;
    ~Pipe() { ::close(fd); }
  } pipe{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  const std::string name = fmt::format("'{}'", printable(path, 300));
  if (pipe.fd < 0 && errno == EINTR) throw_if_interrupted();
  if (pipe.fd < 0) fail(ErrorKind::kIo, "cannot open {}: {}", name, std::strerror(errno));
  return read_all(pipe.fd, name);
}

}  // namespace

std::string read_text(const std::string& path) {
  std::string text = path == "-" ? read_stdin() : text_of_file(path);
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    fail(ErrorKind::kFormat, "'{}' is a text in UTF-16, expected UTF-8 (iconv -f UTF-16 -t UTF-8 makes one of it)",
         printable(path, 300));
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a mark of the coding and no part of the text
  return text;
}

ProgressBar::ProgressBar(bool wanted) : wanted_(wanted), draws_(stderr_is_terminal()) {}

Progress ProgressBar::progress() {
  if (!wanted_) return {};
  return [this](std::string_view what, uint64_t done, uint64_t total) { show(what, done, total); };
}

std::string TimeLeft::at(uint64_t done, uint64_t total, double seconds) {
  if (total != total_ || done < done_) total_ = total, first_done_ = done, began_ = seconds;
  done_ = done;
  const double taken = seconds - began_;
  if (done <= first_done_ || done >= total || taken <= 1) return "";
  return fmt::format("{:.0f} s left", taken * double(total - done) / double(done - first_done_));
}

void ProgressBar::show(std::string_view what, uint64_t done, uint64_t total) {
  const std::string left = left_.at(done, total, since_start_.seconds());
  if (draws_ ? what == what_ && shown_ && since_shown_.seconds() < 0.1 && done != total
             : since_shown_.seconds() < kSecondsOfLines)
    return;
  what_ = what;
  since_shown_ = Timer();
  if (!draws_) {
    const std::string of = total ? share_text(double(std::min(done, total)) / double(total)) : std::to_string(done);
    return log_line(fmt::format("{}: {}{}{}", what, of, left.empty() ? "" : ", some ", left));
  }
  shown_ = true;
  const size_t columns = stderr_columns();
  std::string line;
  if (total == 0) {
    line = fmt::format("{} {}", what, done);
  } else {
    const double share = std::min(1.0, double(done) / double(total));
    constexpr size_t kWidth = 30;
    const size_t full = size_t(share * kWidth);
    line = fmt::format("{} [{}{}] {:3.0f} % {}", what, std::string(full, '#'), std::string(kWidth - full, ' '),
                       share * 100, left);
  }
  if (line.size() >= columns) line.resize(columns - 1);
  fmt::print(stderr, "\r{}\033[K", line);
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

std::string human_count(double n) {
  if (n < 999.5) return fmt::format("{:.0f}", n);
  if (n < 999.5e3) return fmt::format("{:.3g} K", n / 1e3);
  if (n < 999.5e6) return fmt::format("{:.3g} M", n / 1e6);
  return fmt::format("{:.3g} G", n / 1e9);
}

std::string human_bytes(double n_bytes) {
  return n_bytes < 1e3 ? fmt::format("{:.0f} B", n_bytes) : human_count(n_bytes) + "B";
}

std::string share_text(double share) { return fmt::format("{:.1f} %", share * 100); }

std::string grouped(uint64_t n) {
  std::string digits = std::to_string(n);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

}  // namespace hunch::cli
