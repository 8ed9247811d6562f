// How many neurons (or experts) a token, a batch and a text need.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/report/figures.h"
#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

Figure active_figure(const Trace& trace, const ReportInfo& info) {
  Figure f{"neurons", "", "", ""};
  const size_t n = trace.layers.size();
  const double mean = mean_over_layers(trace, [](const LayerTrace& l) { return l.active.mean; });
  const auto least = std::ranges::min_element(trace.layers, {}, [](const LayerTrace& l) { return l.active.mean; });
  const size_t least_layer = size_t(least - trace.layers.begin());
  const ActiveRule rule = trace.layers[0].rule;
  const auto of_units = [](const char* name, const char* rule_text, size_t color, const Trace& t, auto spread,
                           bool dashed) {
    Series s{name, {}, {}, {}, {}, {}, color, dashed};
    for (size_t l = 0; l < t.layers.size(); ++l) {
      const Spread v = spread(t.layers[l]);
      s.x.push_back(double(l));
      s.y.push_back(100 * v.mean);
      s.low.push_back(100 * v.p10);
      s.high.push_back(100 * v.p90);
      s.hover.push_back(fmt::format("layer {}: {} {} on average; between {} and {} for most tokens", l, percent(v.mean),
                                    rule_text, percent(v.p10), percent(v.p90)));
    }
    return s;
  };
  const auto nothing = Spread{NAN, NAN, NAN};
  std::vector<Series> series;
  bool mixture = false;
  for (const LayerTrace& l : trace.layers) mixture = mixture || l.rule == ActiveRule::kRouted;
  if (mixture) {
    f.title = fmt::format("The router uses {} of the experts for every token", percent(mean));
    f.text =
        "This model is a mixture of experts: sparsity is built in, and the router is its predictor. The share is fixed "
        "by "
        "the model; neurons inside of the experts are not looked into.";
    series = {of_units(
        "experts used", "of the experts", 0, trace, [](const LayerTrace& l) { return l.active; }, false)};
  } else if (rule == ActiveRule::kNonzero) {
    f.title = fmt::format("A token uses {} of the MLP's neurons; layer {} only {}", percent(mean), least_layer,
                          percent(least->active.mean));
    f.text = fmt::format(
        "Share of each layer's {} neurons that are not exactly zero after the activation ({}). The others add nothing "
        "to the "
        "result, so their weights need not be read. Still fewer make nearly all of it: dashed, the neurons whose "
        "omitted rest changes the MLP's output by at most 1 % and 10 % of its norm. Bands: 10th to 90th percentile "
        "over "
        "{} tokens.",
        trace.layers[0].n_units, info.activation, trace.n_tokens);
    series = {of_units(
        "not zero", "not zero", 0, trace, [](const LayerTrace& l) { return l.active; }, false)};
  } else {
    f.title = fmt::format("{} of the neurons make 99 % of the MLP's output for an average token", percent(mean));
    f.text = fmt::format(
        "The activation ({}) is never exactly zero, so that no neuron can be left out for free. Shown is how many of "
        "each "
        "layer's {} must be kept so that what the others add changes the MLP's output by at most 1 % or 10 % of its "
        "norm. "
        "Bands: 10th to 90th percentile over {} tokens.",
        info.activation, trace.layers[0].n_units, trace.n_sampled);
  }
  if (!mixture) {
    series.push_back(of_units(
        "needed for 99 % of the output", "needed for 99 %", rule == ActiveRule::kNonzero ? 1 : 0, trace,
        [&](const LayerTrace& l) { return l.needed_99.value_or(nothing); }, rule == ActiveRule::kNonzero));
    if (rule == ActiveRule::kNonzero) series.back().low.clear(), series.back().high.clear();
    series.push_back(of_units(
        "for 90 %", "needed for 90 %", 2, trace, [&](const LayerTrace& l) { return l.needed_90.value_or(nothing); },
        true));
    series.back().low.clear();
    series.back().high.clear();
  }
  double highest = 0;
  for (const Series& s : series)
    for (size_t i = 0; i < s.y.size(); ++i) highest = std::max(highest, s.high.empty() ? s.y[i] : s.high[i]);
  f.svg =
      line_chart(layer_axis(n),
                 linear_axis(fmt::format("% of the layer's {}", unit_name(trace)), std::min(highest, 100.0)), series);
  return f;
}

