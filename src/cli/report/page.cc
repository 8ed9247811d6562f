#include "cli/report/page.h"

#include <fmt/format.h>

#include "cli/report/frame.h"
#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

std::string tiles(const Trace& t) {
  const bool relu = t.layers[0].rule == ActiveRule::kNonzero;
  const bool experts = std::string_view(unit_name(t)) == "experts";
  std::vector<Tile> tiles;
  const double active = mean_over_layers(t, [](const LayerTrace& l) { return l.active.mean; });
  tiles.push_back({percent(active), experts ? "of the experts are used for a token"
                                    : relu  ? "of the neurons are active for a token"
                                            : "of the neurons make 99 % of the MLP's output"});
  if (!experts)
    tiles.push_back(
        {percent(mean_over_layers(t, [](const LayerTrace& l) { return l.needed_90 ? l.needed_90->mean : 0.0; })),
         "of the neurons make 90 % of the MLP's output"});
  tiles.push_back({percent(mean_over_layers(t, [](const LayerTrace& l) { return l.heads_90.mean; })),
                   "of the heads make 90 % of attention's output"});
  if (t.layers.size() > 1)
    tiles.push_back({fmt::format("{:.2f}", t.cosine_at(t.layers.size() / 2, t.layers.size() / 2 + 1)),
                     "similarity (cosine) of neighbouring layers in the middle"});
  if (!t.oracle_both.empty())
    tiles.push_back({fmt::format("{:.2f}", t.dense_perplexity), "perplexity of the whole model"});
  return tiles_html(tiles);
}

std::string layer_table(const Trace& t) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", unit_name(t), "active", "needed for 99 %", "for 90 %", fmt::format("union of {}", t.union_sizes.back()),
       "heads for 99 %", "for 90 %", "cosine to the next", "attention adds, of ||X||", "MLP adds, of ||X||"}};
  const auto share = [](const std::optional<Spread>& s) { return s ? percent(s->mean) : std::string("-"); };
  for (size_t l = 0; l < t.layers.size(); ++l) {
    const LayerTrace& x = t.layers[l];
    rows.push_back({std::to_string(l), std::to_string(x.n_units), percent(x.active.mean), share(x.needed_99),
                    share(x.needed_90), percent(x.union_far.back()), percent(x.heads_99.mean), percent(x.heads_90.mean),
                    fmt::format("{:.3f}", t.cosine_at(l, l + 1)), fmt::format("{:.2f}", x.attention.ratio),
                    fmt::format("{:.2f}", x.mlp.ratio)});
  }
  return table_html("The numbers, layer by layer", rows);
}

}  // namespace

std::string report_page(const Trace& trace, const ReportInfo& info, const std::vector<Figure>& figures) {
  std::string out = fmt::format(
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
  for (const Figure& f : figures) out += figure_html(f);
  out += layer_table(trace);
  out += fmt::format(
      "<section class=\"soft\"><p>Made by <code>{}</code> ({}). Neurons are ranked by |activation| times the norm of "
      "their "
      "column of "
      "W_down, heads by the norm of their output. Shares of needed neurons and heads, and unions, are of {} sampled "
      "tokens in runs of "
      "consecutive ones; everything else is of all {}. Numbers of one text: another text, another "
      "number.</p></section>\n",
      escape_xml(info.command), escape_xml(info.machine), trace.n_sampled, trace.n_tokens);
  return page_frame(info.model + " - contextual sparsity", fmt::format("What {} needs for a token", info.model), out);
}

}  // namespace hunch::cli
