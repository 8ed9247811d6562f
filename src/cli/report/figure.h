// A figure of a report.
#pragma once
#include <string>
#include <vector>

namespace hunch::cli {

// What a part of a figure says, in words: a row of a map, or one of several maps.
struct ValueSet {
  std::string name;                // "layer 3"
  std::vector<std::string> lines;  // plain text
};

struct Figure {
  std::string id;     // "neurons", "union": the name of its file and its anchor
  std::string title;  // the finding
  std::string text;   // what is shown and how to read it; plain text
  std::string svg;    // empty where the figure does not apply; `text` then says why
  // Its values for who has no mouse, where they are too many for one list; else the tooltips of `svg` are listed.
  std::vector<ValueSet> values = {};
};

}  // namespace hunch::cli
