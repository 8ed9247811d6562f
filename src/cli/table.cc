#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "cli/word_wrap.h"
#include "text/utf8.h"

namespace hunch::cli {
namespace {

constexpr size_t kMany = 6;          // columns: numbers, mostly
constexpr size_t kLeastLeft = 10;    // what stands left is not made narrower
constexpr size_t kLongestWord = 16;  // of a heading; longer ones are broken

using Rows = std::vector<std::vector<std::string>>;

size_t columns_of(const Utf8Step& step) {
  return step.status == Utf8Step::Status::kValid ? cli::columns_of(char32_t(step.code_point)) : 1;
}

size_t columns_of(std::string_view text) {
  size_t n = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    n += columns_of(step);
    i += step.n_bytes;
  }
  return n;
}

// Whether a line may end before text[i]: at a space, but for that of a percentage.
bool breaks_at(std::string_view text, size_t i) { return text[i] == ' ' && text.substr(i + 1, 1) != "%"; }

// Of a heading, which may be broken at its spaces and behind a slash.
size_t longest_word(std::string_view text) {
  size_t longest = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (end < text.size() && text[end] != '/' && !breaks_at(text, end)) ++end;
    longest = std::max(longest, columns_of(text.substr(begin, end - begin + (end < text.size() && text[end] == '/'))));
    begin = end + 1;
  }
  return longest;
}

// Of one table: how wide its columns are, and which of them stand left.
struct Layout {
  size_t gap = 2;  // between columns; 1 where there are many and too little room
  std::vector<size_t> widths, least;
  std::vector<bool> left;

  size_t width(size_t first, size_t last) const {  // of columns [first, last)
    return std::accumulate(widths.begin() + ptrdiff_t(first), widths.begin() + ptrdiff_t(last), gap * (last - first)) -
           (last > first ? gap : 0);
  }
};

Layout layout_of(const Rows& rows, const std::vector<size_t>& left) {
  Layout out;
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t n = std::max(out.widths.size(), rows[r].size());
    out.widths.resize(n);
    out.least.resize(n);
    for (size_t i = 0; i < rows[r].size(); ++i) {
      const size_t columns = columns_of(rows[r][i]);
      out.widths[i] = std::max(out.widths[i], columns);
      if (r) out.least[i] = std::max(out.least[i], columns);
    }
  }
  for (size_t i = 0; i < out.widths.size(); ++i) {
    out.left.push_back(i == 0 || std::ranges::find(left, i) != left.end());
    const size_t word = i < rows[0].size() ? longest_word(rows[0][i]) : 0;
    out.least[i] =
        std::min(out.widths[i], std::max(out.left[i] ? kLeastLeft : out.least[i], std::min(word, kLongestWord)));
  }
  return out;
}

// Takes columns from the widest of those that can spare some, one by one, until the table fits or none can.
void narrow(Layout& layout, size_t width) {
  while (layout.width(0, layout.widths.size()) > width) {
    size_t widest = layout.widths.size();
    for (size_t i = 0; i < layout.widths.size(); ++i)
      if (layout.widths[i] > layout.least[i] &&
          (widest == layout.widths.size() || layout.widths[i] > layout.widths[widest]))
        widest = i;
    if (widest == layout.widths.size()) return;
    --layout.widths[widest];
  }
}

std::string aligned(const std::string& text, size_t width, bool left) {
  const std::string room(width - std::min(width, columns_of(text)), ' ');
  return left ? text + room : room + text;
}

