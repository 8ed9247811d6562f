// What all reports are made of: one self-contained page without scripts or network, in the reader's light or dark
// theme.
#pragma once
#include <string>
#include <vector>

#include "cli/report/figure.h"

namespace hunch::cli {

// The page: `title` names the window, `heading` stands on top of `body`, which is HTML.
std::string page_frame(const std::string& title, const std::string& heading, const std::string& body);

// A number and what it is of; a row of them.
struct Tile {
  std::string number, what;
};
std::string tiles_html(const std::vector<Tile>& tiles);

// With its title, and its values once more as a list for who has no mouse.
std::string figure_html(const Figure& figure);

// The first row is the heading.
std::string table_html(const std::string& heading, const std::vector<std::vector<std::string>>& rows);

}  // namespace hunch::cli
