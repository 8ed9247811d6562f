#include "cli/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hunch::cli {
namespace {

constexpr double kWidth = 720, kHeight = 340, kLeft = 64, kRight = 16, kBottom = 50;
constexpr double kCharWidth = 6.7;  // of the 12 px font, about

// Length of the UTF-8 sequence that begins at text[i], or 0 where there is none.
size_t utf8_length(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char b = byte(i);
  const size_t n = b < 0x80 ? 1 : b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
  if (n == 0 || i + n > text.size()) return 0;
  for (size_t k = 1; k < n; ++k)
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
  if (n == 3 && ((b == 0xe0 && byte(i + 1) < 0xa0) || (b == 0xed && byte(i + 1) >= 0xa0))) return 0;
  if (n == 4 && ((b == 0xf0 && byte(i + 1) < 0x90) || (b == 0xf4 && byte(i + 1) >= 0x90))) return 0;
  return n;
}

std::string number(double v) { return fmt::format("{:.4g}", v); }

double position(const ChartAxis& axis, double v, double from, double to) {
  double at;
  if (axis.log) {
    at = std::log(std::max(v, 1e-300) / axis.low) / std::log(axis.high / axis.low);
  } else {
    at = (v - axis.low) / (axis.high - axis.low);
  }
  return from + std::clamp(at, 0.0, 1.0) * (to - from);
}

std::string legend(const std::vector<Series>& series, double& top) {
  std::string out;
  double x = kLeft, y = 14;
  for (const Series& s : series) {
    if (s.name.empty()) continue;
    const double width = 34 + kCharWidth * double(s.name.size());
    if (x > kLeft && x + width > kWidth - kRight) x = kLeft, y += 18;
    out += fmt::format(
        R"(<line class="s{}{}" x1="{:.0f}" y1="{:.0f}" x2="{:.0f}" y2="{:.0f}"/><text x="{:.0f}" y="{:.0f}">{}</text>)",
        s.color, s.dashed ? " dashed" : "", x, y, x + 18, y, x + 24, y + 4, escape_xml(s.name));
    x += width;
  }
  top = out.empty() ? 14 : y + 16;
  return out + "\n";
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t n = utf8_length(text, i);
    const char c = text[i];
    if (n == 0 || (n == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f))) {
      out += "\xef\xbf\xbd";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (text.substr(i, n) == "\xef\xbf\xbe" || text.substr(i, n) == "\xef\xbf\xbf") {
      out += "\xef\xbf\xbd";  // not characters in XML
    } else {
      out += text.substr(i, n);
    }
    i += std::max<size_t>(n, 1);
  }
  return out;
}

ChartAxis linear_axis(std::string label, double high, double low) {
  if (!(high > low)) high = low + 1;
  const double raw = (high - low) / 5, magnitude = std::pow(10.0, std::floor(std::log10(raw)));
  double step = magnitude * 10;
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (raw <= factor * magnitude * 1.0001) {
      step = factor * magnitude;
      break;
    }
  ChartAxis axis{
      std::move(label), false, std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, {}};
  for (double i = std::round(axis.low / step); i * step <= axis.high + step / 2; ++i) axis.ticks.push_back(i * step);
  return axis;
}

ChartAxis layer_axis(size_t n_layer, std::string label) {
  ChartAxis axis{std::move(label), false, -0.3, double(n_layer) - 0.7, {}};
  size_t step = 1;
  for (const size_t s : {1, 2, 5, 10, 20, 50, 100}) {
    step = s;
    if (n_layer / s <= 16) break;
  }
  for (size_t l = 0; l < n_layer; l += step) axis.ticks.push_back(double(l));
  return axis;
}

ChartAxis log_axis(std::string label, double low, double high, std::vector<double> ticks) {
  return {std::move(label), true, low, high, std::move(ticks)};
}

std::string line_chart(const ChartAxis& x, const ChartAxis& y, const std::vector<Series>& series) {
  double top = 0;
  std::string out =
      fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {} {}" width="{}" role="img">)"
                  "\n",
                  kWidth, kHeight, kWidth);
  out += legend(series, top);
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  const auto px = [&](double v) { return position(x, v, kLeft, right); };
  const auto py = [&](double v) { return position(y, v, bottom, top); };
  for (const double tick : y.ticks)
    out += fmt::format(
        R"(<line class="grid" x1="{0:.0f}" y1="{1:.1f}" x2="{2:.0f}" y2="{1:.1f}"/><text class="end" x="{3:.0f}" y="{4:.1f}">{5}</text>)",
        kLeft, py(tick), right, kLeft - 8, py(tick) + 4, number(tick));
  for (const double tick : x.ticks)
    out += fmt::format(
        R"(<line class="axis" x1="{0:.1f}" y1="{1:.1f}" x2="{0:.1f}" y2="{2:.1f}"/><text class="mid" x="{0:.1f}" y="{3:.1f}">{4}</text>)",
        px(tick), bottom, bottom + 4, bottom + 18, number(tick));
  out += fmt::format(R"(<line class="axis" x1="{:.0f}" y1="{:.1f}" x2="{:.0f}" y2="{:.1f}"/>)", kLeft, bottom, right,
                     bottom);
  out += fmt::format(R"(<text class="mid label" x="{:.0f}" y="{:.0f}">{}</text>)", (kLeft + right) / 2, kHeight - 10,
                     escape_xml(x.label));
  out += fmt::format("<text class=\"mid label\" transform=\"translate(16 {:.0f}) rotate(-90)\">{}</text>\n",
                     (top + bottom) / 2, escape_xml(y.label));

  for (const Series& s : series) {
    if (s.low.empty()) continue;
    std::string path;
    for (size_t i = 0; i < s.x.size(); ++i)
      path += fmt::format("{}{:.1f} {:.1f}", i ? "L" : "M", px(s.x[i]), py(s.high[i]));
    for (size_t i = s.x.size(); i-- > 0;) path += fmt::format("L{:.1f} {:.1f}", px(s.x[i]), py(s.low[i]));
    out += fmt::format("<path class=\"band f{}\" d=\"{}Z\"/>\n", s.color, path);
  }
  for (const Series& s : series) {
    std::string path;
    bool gap = true;
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.y[i])) {
        gap = true;
        continue;
      }
      path += fmt::format("{}{:.1f} {:.1f}", gap ? "M" : "L", px(s.x[i]), py(s.y[i]));
      gap = false;
    }
    if (!path.empty())
      out += fmt::format("<path class=\"s{}{}{}\" d=\"{}\"/>\n", s.color, s.dashed ? " dashed" : "",
                         s.thin ? " thin" : "", path);
  }
  for (const Series& s : series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.y[i])) continue;
      const std::string hover =
          s.hover.empty() ? fmt::format("{}, {}: {}", s.name, number(s.x[i]), number(s.y[i])) : s.hover[i];
      out += fmt::format(
          R"(<g class="pt f{0}"><title>{1}</title><circle class="hit" cx="{2:.1f}" cy="{3:.1f}" r="9"/><circle class="dot{4}" cx="{2:.1f}" cy="{3:.1f}" r="3.2"/></g>)",
          s.color, escape_xml(hover), px(s.x[i]), py(s.y[i]), s.points ? "" : " quiet");
    }
  return out + "\n</svg>\n";
}

