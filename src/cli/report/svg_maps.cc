// Matrices drawn as coloured cells.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

std::string cell(double x, double y, double w, double h, double strength, const std::string& hover) {
  return fmt::format(
      R"(<rect class="cell f0" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.2f}"><title>{}</title></rect>)",
      x, y, w, h, std::clamp(strength, 0.0, 1.0), escape_xml(hover));
}

// Every which-th of n numbers gets a label so that they stay `room` pixels apart.
size_t label_step(double size, double room) {
  for (const size_t step : {1, 2, 5, 10, 20, 50, 100})
    if (size * double(step) >= room) return step;
  return 200;
}

std::string open_svg(double width, double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "role=\"img\">\n",
      width, height);
}

}  // namespace

std::string heat_map(const HeatMap& map) {
  const double left = 64, top = 34, w = std::min(40.0, 640.0 / double(map.n_cols)),
               h = std::clamp(360.0 / double(map.n_rows), 4.0, 26.0);
  const double right = left + w * double(map.n_cols), bottom = top + h * double(map.n_rows);
  std::string out = open_svg(720, bottom + 48);
  out += fmt::format("<text x=\"{:.0f}\" y=\"18\">{}</text>", left, escape_xml(map.scale_low));
  const double ramp = left + 10 + 6.7 * double(map.scale_low.size());
  for (size_t i = 0; i < 10; ++i)
    out += fmt::format(R"(<rect class="f0" x="{:.0f}" y="8" width="12" height="12" fill-opacity="{:.2f}"/>)",
                       ramp + 12 * double(i), double(i + 1) / 10);
  out += fmt::format("<text x=\"{:.0f}\" y=\"18\">{}</text>\n", ramp + 128, escape_xml(map.scale_high));
  if (map.marked)
    out +=
        fmt::format(R"(<rect class="mark" x="{:.0f}" y="8" width="12" height="12"/><text x="{:.0f}" y="18">{}</text>)",
                    left + 400, left + 420, escape_xml(map.mark_label));
  for (size_t r = 0; r < map.n_rows; ++r)
    for (size_t c = 0; c < map.n_cols; ++c)
      if (const double v = map.value(r, c); std::isfinite(v))
        out += cell(left + w * double(c) + 0.5, top + h * double(r) + 0.5, w - 1, h - 1, v, map.hover(r, c));
  if (map.marked)
    for (size_t r = 0; r < map.n_rows; ++r)
      for (size_t c = 0; c < map.n_cols; ++c)
        if (map.marked(r, c))
          out += fmt::format(
              R"(<rect class="mark" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" pointer-events="none"/>)",
              left + w * double(c) + 1.5, top + h * double(r) + 1.5, std::max(w - 3, 1.0), std::max(h - 3, 1.0));
  for (size_t r = 0; r < map.n_rows; r += label_step(h, 14))
    out += fmt::format(R"(<text class="end" x="{:.0f}" y="{:.1f}">{}</text>)", left - 8,
                       top + h * (double(r) + 0.5) + 4, r);
  for (size_t c = 0; c < map.n_cols; c += label_step(w, 24))
    out += fmt::format(R"(<text class="mid" x="{:.1f}" y="{:.1f}">{}</text>)", left + w * (double(c) + 0.5),
                       bottom + 16, c);
  out += fmt::format(R"(<text class="mid label" x="{:.0f}" y="{:.1f}">{}</text>)", (left + right) / 2, bottom + 38,
                     escape_xml(map.col_label));
  out += fmt::format("<text class=\"mid label\" transform=\"translate(16 {:.0f}) rotate(-90)\">{}</text>\n</svg>\n",
                     (top + bottom) / 2, escape_xml(map.row_label));
  return out;
}

std::vector<ValueSet> values_of(const HeatMap& map) {
  std::vector<ValueSet> sets;
  for (size_t r = 0; r < map.n_rows; ++r) {
    ValueSet set{fmt::format("{} {}", map.row_label, r), {}};
    for (size_t c = 0; c < map.n_cols; ++c)
      if (std::isfinite(map.value(r, c))) set.lines.push_back(map.hover(r, c));
    if (!set.lines.empty()) sets.push_back(std::move(set));
  }
  return sets;
}

std::string small_maps(const std::vector<SmallMap>& maps) {
  constexpr double kSide = 208, kCellWidth = 240, kCellHeight = 272;
  constexpr size_t kShades = 12;
  const size_t n_rows = (maps.size() + 2) / 3;
  std::string out = open_svg(3 * kCellWidth, double(n_rows) * kCellHeight);
  for (size_t i = 0; i < maps.size(); ++i) {
    const SmallMap& map = maps[i];
    const double x = double(i % 3) * kCellWidth + 16, y = double(i / 3) * kCellHeight + 28;
    const double size = kSide / double(map.n);
    out += fmt::format(R"(<text class="strong" x="{:.1f}" y="{:.1f}">{}</text>)", x, y - 9, escape_xml(map.title));
    out += fmt::format(R"(<rect class="frame" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)", x, y, kSide,
                       kSide);
    // One path per shade, runs of one shade in one piece: thousands of cells stay small.
    std::vector<std::string> paths(kShades + 1);
    const auto shade = [&](size_t r, size_t c) {
      return size_t(std::lround(std::sqrt(std::clamp(map.value(r, c), 0.0, 1.0)) * kShades));
    };
    for (size_t r = 0; r < map.n; ++r)
      for (size_t c = 0, end; c <= r; c = end) {
        for (end = c + 1; end <= r && shade(r, end) == shade(r, c);) ++end;
        paths[shade(r, c)] += fmt::format("M{} {}h{}v1h-{}z", c, r, end - c, end - c);
      }
    out += fmt::format(R"#(<g transform="translate({:.1f} {:.1f}) scale({:.4f})">)#", x, y, size);
    for (size_t s = 1; s <= kShades; ++s)
      if (!paths[s].empty())
        out += fmt::format(R"(<path class="f0" fill-opacity="{:.2f}" d="{}"/>)", double(s) / kShades, paths[s]);
    out +=
        "</g>\n" + fmt::format(R"#(<g class="hover" transform="translate({:.1f} {:.1f}) scale({:.4f})">)#", x, y, size);
    for (size_t r = 0; r < map.n; ++r)
      for (size_t c = 0; c <= r; ++c)
        if (map.value(r, c) >= kFaintest)
          out += fmt::format(R"(<rect x="{}" y="{}"><title>{}</title></rect>)", c, r, escape_xml(map.hover(r, c)));
    out += "</g>\n";
    for (const uint32_t column : map.marks) {
      const double at = x + size * (double(column) + 0.5), base = y + kSide + 2;
      out += fmt::format(R"(<path class="tick" d="M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z" stroke="none"/>)", at,
                         base, at - 4, base + 7, at + 4, base + 7);
    }
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x, y + kSide + 24, escape_xml(map.note));
  }
  return out + "</svg>\n";
}

}  // namespace hunch::cli
