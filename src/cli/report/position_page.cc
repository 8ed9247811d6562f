#include "cli/report/position_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.h"
#include "cli/report/frame.h"
#include "cli/report/svg.h"

namespace hunch::cli {
namespace {

std::string perplexity_text(const PositionBucket& b) {
  if (b.n == 0) return "-";
  const double p = b.perplexity();
  return p < 1e5 ? fmt::format("{:.2f}", p) : fmt::format("{:.2g}", p);
}

// The largest and smallest perplexity of any bucket.
std::pair<double, double> range_of(const PositionReport& report) {
  double least = INFINITY, most = 0;
  for (const PositionCurve& curve : report.curves)
    for (const PositionBucket& b : curve.buckets)
      if (b.n) least = std::min(least, b.perplexity()), most = std::max(most, b.perplexity());
  return {least, most};
}

// 1, 2 and 5 times powers of ten, from below `least` to above `most`.
ChartAxis perplexity_axis(double least, double most) {
  std::vector<double> ticks;
  const bool wide = most / least > 300;
  for (double power = std::pow(10.0, std::floor(std::log10(least))); ticks.empty() || ticks.back() < most; power *= 10)
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (wide && factor > 1) continue;
      const double tick = power * factor;
      if (!ticks.empty() && ticks.back() >= most) break;
      if (tick <= least) ticks.clear();  // the nearest below
      ticks.push_back(tick);
    }
  return log_axis("perplexity", ticks.front(), ticks.back(), ticks);
}

}  // namespace

Figure position_figure(const PositionReport& report) {
  Figure f{"positions", "", "", ""};
  // How the worst and best of the last bucket stand to the first curve's trained stretch.
  const auto last = [](const PositionCurve& curve) {
    for (size_t b = curve.buckets.size(); b > 0; --b)
      if (curve.buckets[b - 1].n) return curve.buckets[b - 1].perplexity();
    return double(NAN);
  };
  const auto best = std::ranges::min_element(report.curves, {}, last);
  f.title = report.curves.size() == 1
                ? fmt::format("Perplexity {:.4g} at the end", last(*best))
                : fmt::format("At the end {} is best, with a perplexity of {:.4g}", best->name, last(*best));
  f.text = fmt::format(
      "Perplexity of the tokens that so many others of their window stand before; {} window{} of {} tokens, all curves "
      "on the same tokens. Dashed: the length of {} that the model was trained with. Bands are one standard error.",
      report.n_windows, report.n_windows == 1 ? "" : "s", grouped(report.n_ctx), grouped(report.n_ctx_train));
  const auto [least, most] = range_of(report);
  const ChartAxis y = perplexity_axis(least, most);
  std::vector<Series> series;
  for (size_t c = 0; c < report.curves.size(); ++c) {
    const PositionCurve& curve = report.curves[c];
    Series s{curve.name, {}, {}, {}, {}, {}, c % 6, c >= 6};
    for (const PositionBucket& b : curve.buckets) {
      if (b.n == 0) continue;
      const double p = b.perplexity(), factor = std::exp(b.nll_stderr);
      s.x.push_back(double(b.begin + b.end) / 2), s.y.push_back(p);
      s.low.push_back(p / factor), s.high.push_back(p * factor);
      s.hover.push_back(fmt::format("{}, {} to {} tokens before: {}", curve.name, b.begin, b.end, perplexity_text(b)));
    }
    series.push_back(std::move(s));
  }
  const double trained = double(report.n_ctx_train);
  if (report.n_ctx > report.n_ctx_train)
    series.push_back({"", {trained, trained}, {y.low, y.high}, {}, {}, {"trained", "trained"}, 5, true, false});
  f.svg = line_chart(linear_axis("tokens before", double(report.n_ctx)), y, series);
  return f;
}

std::vector<std::vector<std::string>> position_rows(const PositionReport& report) {
  std::vector<std::vector<std::string>> rows = {{"tokens before"}};
  for (const PositionCurve& curve : report.curves) rows[0].push_back(curve.name);
  for (size_t b = 0; b < report.curves[0].buckets.size(); ++b) {
    const PositionBucket& bucket = report.curves[0].buckets[b];
    rows.push_back({fmt::format("{}..{}", bucket.begin, bucket.end)});
    for (const PositionCurve& curve : report.curves) rows.back().push_back(perplexity_text(curve.buckets[b]));
  }
  return rows;
}

std::string position_page(const PositionReport& report) {
  std::string body = fmt::format("<p class=\"soft\">Text: {}. Trained with {} tokens, read with up to {}.</p>\n",
                                 escape_xml(report.text), grouped(report.n_ctx_train), grouped(report.n_ctx));
  body += figure_html(position_figure(report));
  body += table_html("The numbers", position_rows(report));
  body +=
      fmt::format("<section class=\"soft\"><p>Made by <code>{}</code>.</p></section>\n", escape_xml(report.command));
  return page_frame(report.model + " - perplexity by position",
                    fmt::format("How {} reads beyond its length", report.model), body);
}

}  // namespace hunch::cli
