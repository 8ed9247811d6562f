#include "cli/report/frame.h"

#include <fmt/format.h>

#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

constexpr const char* kStyle =
    R"(:root{color-scheme:light dark;--page:#fff;--text:#1c2530;--soft:#5a6673;--line:#e3e7eb;--tile:#f5f7f9}
@media screen and (prefers-color-scheme:dark){:root{--page:#12161b;--text:#e6eaee;--soft:#a3adb8;--line:#2b333c;--tile:#1a2027}}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:760px;margin:0 auto;padding:32px 20px 64px;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .4rem}h2{font-size:1.12rem;line-height:1.35;margin:0 0 .5rem}
p{margin:0 0 .8rem}.soft,figcaption{color:var(--soft);font-size:.92rem}
figure{margin:2.6rem 0 0;break-inside:avoid}figcaption{margin-top:.5rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(126px,1fr));gap:12px;margin:1.4rem 0}
.tile{background:var(--tile);border-radius:8px;padding:12px 14px}.tile b{display:block;font-size:1.5rem;line-height:1.3}.tile span{font-size:.85rem;color:var(--soft)}
.wide{overflow-x:auto}@media screen and (max-width:640px){main{padding:20px 14px 48px}.wide .chart{max-width:none;width:640px}}
details{margin-top:.5rem;font-size:.85rem}summary{color:var(--soft);cursor:pointer}details ul{margin:.4rem 0 0;padding-left:1.1rem;columns:2 15rem;overflow-wrap:anywhere}details details{margin-left:.9rem}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums;margin-top:.6rem}
th,td{padding:4px 6px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{font-weight:600;color:var(--soft);white-space:normal;vertical-align:bottom}
code{font:.88em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}section{margin-top:2.6rem}
@media print{main{max-width:none;padding:0}figure{margin-top:1.4rem}}
)";

std::string list_html(const std::string& summary, const std::string& content) {
  return fmt::format("<details><summary>{}</summary>{}</details>\n", summary, content);
}

// What the points and cells of a chart say to a mouse, for those who have none: one list, or where the figure has sets
// of them and they are many, one for each set.
std::string values_html(const Figure& f) {
  constexpr size_t kMost = 100;  // of one list
  size_t n = 0;
  std::string items, sets;
  for (const ValueSet& set : f.values) {
    std::string lines;
    for (const std::string& line : set.lines) lines += fmt::format("<li>{}</li>\n", escape_xml(line));
    n += set.lines.size();
    items += lines;
    sets += list_html(escape_xml(set.name), "<ul>\n" + lines + "</ul>");
  }
  if (n > kMost) return list_html("The values of this figure, part by part", "\n" + sets);
  if (f.values.empty()) {
    constexpr std::string_view kOpen = "<title>", kClose = "</title>";
    for (size_t at = f.svg.find(kOpen); at != f.svg.npos; at = f.svg.find(kOpen, at), ++n) {
      at += kOpen.size();
      items += fmt::format("<li>{}</li>\n", f.svg.substr(at, f.svg.find(kClose, at) - at));
    }
  }
  return n ? list_html(fmt::format("The {} values of this figure", n), "<ul>\n" + items + "</ul>") : "";
}

// What may be wider than a small screen: it scrolls by itself, by the keyboard too. `name` is HTML.
std::string scroller(const std::string& name, const std::string& content) {
  return fmt::format("<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{}\">{}</div>", name, content);
}

// The chart with a name for those who do not see it.
std::string named(std::string svg, const std::string& name) {
  constexpr std::string_view kImage = "role=\"img\"";
  const size_t at = svg.find(kImage);
  if (at != svg.npos) svg.insert(at + kImage.size(), fmt::format(" aria-label=\"{}\"", name));
  return svg;
}

}  // namespace

std::string page_frame(const std::string& title, const std::string& heading, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{}{}</style>\n</head>\n"
      "<body>\n<main>\n<h1>{}</h1>\n{}</main>\n</body>\n</html>\n",
      escape_xml(title), kStyle, chart_style(), escape_xml(heading), body);
}

std::string tiles_html(const std::vector<Tile>& tiles) {
  std::string out = "<div class=\"tiles\">\n";
  for (const Tile& t : tiles)
    out +=
        fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", escape_xml(t.number), escape_xml(t.what));
  return out + "</div>\n";
}

std::string figure_html(const Figure& f) {
  const std::string title = escape_xml(f.title), chart = f.svg.empty() ? "" : scroller(title, named(f.svg, title));
  return fmt::format("<figure id=\"{}\">\n<h2>{}</h2>\n{}<figcaption>{}</figcaption>\n{}</figure>\n", f.id, title,
                     chart, escape_xml(f.text), values_html(f));
}

std::string table_html(const std::string& heading, const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<table><thead>";
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "<tr>";
    for (const std::string& cell : rows[r]) out += fmt::format("<{0}>{1}</{0}>", r ? "td" : "th", escape_xml(cell));
    out += r ? "</tr>\n" : "</tr></thead><tbody>\n";
  }
  const std::string name = escape_xml(heading);
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", name, scroller(name, out + "</tbody></table>"));
}

}  // namespace hunch::cli
