// Charts as SVG text: drawn by a browser or a Markdown page without scripts or network. Colours are CSS variables, so
// that a page's light and dark theme reach into them; every point and cell carries its value as a tooltip.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/report/figure.h"

namespace hunch::cli {

// Fit for SVG and HTML text and attributes: < > & " ' escaped, control characters and bytes that are not UTF-8 as
// U+FFFD.
std::string escape_xml(std::string_view text);

struct ChartAxis {
  std::string label;  // with the unit
  bool log = false;
  double low = 0, high = 1;  // of the plot; > 0 where log
  std::vector<double> ticks;
};

// An axis from 0 (or `low`) to a round number at or above `high`, with about five ticks.
ChartAxis linear_axis(std::string label, double high, double low = 0);
// Ticks at whole layers, not more than fit.
ChartAxis layer_axis(size_t n_layer, std::string label = "layer");
ChartAxis log_axis(std::string label, double low, double high, std::vector<double> ticks);

struct Series {
  std::string name;                // in the legend; none where ""
  std::vector<double> x, y;        // a y that is not finite leaves a gap
  std::vector<double> low, high;   // a band around y, or empty
  std::vector<std::string> hover;  // of each point; empty: "name, x: y"
  size_t color = 0;                // 0..5
  bool dashed = false, points = true, thin = false;
};

// 720 x 340. Series are drawn in order; values outside an axis are clipped to its end.
std::string line_chart(const ChartAxis& x, const ChartAxis& y, const std::vector<Series>& series);

struct HeatMap {
  size_t n_rows = 0, n_cols = 0;
  std::function<double(size_t row, size_t col)> value;  // in [0, 1]: the strength of the colour; not finite: no cell
  std::function<std::string(size_t row, size_t col)> hover;
  std::string row_label, col_label;                    // of the axes; rows and columns are numbered from 0
  std::string scale_low, scale_high;                   // what 0 and 1 mean
  std::string mark_label;                              // what a marked cell is
  std::function<bool(size_t row, size_t col)> marked;  // or empty
};
// Rows from top to bottom, as large as fits into 720 x 420.
std::string heat_map(const HeatMap& map);
// What its cells say, a set for each row that has any.
std::vector<ValueSet> values_of(const HeatMap& map);

struct SmallMap {
  std::string title, note;  // above and below
  size_t n = 0;             // [n, n], lower triangle
  std::function<double(size_t row, size_t col)> value;
  std::function<std::string(size_t row, size_t col)> hover;
  std::vector<uint32_t> marks;  // columns with a mark beneath
};
// Side by side, three to a row. Cells below kFaintest have no tooltip.
constexpr double kFaintest = 0.02;
std::string small_maps(const std::vector<SmallMap>& maps);

// The colours and strokes that all charts use: rules for a <style> element.
std::string chart_style();

// A chart as a file of its own, with its title, style and background; without tooltips, which images do not show.
std::string standalone_svg(std::string_view svg, std::string_view title);

}  // namespace hunch::cli
