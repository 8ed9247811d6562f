// Figures and page of distributions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "cli/console.h"
#include "cli/report/frame.h"
#include "cli/report/svg.h"
#include "cli/report/weights_report.h"

namespace hunch::cli {
namespace {

// Rows are layers, columns magnitudes: how the values of each are spread, the rare ones as visible as the usual ones.
template <class Of>
Figure spread_figure(const WeightsInfo& info, const char* id, const std::string& what, const Of& of) {
  constexpr size_t kPerColumn = 2;
  Figure f{id, "", "", ""};
  double largest = 0;
  size_t where = 0;
  for (size_t l = 0; l < info.layers.size(); ++l)
    if (const Magnitudes* m = of(info.layers[l]); m && m->rms > 0 && m->largest / m->rms > largest)
      largest = m->largest / m->rms, where = l;
  f.title = fmt::format("The largest of {} is {:.3g} times their root mean square, in layer {}", what, largest, where);
  f.text = fmt::format(
      "Magnitudes of {} in each layer, in units of the layer's root mean square: one column to the right is {:.2g} "
      "times as "
      "large. The darker, the more values; a shade less is a tenth as many. A long tail to the right is what a scale "
      "for "
      "all of them has to span.",
      what, std::exp2(kPerColumn / Magnitudes::kPerOctave));
  const auto share = [&](size_t layer, size_t column) {
    const Magnitudes* m = of(info.layers[layer]);
    if (!m || m->n == 0) return 0.0;
    double n = 0;
    for (size_t i = 0; i < kPerColumn; ++i) n += double(m->counts[column * kPerColumn + i]);
    return n / double(m->n);
  };
  HeatMap map;
  map.n_rows = info.layers.size(), map.n_cols = Magnitudes::kBins / kPerColumn;
  map.value = [&](size_t r, size_t c) {
    const double s = share(r, c);
    return s > 0 ? std::max(0.06, 1 + std::log10(s) / 7) : double(NAN);
  };
  map.hover = [&](size_t r, size_t c) {
    return fmt::format("layer {}: {:.3g} % are {:.3g} to {:.3g} times the root mean square", r, 100 * share(r, c),
                       Magnitudes::begin_of(c * kPerColumn), Magnitudes::begin_of((c + 1) * kPerColumn));
  };
  map.row_label = "layer",
  map.col_label = fmt::format("magnitude: column {} begins at the root mean square",
                              -int(Magnitudes::kLowest * Magnitudes::kPerOctave) / int(kPerColumn));
  map.scale_low = "one in ten million", map.scale_high = "all";
  f.svg = heat_map(map);
  f.values = values_of(map);
  return f;
}

Figure peaks_figure(const WeightsInfo& info) {
  Figure f{"peaks", "", "", ""};
  std::vector<Series> series;
  double highest = 20, lowest = 20;
  std::set<uint32_t> everywhere;
  size_t n_layers = 0;
  for (size_t i = 0; i < kNumInputs; ++i) {
    Series s{name_of(InputOf(i)), {}, {}, {}, {}, {}, i};
    bool any = false;
    for (size_t l = 0; l < info.layers.size(); ++l) {
      const InputDistribution& d = info.layers[l].inputs[i];
      const double peak = d.n_tokens ? d.peak() : NAN;
      const std::vector<uint32_t> outliers = d.n_tokens ? d.outliers() : std::vector<uint32_t>();
      s.x.push_back(double(l)), s.y.push_back(peak > 0 ? peak : double(NAN));
      s.hover.push_back(fmt::format("layer {}, {}: largest channel {:.3g} times the median; {} outlier channel{}{}", l,
                                    name_of(InputOf(i)), peak, outliers.size(), outliers.size() == 1 ? "" : "s",
                                    outliers.empty() ? "" : fmt::format(", as {}", outliers[0])));
      if (peak > 0) any = true, highest = std::max(highest, peak), lowest = std::min(lowest, peak);
      if (InputOf(i) == InputOf::kAttention && !outliers.empty()) {
        ++n_layers;
        for (const uint32_t channel : outliers) everywhere.insert(channel);
      }
    }
    if (any) series.push_back(std::move(s));
  }
  f.title = n_layers == 0 ? "Attention reads no outlier channels"
                          : fmt::format("Attention reads outlier channels in {} of {} layers, {} different ones in all",
                                        n_layers, info.layers.size(), everywhere.size());
  f.text =
      "The largest magnitude of any channel over the median channel's, of what each kind of matrix reads on the text. "
      "From "
      "20 times on (dashed) a channel counts as an outlier here: one scale for a token then leaves few codes for the "
      "others "
      "(Dettmers et al. 2022, LLM.int8()).";
  series.push_back({"",
                    {0, std::max(1.0, double(info.layers.size()) - 1)},
                    {20, 20},
                    {},
                    {},
                    {"20 times the median", "20 times the median"},
                    5,
                    true,
                    false});
  std::vector<double> ticks;
  for (double tick = 1; tick < highest * 2;
       tick *= tick < 1.5 || std::abs(std::log10(tick) - std::round(std::log10(tick))) < 0.01 ? 2 : 5)
    ticks.push_back(tick);
  f.svg = line_chart(layer_axis(info.layers.size()),
                     log_axis("largest / median channel", std::min(1.0, lowest), ticks.back(), ticks), series);
  return f;
}

template <class Of>
Figure error_figure(const WeightsInfo& info, const char* id, const char* what, const char* text, const Of& of) {
  Figure f{id, "", text, ""};
  std::set<Role> roles;
  for (const LayerDistributions& layer : info.layers)
    for (const auto& [role, error] : layer.errors) roles.insert(role);
  std::vector<Series> series;
  double most = 0, worst_layer = 0;
  std::string worst;
  size_t color = 0;
  for (const Role role : roles) {
    Series s{name_of(role), {}, {}, {}, {}, {}, color % 6, color >= 6};
    bool any = false;
    for (size_t l = 0; l < info.layers.size(); ++l) {
      const auto found = info.layers[l].errors.find(role);
      const std::optional<double> error = found == info.layers[l].errors.end() ? std::nullopt : of(found->second);
      s.x.push_back(double(l)), s.y.push_back(error ? 100 * *error : double(NAN));
      s.hover.push_back(error ? fmt::format("layer {}, {}: {:.3g} %", l, name_of(role), 100 * *error) : "");
      if (!error) continue;
      any = true;
      if (100 * *error >= most) most = 100 * *error, worst = name_of(role), worst_layer = double(l);
    }
    if (!any) continue;
    series.push_back(std::move(s));
    ++color;
  }
  f.title = series.empty()
                ? fmt::format("No {} to compare", what)
                : fmt::format("{} differ by {:.3g} % at most, {} of layer {}", what, most, worst, worst_layer);
  if (!series.empty())
    f.svg = line_chart(layer_axis(info.layers.size()), linear_axis("relative error, %", most), series);
  return f;
}

// All matrices of a layer together.
Magnitudes all_weights(const LayerDistributions& layer) {
  Magnitudes all;
  double squares = 0;
  for (const auto& [role, m] : layer.weights) {
    all.n += m.n, squares += m.rms * m.rms * double(m.n);
    all.largest = std::max(all.largest, m.largest);
  }
  all.rms = all.n ? std::sqrt(squares / double(all.n)) : 0;
  // Each matrix is counted in units of its own: its bins move by the ratio.
  for (const auto& [role, m] : layer.weights)
    for (size_t b = 0; b < Magnitudes::kBins && m.rms > 0; ++b) {
      const double shift = std::log2(m.rms / all.rms) * Magnitudes::kPerOctave;
      all.counts[size_t(std::clamp(std::lround(double(b) + shift), 0L, long(Magnitudes::kBins - 1)))] += m.counts[b];
    }
  return all;
}

}  // namespace

std::vector<Figure> weights_figures(const WeightsInfo& info) {
  std::vector<Magnitudes> all;
  for (const LayerDistributions& layer : info.layers) all.push_back(all_weights(layer));
  std::vector<Figure> figures;
  figures.push_back(spread_figure(
      info, "weights", "the weights",
      [&](const LayerDistributions& l) -> const Magnitudes* { return &all[size_t(&l - info.layers.data())]; }));
  for (const auto& [id, input] :
       {std::pair{"attention", InputOf::kAttention}, {"mlp", InputOf::kMlp}, {"neurons", InputOf::kNeurons}}) {
    const auto of = [input = input](const LayerDistributions& l) -> const Magnitudes* {
      const InputDistribution& d = l.inputs[size_t(input)];
      return d.n_tokens ? &d.values : nullptr;
    };
    if (std::ranges::any_of(info.layers, of))
      figures.push_back(spread_figure(info, id, fmt::format("the values of {}", name_of(input)), of));
  }
  figures.push_back(peaks_figure(info));
  if (!info.compares()) return figures;
  figures.push_back(error_figure(info, "weight-error", "Weights",
                                 "||W - W'|| / ||W|| of each matrix and the original's, of experts the worst.",
                                 [](const MatrixError& e) { return std::optional(e.weights); }));
  figures.push_back(
      error_figure(info, "output-error", "Outputs",
                   "||(W - W') X|| / ||W X|| for what the original's matrices read on the text: what methods that are "
                   "fitted to a text make small, though their weights are further off.",
                   [](const MatrixError& e) { return e.outputs; }));
  return figures;
}

std::string weights_page(const WeightsInfo& info, const std::vector<Figure>& figures) {
  double kurtosis = 0, peak = 0;
  size_t n_outliers = 0;
  for (const LayerDistributions& layer : info.layers) {
    for (const auto& [role, m] : layer.weights) kurtosis = std::max(kurtosis, m.kurtosis);
    for (const InputDistribution& d : layer.inputs)
      if (d.n_tokens) peak = std::max(peak, d.peak()), n_outliers += d.outliers().size();
  }
  std::string body =
      fmt::format("<p class=\"soft\">{} layers; {} tokens of {}{}. Layers and channels are counted from 0.</p>\n",
                  info.layers.size(), grouped(info.n_tokens), escape_xml(info.text_name),
                  info.compares() ? fmt::format(", as {} reads them", escape_xml(info.original)) : "");
  body +=
      "<p>Rounding divides the range of a group of numbers into a few steps: a single large one makes the steps wide "
      "for all "
      "others. These figures show where such numbers are, in the weights and in what they are multiplied by.</p>\n";
  body += tiles_html({{fmt::format("{:.3g}", kurtosis), "largest kurtosis of a matrix (3: a normal distribution)"},
                      {fmt::format("{:.3g}", peak), "largest channel over the median one"},
                      {grouped(n_outliers), "outlier channels, over all layers and inputs"}});
  for (const Figure& f : figures) body += figure_html(f);
  std::vector<std::vector<std::string>> rows = {
      {"layer", "input", "rms", "largest", "kurtosis", "peak", "outlier channels"}};
  for (size_t l = 0; l < info.layers.size(); ++l)
    for (size_t i = 0; i < kNumInputs; ++i) {
      const InputDistribution& d = info.layers[l].inputs[i];
      if (d.n_tokens == 0) continue;
      rows.push_back({std::to_string(l), name_of(InputOf(i)), fmt::format("{:.3g}", d.values.rms),
                      fmt::format("{:.3g}", d.values.largest), fmt::format("{:.3g}", d.values.kurtosis),
                      fmt::format("{:.3g}", d.peak()), std::to_string(d.outliers().size())});
    }
  body += table_html("What the layers read", rows);
  body += fmt::format("<section class=\"soft\"><p>Made by <code>{}</code> ({}).</p></section>\n",
                      escape_xml(info.command), escape_xml(info.machine));
  return page_frame(info.model + " - distributions", fmt::format("What {} is made of", info.model), body);
}

}  // namespace hunch::cli
