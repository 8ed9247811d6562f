#include "cli/report/page.h"

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
details{margin-top:.5rem;font-size:.85rem}summary{color:var(--soft);cursor:pointer}details ul{margin:.4rem 0 0;padding-left:1.1rem;columns:2 15rem;overflow-wrap:anywhere}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums;margin-top:.6rem}
th,td{padding:4px 6px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{font-weight:600;color:var(--soft);white-space:normal;vertical-align:bottom}
code{font:.88em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}section{margin-top:2.6rem}
@media print{main{max-width:none;padding:0}figure{margin-top:1.4rem}}
)";

std::string tile(const std::string& number, const std::string& what) {
  return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", escape_xml(number), escape_xml(what));
}

std::string tiles(const Trace& t) {
  const bool relu = t.layers[0].rule == ActiveRule::kNonzero;
  const bool experts = std::string_view(unit_name(t)) == "experts";
  std::string out = "<div class=\"tiles\">\n";
  const double active = mean_over_layers(t, [](const LayerTrace& l) { return l.active.mean; });
  out += tile(percent(active), experts ? "of the experts are used for a token"
                               : relu  ? "of the neurons are active for a token"
                                       : "of the neurons make 99 % of the MLP's output");
  if (!experts)
    out += tile(percent(mean_over_layers(t, [](const LayerTrace& l) { return l.needed_90 ? l.needed_90->mean : 0.0; })),
                "of the neurons make 90 % of the MLP's output");
  out += tile(percent(mean_over_layers(t, [](const LayerTrace& l) { return l.heads_90.mean; })),
              "of the heads make 90 % of attention's output");
  if (t.layers.size() > 1)
    out += tile(fmt::format("{:.2f}", t.cosine_at(t.layers.size() / 2, t.layers.size() / 2 + 1)),
                "similarity (cosine) of neighbouring layers in the middle");
  if (!t.oracle_both.empty()) out += tile(fmt::format("{:.2f}", t.dense_perplexity), "perplexity of the whole model");
  return out + "</div>\n";
}

// What the points and cells of a chart say to a mouse, for those who have none. Thousands of cells are in the JSON
// alone.
std::string values_of(const std::string& svg) {
  constexpr size_t kMost = 400;
  constexpr std::string_view kOpen = "<title>", kClose = "</title>";
  std::string items;
  size_t n = 0;
  for (size_t at = svg.find(kOpen); at != svg.npos; at = svg.find(kOpen, at)) {
    at += kOpen.size();
    items += fmt::format("<li>{}</li>\n", svg.substr(at, svg.find(kClose, at) - at));
    ++n;
  }
  if (n == 0) return "";
  if (n > kMost) return "<p class=\"soft\">The values of its cells are in the report of <code>--json</code>.</p>\n";
  return fmt::format("<details><summary>The {} values of this figure</summary><ul>\n{}</ul></details>\n", n, items);
}

// What may be wider than a small screen: it scrolls by itself, by the keyboard too.
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

std::string layer_table(const Trace& t) {
  const char* units = unit_name(t);
  std::string out = fmt::format(
      "<table><thead><tr><th>layer</th><th>{0}</th><th>active</th>"
      "<th>needed for 99 %</th><th>for 90 %</th><th>union of {1}</th><th>heads for 99 %</th><th>for 90 %</th>"
      "<th>cosine to the next</th><th>attention adds, of ||X||</th><th>MLP adds, of ||X||</th></tr></thead><tbody>\n",
      units, t.union_sizes.back());
  const auto share = [](const std::optional<Spread>& s) { return s ? percent(s->mean) : std::string("-"); };
  for (size_t l = 0; l < t.layers.size(); ++l) {
    const LayerTrace& x = t.layers[l];
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.3f}</"
        "td><td>{:.2f}"
        "</td><td>{:.2f}</td></tr>\n",
        l, x.n_units, percent(x.active.mean), share(x.needed_99), share(x.needed_90), percent(x.union_far.back()),
        percent(x.heads_99.mean), percent(x.heads_90.mean), t.cosine_at(l, l + 1), x.attention.ratio, x.mlp.ratio);
  }
  return "<section><h2>The numbers, layer by layer</h2>\n" +
         scroller("The numbers, layer by layer", out + "</tbody></table>") + "</section>\n";
}

}  // namespace

std::string report_page(const Trace& trace, const ReportInfo& info, const std::vector<Figure>& figures) {
  const std::string model = escape_xml(info.model);
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{} - contextual "
      "sparsity</title>\n<style>\n{}{}</style>\n</head>\n"
      "<body>\n<main>\n<h1>What {} needs for a token</h1>\n",
      model, kStyle, chart_style(), model);
  out += fmt::format(
      "<p class=\"soft\">{} layers, activation {}; {} tokens of {} in {} window{} of {}. Layers, heads and tokens are "
      "counted from 0.</p>\n",
      trace.layers.size(), escape_xml(info.activation), trace.n_tokens, escape_xml(info.text_name), trace.n_windows,
      trace.n_windows == 1 ? "" : "s", trace.n_ctx);
  out +=
      "<p>A language model reads all of its weights for every token that it writes, and waits for memory most of the "
      "time. Yet "
      "which of its neurons and attention heads matter depends on the token at hand: <b>contextual sparsity</b> (Liu "
      "et al. 2023, "
      "<i>Deja Vu</i>). The figures below show how much of it this model has on this text: what could be left unread, "
      "whether "
      "it could be foreseen, and what it would cost.</p>\n";
  out += tiles(trace);
  for (const Figure& f : figures) {
    const std::string title = escape_xml(f.title);
    out += fmt::format("<figure id=\"{}\">\n<h2>{}</h2>\n", f.id, title);
    if (!f.svg.empty()) out += scroller(title, named(f.svg, title));
    out += fmt::format("<figcaption>{}</figcaption>\n{}</figure>\n", escape_xml(f.text), values_of(f.svg));
  }
  out += layer_table(trace);
  out += fmt::format(
      "<section class=\"soft\"><p>Made by <code>{}</code> ({}). Neurons are ranked by |activation| times the norm of "
      "their "
      "column of "
      "W_down, heads by the norm of their output. Shares of needed neurons and heads, and unions, are of {} sampled "
      "tokens in runs of "
      "consecutive ones; everything else is of all {}. Numbers of one text: another text, another "
      "number.</p></section>\n"
      "</main>\n</body>\n</html>\n",
      escape_xml(info.command), escape_xml(info.machine), trace.n_sampled, trace.n_tokens);
  return out;
}

}  // namespace hunch::cli
