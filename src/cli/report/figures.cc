#include "cli/report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

std::vector<double> layer_numbers(size_t n) {
  std::vector<double> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = double(i);
  return x;
}

}  // namespace

std::string percent(double share) {
  const double p = 100 * share;
  if (p >= 9.95) return fmt::format("{:.0f} %", p);
  return fmt::format("{:.1f} %", p);
}

const char* unit_name(const Trace& trace) {
  for (const LayerTrace& layer : trace.layers)
    if (layer.rule == ActiveRule::kRouted) return "experts";
  return "neurons";
}

Figure oracle_figure(const Trace& trace) {
  Figure f{"oracle", "", "", ""};
  if (!trace.oracle_note.empty()) {
    f.title = "No oracle for this model";
    f.text = trace.oracle_note;
    return f;
  }
  const auto cost = [&](const std::vector<OraclePoint>& curve, size_t i) {
    return curve[i].perplexity / trace.dense_perplexity - 1;
  };
  const auto in_words = [](double cost) {
    if (std::abs(cost) < 0.0005) return std::string("costs nothing measurable");
    return fmt::format("{} perplexity by {}", cost > 0 ? "raises" : "lowers", percent(std::abs(cost)));
  };
  const auto at = [&](const std::vector<OraclePoint>& curve, double density) {
    size_t best = 1;
    for (size_t i = 1; i < curve.size(); ++i)
      if (std::abs(std::min(curve[i].neurons, curve[i].heads) - density) < 1e-9) best = i;
    return best;
  };
  f.title = fmt::format("Keeping the best 20 % of each token's neurons {}; keeping half of the heads {}",
                        in_words(cost(trace.oracle_neurons, at(trace.oracle_neurons, 0.2))),
                        in_words(cost(trace.oracle_heads, at(trace.oracle_heads, 0.5))));
  f.text = fmt::format(
      "The two-pass oracle: every token is computed once in full to see which neurons and heads have the largest "
      "outputs, "
      "then again with only those. It saves nothing itself, but no predictor that keeps as many can be expected to do "
      "better. Every layer keeps the same share. Perplexity (lower is better) of {} tokens; the dashed line is the "
      "whole "
      "model, {:.2f}.",
      trace.oracle_tokens, trace.dense_perplexity);
  std::vector<Series> series;
  double highest = trace.dense_perplexity, lowest = highest;
  const auto add = [&](const char* name, const std::vector<OraclePoint>& curve, size_t color, auto density) {
    Series s{name, {}, {}, {}, {}, {}, color};
    for (const OraclePoint& p : curve) {
      s.x.push_back(100 * density(p));
      s.y.push_back(p.perplexity);
      s.hover.push_back(fmt::format("{}: {} kept: perplexity {:.2f}, same top token {}, KL {:.3f}", name,
                                    percent(density(p)), p.perplexity, percent(p.top1), p.kl));
      if (std::isfinite(p.perplexity))
        highest = std::max(highest, p.perplexity), lowest = std::min(lowest, p.perplexity);
    }
    series.push_back(std::move(s));
  };
  add("neurons", trace.oracle_neurons, 0, [](const OraclePoint& p) { return p.neurons; });
  add("heads", trace.oracle_heads, 1, [](const OraclePoint& p) { return p.heads; });
  add("both", trace.oracle_both, 2, [](const OraclePoint& p) { return p.neurons; });
  Series dense{"", {4, 110}, {trace.dense_perplexity, trace.dense_perplexity},
               {}, {},       {"the whole model", "the whole model"},
               5,  true,     false};
  series.push_back(dense);
  const double heads_alone = trace.oracle_heads.back().perplexity;
  const bool helped = trace.oracle_both.back().perplexity < heads_alone && heads_alone > trace.dense_perplexity;
  if (helped)
    f.text +=
        " That both together can do better than the heads alone is no mistake: the neurons were chosen in the full "
        "pass, and "
        "keep a stream that lost heads from waking the wrong ones. An oracle knows more than a predictor.";
  // Beyond three times the dense perplexity the model is broken; how much does not matter.
  const double limit = std::min(highest, 3 * trace.dense_perplexity);
  if (limit < highest)
    f.text += " What lies higher than the plot is drawn at its upper edge; its number is in the list beneath.";
  const double low = std::max(0.0, lowest - 0.1 * (limit - lowest));
  f.svg = line_chart(log_axis("kept by every token, % of each layer", 4.5, 110, {5, 10, 20, 30, 50, 100}),
                     linear_axis("perplexity", limit, low), series);
  return f;
}

