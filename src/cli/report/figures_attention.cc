// What the attention heads do and how many are needed.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "cli/report/figures.h"
#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

Figure heads_figure(const Trace& trace) {
  Figure f{"heads", "", "", ""};
  const double n99 = mean_over_layers(trace, [](const LayerTrace& l) { return l.heads_99.mean; });
  const double n90 = mean_over_layers(trace, [](const LayerTrace& l) { return l.heads_90.mean; });
  f.title = n99 > 0.995 ? fmt::format("All heads are needed for 99 % of attention's output, {} for 90 %", percent(n90))
                        : fmt::format("{} of the heads make 99 % of attention's output, {} make 90 %", percent(n99),
                                      percent(n90));
  f.text = fmt::format(
      "Each token's heads sorted by the norm of their output; how many of them must be kept so that the rest changes "
      "what "
      "attention adds (after W_o) by at most 1 % or 10 % of its norm. Mean over {} tokens; band: 10th to 90th "
      "percentile.",
      trace.n_sampled);
  std::vector<Series> series = {{"needed for 99 %", {}, {}, {}, {}, {}, 0}, {"for 90 %", {}, {}, {}, {}, {}, 2}};
  for (size_t l = 0; l < trace.layers.size(); ++l)
    for (size_t s = 0; s < 2; ++s) {
      const Spread& v = s ? trace.layers[l].heads_90 : trace.layers[l].heads_99;
      series[s].x.push_back(double(l));
      series[s].y.push_back(100 * v.mean);
      series[s].low.push_back(100 * v.p10);
      series[s].high.push_back(100 * v.p90);
      series[s].hover.push_back(fmt::format("layer {}: {} of the heads {} on average; {} to {} for most tokens", l,
                                            percent(v.mean), s ? "for 90 %" : "for 99 %", percent(v.p10),
                                            percent(v.p90)));
    }
  f.svg = line_chart(layer_axis(trace.layers.size()), linear_axis("% of the layer's heads", 100), series);
  return f;
}

// Of the layer that has most; others may have fewer, as pruned ones.
template <class NHeads>
size_t most_heads(const Trace& trace, const NHeads& n_heads) {
  size_t most = 0;
  for (const LayerTrace& layer : trace.layers) most = std::max(most, n_heads(layer));
  return most;
}

Figure norms_figure(const Trace& trace) {
  Figure f{"head_norms", "", "", ""};
  double spread = 0;
  size_t at = 0;
  for (size_t l = 0; l < trace.layers.size(); ++l) {
    const auto [least, most] = std::ranges::minmax(trace.layers[l].head_norm);
    if (const double ratio = least > 0 ? most / least : 0; ratio > spread) spread = ratio, at = l;
  }
  f.title = fmt::format("In layer {} the loudest head is {:.1f} times as loud as the quietest", at, spread);
  f.text =
      "Mean norm of every head's output, as a share of the loudest in its layer. Heads that are quiet on average can "
      "be loud for the "
      "token that needs them: this is an average, not a licence to prune.";
  HeatMap map;
  map.n_rows = trace.layers.size();
  map.n_cols = most_heads(trace, [](const LayerTrace& l) { return l.head_norm.size(); });
  const auto loudest = [&](size_t r) { return std::max(1e-30, *std::ranges::max_element(trace.layers[r].head_norm)); };
  map.value = [&](size_t r, size_t c) {
    return c < trace.layers[r].head_norm.size() ? trace.layers[r].head_norm[c] / loudest(r) : double(NAN);
  };
  map.hover = [&](size_t r, size_t c) {
    return fmt::format("layer {}, head {}: mean norm {:.3g}, {} of the loudest", r, c, trace.layers[r].head_norm[c],
                       percent(trace.layers[r].head_norm[c] / loudest(r)));
  };
  map.row_label = "layer";
  map.col_label = "head";
  map.scale_low = "silent";
  map.scale_high = "loudest of its layer";
  f.svg = heat_map(map);
  f.values = values_of(map);
  return f;
}

std::string habit_in_words(const HeadHabit& h, const ReportInfo& info) {
  const std::string token = h.heaviest_key < info.excerpt.size() ? info.excerpt[h.heaviest_key] : "";
  return fmt::format("{}: evenness {:.2f}; to the first token {}, to the previous {}, to \"{}\" (token {}) {}",
                     name_of(kind_of(h)), h.entropy, percent(h.to_first), percent(h.to_previous), token, h.heaviest_key,
                     percent(h.heaviest));
}