// One row, of these columns.
std::string lines_of(const std::vector<std::string>& row, const Layout& layout, const std::vector<size_t>& columns) {
  std::vector<std::vector<std::string>> cells;
  size_t n_lines = 1;
  for (const size_t i : columns) {
    cells.push_back(i < row.size() ? wrapped_lines(row[i], layout.widths[i]) : std::vector<std::string>{""});
    n_lines = std::max(n_lines, cells.back().size());
  }
  std::string out;
  for (size_t l = 0; l < n_lines; ++l) {
    std::string line;
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string text = l < cells[c].size() ? cells[c][l] : "";
      line +=
          (c ? std::string(layout.gap, ' ') : "") + aligned(text, layout.widths[columns[c]], layout.left[columns[c]]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace

std::vector<std::string> wrapped_lines(std::string_view text, size_t width) {
  width = std::max<size_t>(width, 2);
  std::vector<std::string> lines;
  while (true) {
    size_t n = 0, i = 0, at_space = 0, behind_sign = 0;
    while (i < text.size()) {
      const Utf8Step step = utf8_step(text, i);
      const size_t columns = columns_of(step);
      if (n + columns > width) break;
      if (breaks_at(text, i)) at_space = i;
      n += columns;
      i += step.n_bytes;
      if (std::string_view("/,:;_-.@").find(text[i - 1]) != std::string_view::npos) behind_sign = i;
    }
    if (i == text.size()) break;
    if (breaks_at(text, i)) at_space = i;
    const size_t end = at_space ? at_space : behind_sign ? behind_sign : i;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  lines.emplace_back(text);
  return lines;
}

std::string paragraph(std::string_view text, size_t indent, size_t width) {
  std::string out;
  for (const std::string& line : wrapped_lines(text, width - std::min(width, indent)))
    out += (out.empty() ? "" : "\n" + std::string(indent, ' ')) + line;
  return out;
}

std::string whole_words(std::string_view text, size_t indent, size_t width) {
  std::string out;
  while (true) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (columns_of(line) <= width) {
      out += line;
    } else {
      size_t column = 0;
      for (size_t begin = 0; begin < line.size();) {
        size_t stop = line.find_first_not_of(' ', begin);
        for (bool within = false; stop < line.size() && (within || line[stop] != ' '); ++stop)
          if (line[stop] == '`') within = !within && line.find('`', stop + 1) != line.npos;
        stop = std::min(stop, line.size());
        std::string_view word = line.substr(begin, stop - begin);  // and the spaces before it
        if (column > indent && column + columns_of(word) > width) {
          word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
          out += "\n" + std::string(indent, ' ');
          column = indent;
        }
        out += word;
        column += columns_of(word);
        begin = stop;
      }
    }
    if (end == text.size()) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> without_folders(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    const size_t word = name.rfind(' ') + 1, slash = name.rfind('/');  // npos + 1 is 0
    const bool has_folder = slash != name.npos && slash >= word && slash + 1 < name.size();
    out.push_back(has_folder ? name.substr(0, word) + name.substr(slash + 1) : name);
  }
  std::vector<std::string> sorted = out;
  std::ranges::sort(sorted);
  return std::ranges::adjacent_find(sorted) == sorted.end() ? out : names;
}

std::string table(const Rows& rows, const std::vector<size_t>& left, size_t width) {
  Layout layout = layout_of(rows, left);
  const std::vector<size_t> whole = layout.widths;
  if (whole.size() >= kMany && layout.width(0, whole.size()) > width) layout.gap = 1;
  narrow(layout, width);
  if (layout.width(0, whole.size()) > width) {  // it comes in parts, which have room
    layout.widths[0] = std::min(whole[0], std::max(layout.least[0], width / 3));
    for (size_t i = 1; i < whole.size(); ++i)
      layout.widths[i] = std::min(whole[i], width - layout.widths[0] - layout.gap);
  }
  std::string out;
  for (size_t first = 1, n = layout.widths.size(); first == 1 || first < n;) {
    size_t last = std::min(first + 1, n);
    while (last < n && layout.widths[0] + layout.gap + layout.width(first, last + 1) <= width) ++last;
    std::vector<size_t> columns = {0};
    for (size_t i = first; i < last; ++i) columns.push_back(i);
    if (!out.empty()) out += "\n";
    for (const auto& row : rows) out += lines_of(row, layout, columns);
    first = std::max(last, first + 1);
  }
  return out;
}

}  // namespace hunch::cli