void add_stream_figures(const Trace& trace, std::vector<Figure>& out) {
  const size_t n = trace.layers.size();
  Figure cosine{"cosine", "", "", ""};
  const size_t first = n > 2 ? 1 : 0;
  double mean = 0;
  for (size_t l = first; l < n; ++l) mean += trace.cosine_at(l, l + 1) / double(n - first);
  cosine.title = fmt::format("{} the stream turns {} from layer to layer: cosine {:.2f} on average",
                             first ? "After the first layer" : "In this model",
                             mean >= 0.95  ? "hardly"
                             : mean >= 0.8 ? "little"
                                           : "noticeably",
                             mean);
  cosine.text =
      "Similarity of the residual stream that enters layer l and the one that enters layer l + n, for the same token. "
      "Where it "
      "is near 1, what a layer needs can be foreseen from the stream some layers earlier, in time to fetch it: the "
      "\"slowly changing embeddings\" of Deja Vu. The last stream is the one that leaves the model.";
  std::vector<Series> series;
  size_t color = 0;
  for (const size_t apart : {1, 2, 4, 8}) {
    if (apart > n) continue;
    Series s{fmt::format("{} layer{} apart", apart, apart == 1 ? "" : "s"), {}, {}, {}, {}, {}, color++};
    for (size_t l = 0; l + apart <= n; ++l) {
      s.x.push_back(double(l));
      s.y.push_back(trace.cosine_at(l, l + apart));
      s.hover.push_back(fmt::format("streams entering layers {} and {}: cosine {:.3f}", l, l + apart, s.y.back()));
    }
    series.push_back(std::move(s));
  }
  double lowest = 1;
  for (const Series& s : series) lowest = std::min(lowest, *std::ranges::min_element(s.y));
  cosine.svg =
      line_chart(layer_axis(n, "layer l"), linear_axis("cosine similarity", 1, lowest < 0 ? -1.0 : 0.0), series);
  out.push_back(std::move(cosine));

  Figure norms{"norms", "", "", ""};
  double attention = 0, mlp = 0;
  for (size_t l = first; l < n; ++l) {
    attention += trace.layers[l].attention.ratio / double(n - first);
    mlp += trace.layers[l].mlp.ratio / double(n - first);
  }
  norms.title = fmt::format("{}attention adds {} and the MLP {} of the stream's length",
                            first ? "After the first layer " : "", percent(attention), percent(mlp));
  norms.title[0] = char(std::toupper(norms.title[0]));
  norms.text =
      "||F(X)|| / ||X|| where a branch's output F(X) is added to the stream X, median over the tokens. It is the "
      "reason why "
      "the stream turns slowly; layers where it is large (often the first) are those that are hard to foresee.";
  const auto ratios = [&](const char* name, size_t at_color, auto addition) {
    Series s{name, layer_numbers(n), {}, {}, {}, {}, at_color};
    for (size_t l = 0; l < n; ++l) {
      const LayerTrace::Addition& a = addition(trace.layers[l]);
      s.y.push_back(a.ratio);
      s.hover.push_back(fmt::format("layer {}, {}: ||X|| {:.3g}, ||F(X)|| {:.3g}, ratio {:.2f}", l, name, a.stream,
                                    a.branch, a.ratio));
    }
    return s;
  };
  series = {ratios("attention", 0, [](const LayerTrace& l) -> const LayerTrace::Addition& { return l.attention; }),
            ratios("MLP", 1, [](const LayerTrace& l) -> const LayerTrace::Addition& { return l.mlp; })};
  double lowest_ratio = 1, highest = 1;  // from a silent branch on, the plot ends
  for (const Series& s : series)
    for (const double v : s.y)
      lowest_ratio = std::min(lowest_ratio, std::max(v, 0.001)), highest = std::max(highest, v);
  std::vector<double> ticks;
  for (const double tick : {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0})
    if (tick > lowest_ratio / 3.4 && tick < highest * 3.4) ticks.push_back(tick);
  norms.svg = line_chart(layer_axis(n), log_axis("||F(X)|| / ||X||", ticks.front(), ticks.back(), ticks), series);
  out.push_back(std::move(norms));
}

std::vector<Figure> make_figures(const Trace& trace, const ReportInfo& info) {
  std::vector<Figure> figures;
  add_mlp_figures(trace, info, figures);
  figures.insert(figures.begin() + 1, oracle_figure(trace));
  add_stream_figures(trace, figures);
  add_attention_figures(trace, info, figures);
  return figures;
}

}  // namespace hunch::cli
