// Tables and paragraphs that are no wider than the terminal.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cli/console.h"

namespace hunch::cli {

// The text in lines of at most `width` terminal columns, broken at spaces, but not before a "%"; a word that is longer
// is broken behind one of "/,:;_-.@", as paths and lists have them, or else anywhere.
std::vector<std::string> wrapped_lines(std::string_view text, size_t width);

// The same as one text of lines; all but the first begin with `indent` spaces, which count.
std::string paragraph(std::string_view text, size_t indent = 0, size_t width = stdout_columns());

// Rows of cells, the first row the heading; the first column is left-aligned, as are those whose index is in
// `left`, the others right-aligned. A line each, where they fit into `width`. Else what stands left, and headings, goes
// on in further lines of its row; where that is not enough either, the last columns follow in a table of their own,
// beside the first column again.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<size_t>& left = {},
                  size_t width = stdout_columns());

// The lines of `text` that are wider than `width` go on in further ones, which begin with `indent` spaces. They are
// broken at spaces only, and not within `backticks`, so that names and commands can be copied; what has no space stays
// as it is.
std::string whole_words(std::string_view text, size_t indent, size_t width);

// Names of rows that may end with a file, "tg4 /models/teal.hunch@0.5", without its folder; as they are where two of
// them would then be alike.
std::vector<std::string> without_folders(const std::vector<std::string>& names);

}  // namespace hunch::cli