std::string chart_style() {
  return R"(.chart{--paper:#fff;--ink:#1c2530;--ink2:#5a6673;--grid:#e3e7eb;--c0:#2563c9;--c1:#c8590a;--c2:#22855b;--c3:#8b46b0;--c4:#b02a52;--c5:#5f6f1c}
@media screen and (prefers-color-scheme:dark){.chart{--paper:#12161b;--ink:#e6eaee;--ink2:#a3adb8;--grid:#2b333c;--c0:#6ea8ff;--c1:#ffa052;--c2:#5fd0a0;--c3:#cf97f0;--c4:#ff85a8;--c5:#c3d25a}}
.chart{max-width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.chart text{fill:var(--ink2)}.chart .label{fill:var(--ink)}.chart .strong{fill:var(--ink);font-weight:600}
.chart .heading{fill:var(--ink);font-weight:600;font-size:14.5px}.chart .mid{text-anchor:middle}.chart .end{text-anchor:end}
.chart .paper{fill:var(--paper)}.chart .frame{fill:none;stroke:var(--grid)}
.chart .grid{stroke:var(--grid)}.chart .axis{stroke:var(--ink2)}
.chart path{fill:none;stroke-linejoin:round}.chart .band{stroke:none;fill-opacity:.14}
.chart [class^=s]{stroke-width:2}.chart .dashed{stroke-dasharray:6 4}.chart .thin{stroke-width:1.2}
.chart .s0{stroke:var(--c0)}.chart .s1{stroke:var(--c1)}.chart .s2{stroke:var(--c2)}.chart .s3{stroke:var(--c3)}.chart .s4{stroke:var(--c4)}.chart .s5{stroke:var(--c5)}
.chart .f0{fill:var(--c0)}.chart .f1{fill:var(--c1)}.chart .f2{fill:var(--c2)}.chart .f3{fill:var(--c3)}.chart .f4{fill:var(--c4)}.chart .f5{fill:var(--c5)}
.chart .hit{fill-opacity:0}.chart .quiet{fill-opacity:0}.chart .pt:hover .dot{r:5.5px;fill-opacity:1}
.chart .cell:hover{stroke:var(--ink)}.chart .hover rect{width:1px;height:1px;fill-opacity:0}.chart .hover rect:hover{fill:var(--c1);fill-opacity:.6}.chart .mark{fill:none;stroke:var(--c1);stroke-width:2}.chart .tick{fill:var(--c1)}
)";
}

std::string standalone_svg(std::string_view svg, std::string_view title) {
  std::string chart(svg);
  const auto cut = [&](std::string_view from, std::string_view to) {
    for (size_t begin = chart.find(from); begin != chart.npos; begin = chart.find(from, begin))
      chart.erase(begin, chart.find(to, begin) + to.size() - begin);
  };
  cut("<g class=\"hover\"", "</g>");
  cut("<title>", "</title>");
  cut("<circle class=\"hit\"", "/>");
  // "<svg ... viewBox="0 0 W H" ...": the chart stands beneath its title.
  constexpr std::string_view kBox = "viewBox=\"0 0 ";
  const size_t box = chart.find(kBox) + kBox.size(), space = chart.find(' ', box), end = chart.find('"', space);
  const std::string width = chart.substr(box, space - box), height = chart.substr(space + 1, end - space - 1);
  constexpr size_t kLine = 88;
  int top = 18;
  std::string text;
  while (!title.empty()) {
    size_t split = title.size();
    if (title.size() > kLine) split = std::min(title.rfind(' ', kLine), title.find(' ', kLine));
    split = std::min(split, title.size());
    text +=
        fmt::format(R"(<text class="heading" x="16" y="{}">{}</text>)", top + 8, escape_xml(title.substr(0, split)));
    title.remove_prefix(std::min(split + 1, title.size()));
    top += 20;
  }
  chart.insert(chart.find(' ') + 1, fmt::format("y=\"{}\" height=\"{}\" ", top, height));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {0} {1}\" "
      "width=\"{0}\"><style>{2}</style>"
      "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>{3}\n{4}</svg>\n",
      width, top + std::stoi(height), chart_style(), text, chart);
}

}  // namespace hunch::cli
