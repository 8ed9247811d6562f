// A figure of a report.
#pragma once
#include <string>

namespace hunch::cli {

struct Figure {
  std::string id;     // "neurons", "union": the name of its file and its anchor
  std::string title;  // the finding
  std::string text;   // what is shown and how to read it; plain text
  std::string svg;    // empty where the figure does not apply; `text` then says why
};

}  // namespace hunch::cli