Figure kinds_figure(const Trace& trace, const ReportInfo& info) {
  Figure f{"head_kinds", "", "", ""};
  std::array<size_t, 5> n_of_kind{};
  size_t n_heads = 0;
  for (const LayerTrace& l : trace.layers)
    for (const HeadHabit& h : l.habits) ++n_of_kind[size_t(kind_of(h))], ++n_heads;
  f.title = fmt::format("Of {} heads, {} spread evenly and {} lean on heavy hitters", n_heads,
                        n_of_kind[size_t(HeadKind::kUniform)], n_of_kind[size_t(HeadKind::kHeavyHitter)]);
  if (const size_t n = n_of_kind[size_t(HeadKind::kSink)]) f.title += fmt::format("; {} rest on the first token", n);
  if (const size_t n = n_of_kind[size_t(HeadKind::kPrevious)]) f.title += fmt::format("; {} look one token back", n);
  f.text = fmt::format(
      "How evenly a head spreads its attention over the first {} tokens of the text: entropy of its weights / "
      "log(tokens it sees). "
      "Framed are uniform (\"mixing\") heads, which average over everything; in Deja Vu's reading, the heads a token "
      "needs are "
      "mostly the others, those that pick a few heavy hitters. A cell's habits are shown where it is pointed at, and "
      "in the list beneath.",
      trace.excerpt.size());
  HeatMap map;
  map.n_rows = trace.layers.size();
  map.n_cols = most_heads(trace, [](const LayerTrace& l) { return l.habits.size(); });
  map.value = [&](size_t r, size_t c) {
    return c < trace.layers[r].habits.size() ? trace.layers[r].habits[c].entropy : double(NAN);
  };
  map.hover = [&](size_t r, size_t c) {
    return fmt::format("layer {}, head {}: {}", r, c, habit_in_words(trace.layers[r].habits[c], info));
  };
  map.marked = [&](size_t r, size_t c) {
    return c < trace.layers[r].habits.size() && kind_of(trace.layers[r].habits[c]) == HeadKind::kUniform;
  };
  map.mark_label = "uniform (0.9 or more)";
  map.row_label = "layer";
  map.col_label = "head";
  map.scale_low = "one token";
  map.scale_high = "all tokens alike";
  f.svg = heat_map(map);
  f.values = values_of(map);
  return f;
}

// One line for each token that looks: what it looks at, the strongest first.
ValueSet looks_of(const SmallMap& map, const ReportInfo& info) {
  const auto token = [&](size_t i) {
    return fmt::format("\"{}\" ({})", i < info.excerpt.size() ? info.excerpt[i] : "", i);
  };
  ValueSet set{map.title, {}};
  for (size_t r = 0; r < map.n; ++r) {
    std::vector<size_t> seen(r + 1);
    std::iota(seen.begin(), seen.end(), size_t{0});
    std::ranges::stable_sort(seen, std::greater<>(), [&](size_t c) { return map.value(r, c); });
    std::string line = token(r) + " looks at";
    size_t n = 0;
    double rest = 0;
    for (const size_t c : seen)
      if (const double v = map.value(r, c); v >= kFaintest)
        line += fmt::format("{} {} {}", n++ ? "," : "", token(c), percent(v));
      else
        rest += v;
    if (n <= r) line += fmt::format("{} {} others {}", n ? "," : "", r + 1 - n, percent(rest));
    set.lines.push_back(std::move(line));
  }
  return set;
}

Figure maps_figure(const Trace& trace, const ReportInfo& info) {
  Figure f{"attention", "", "", ""};
  size_t n_heavy = 0;
  for (const AttentionMap& m : trace.maps) n_heavy += !m.heavy.empty();
  f.title = fmt::format("{} of these {} heads have heavy hitters: a few tokens that later ones keep looking at",
                        n_heavy, trace.maps.size());
  f.text = fmt::format(
      "Attention of single heads over the first {} tokens: each row is a token that looks, each column one that is "
      "looked at; stronger "
      "colour is more attention. Triangles mark heavy hitters, named beneath; an even triangle of one shade is a "
      "uniform head, a strong "
      "left edge a sink, a strong diagonal a head that looks at the previous token.",
      trace.excerpt.size());
  const size_t n = trace.excerpt.size();
  const auto token = [&](size_t i) { return i < info.excerpt.size() ? info.excerpt[i] : std::string(); };
  std::vector<SmallMap> maps;
  for (const AttentionMap& m : trace.maps) {
    SmallMap map;
    map.title = fmt::format("layer {}, head {}: {}", m.id.layer, m.id.head, name_of(kind_of(m.habit)));
    std::string names;
    for (const uint32_t key : m.heavy) names += fmt::format("{}\"{}\"", names.empty() ? "" : " ", token(key));
    // Cut at 34 bytes, but not inside of a character.
    if (names.size() > 34) {
      size_t end = 32;
      while (end > 0 && (static_cast<unsigned char>(names[end]) & 0xc0) == 0x80) --end;
      names = names.substr(0, end) + "...";
    }
    map.note = names.empty() ? fmt::format("evenness {:.2f}", m.habit.entropy) : names;
    map.n = n;
    map.value = [&m, n](size_t r, size_t c) { return double(m.weights[r * n + c]); };
    map.hover = [&m, n, token](size_t r, size_t c) {
      return fmt::format("\"{}\" ({}) looks at \"{}\" ({}): {}", token(r), r, token(c), c,
                         percent(double(m.weights[r * n + c])));
    };
    map.marks = m.heavy;
    f.values.push_back(looks_of(map, info));
    maps.push_back(std::move(map));
  }
  f.svg = small_maps(maps);
  return f;
}

}  // namespace

void add_attention_figures(const Trace& trace, const ReportInfo& info, std::vector<Figure>& out) {
  out.push_back(heads_figure(trace));
  out.push_back(norms_figure(trace));
  out.push_back(kinds_figure(trace, info));
  out.push_back(maps_figure(trace, info));
}

}  // namespace hunch::cli