Figure union_figure(const Trace& trace) {
  Figure f{"union", "", "", ""};
  const char* units = unit_name(trace);
  const std::vector<size_t>& sizes = trace.union_sizes;
  const auto mean_at = [&](bool near, size_t i) {
    return mean_over_layers(trace, [&](const LayerTrace& l) { return near ? l.union_near[i] : l.union_far[i]; });
  };
  size_t eight = 0;
  while (eight + 1 < sizes.size() && sizes[eight] < 8) ++eight;
  f.title = fmt::format("{} tokens together need {} of the {}, {} tokens {}", sizes[eight],
                        percent(mean_at(false, eight)), units, sizes.back(), percent(mean_at(false, sizes.size() - 1)));
  f.text = fmt::format(
      "A batch must read every one of the {} that any of its tokens needs. Solid: tokens from different places of the "
      "text, as when "
      "several sequences are served at once. Dashed: consecutive tokens of one text, as when a draft is verified. Mean "
      "over "
      "the layers; thin: the layers with the smallest and the largest union. {} sampled tokens.",
      units, trace.n_sampled);
  std::vector<Series> series;
  for (const bool near : {false, true}) {
    Series s{near ? "consecutive tokens" : "tokens from different places",
             {},
             {},
             {},
             {},
             {},
             near ? size_t{1} : size_t{0},
             near};
    for (size_t i = 0; i < sizes.size(); ++i) {
      s.x.push_back(double(sizes[i]));
      s.y.push_back(100 * mean_at(near, i));
      s.hover.push_back(fmt::format("{} {}: {} of the {}", sizes[i],
                                    near ? "consecutive tokens" : "tokens from different places",
                                    percent(mean_at(near, i)), units));
    }
    series.push_back(std::move(s));
  }
  for (const bool largest : {false, true}) {
    const auto layer =
        std::ranges::minmax_element(trace.layers, {}, [](const LayerTrace& l) { return l.union_far[0]; });
    const LayerTrace& l = largest ? *layer.max : *layer.min;
    const size_t index = size_t(&l - trace.layers.data());
    Series s{fmt::format("layer {}", index), {}, {}, {}, {}, {}, largest ? size_t{3} : size_t{2}};
    s.points = false;
    s.thin = true;
    for (size_t i = 0; i < sizes.size(); ++i) {
      s.x.push_back(double(sizes[i]));
      s.y.push_back(100 * l.union_far[i]);
      s.hover.push_back(
          fmt::format("layer {}, {} tokens from different places: {}", index, sizes[i], percent(l.union_far[i])));
    }
    if (trace.layers.size() > 1) series.push_back(std::move(s));
  }
  std::vector<double> ticks(sizes.begin(), sizes.end());
  f.svg = line_chart(log_axis("tokens in the batch", 0.9, double(std::max<size_t>(sizes.back(), 2)) * 1.1, ticks),
                     linear_axis(fmt::format("% of the layer's {}", units), 100), series);
  return f;
}

Figure hot_figure(const Trace& trace) {
  Figure f{"hot", "", "", ""};
  const char* units = unit_name(trace);
  double hot = 0, total = 0, never = 0, n_all = 0;
  for (const LayerTrace& l : trace.layers) {
    std::vector<uint32_t> sorted = l.counts;
    std::ranges::sort(sorted, std::greater<>());
    const size_t tenth = (sorted.size() + 9) / 10;
    for (size_t i = 0; i < sorted.size(); ++i) {
      total += sorted[i];
      hot += i < tenth ? sorted[i] : 0;
      never += sorted[i] == 0;
    }
    n_all += double(sorted.size());
  }
  const size_t n_units = trace.layers[0].n_units;
  if (total > 0) {
    const std::string busiest = n_units >= 20 ? fmt::format("tenth of the {}", units)
                                              : fmt::format("{} of {} {}", (n_units + 9) / 10, n_units, units);
    f.title = fmt::format("The busiest {} does {} of the work; {}", busiest, percent(hot / total),
                          never > 0 ? percent(never / n_all) + " were never active" : "all were active at some time");
  } else {
    f.title = fmt::format("None of the {} was ever active", units);
  }
  f.text = fmt::format(
      "Each layer's {0} sorted by how often they are active. The steep left end are hot {0}, worth keeping in the "
      "cache and "
      "computing without asking; the long right tail is cold and worth predicting.",
      units);
  // All layers of a small model, six of a large one.
  const size_t n = trace.layers.size(), n_shown = std::min<size_t>(n, 6);
  std::vector<Series> series;
  for (size_t i = 0; i < n_shown; ++i) {
    const size_t layer = n_shown == 1 ? 0 : i * (n - 1) / (n_shown - 1);
    std::vector<uint32_t> sorted = trace.layers[layer].counts;
    std::ranges::sort(sorted, std::greater<>());
    Series s{fmt::format("layer {}", layer), {}, {}, {}, {}, {}, i};
    s.points = false;
    constexpr size_t kPoints = 60;
    const size_t n_sorted = sorted.size(), n_points = std::min(kPoints, n_sorted);
    for (size_t p = 0; p < n_points; ++p) {
      const size_t rank = n_points == 1 ? 0 : p * (n_sorted - 1) / (n_points - 1);
      const double often = double(sorted[rank]) / double(std::max<size_t>(1, trace.layers[layer].n_counted));
      s.x.push_back(100 * double(rank + 1) / double(n_sorted));
      s.y.push_back(100 * often);
      s.hover.push_back(fmt::format("layer {}: number {} of {} is active for {} of the tokens", layer, rank + 1,
                                    n_sorted, percent(often)));
    }
    series.push_back(std::move(s));
  }
  f.svg = line_chart(linear_axis(fmt::format("% of the layer's {}, the busiest first", units), 100),
                     linear_axis("active for % of the tokens", 100), series);
  return f;
}

}  // namespace

void add_mlp_figures(const Trace& trace, const ReportInfo& info, std::vector<Figure>& out) {
  out.push_back(active_figure(trace, info));
  out.push_back(union_figure(trace));
  out.push_back(hot_figure(trace));
}

}  // namespace hunch::cli
