// The page of perplexities by position.
#pragma once
#include <string>
#include <vector>

#include "cli/report/figure.h"
#include "measure/by_position.h"

namespace hunch::cli {

struct PositionReport {
  std::string model, text, command;
  size_t n_ctx = 0, n_ctx_train = 0, n_windows = 0;
  std::vector<PositionCurve> curves;
};

Figure position_figure(const PositionReport& report);
std::string position_page(const PositionReport& report);

// Rows of positions, a column for each curve; the first row is the heading.
std::vector<std::vector<std::string>> position_rows(const PositionReport& report);

}  // namespace hunch::cli
