#include "compress/sparsify_method.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compress/budget_check.h"
#include "compress/calibration.h"
#include "compress/plan_compare.h"
#include "compress/text_parts.h"

namespace hunch {
namespace {

using Points = std::vector<size_t>;  // [n_layer] of each layer's curve

class MethodSparsifier {
 public:
  MethodSparsifier(const Engine& engine, std::span<const int32_t> ids, const Method& method,
                   const SparsifyOptions& options, const Progress& progress)
      : engine_(engine), c_(engine.config()), method_(method), options_(options), progress_(progress) {
    check();
    text_ = parts_of(ids, options);
    report_.method = method.name();
    report_.n_calibrate = text_.calibrate.size(), report_.n_check = text_.check.size();
  }

  SparsifyReport run() {
    fit();
    measure_sensitivity();
    if (options_.screen) report_.screen = fit_screen(engine_, text_.fit, text_.calibrate, text_.check, progress_);
    calibrate();
    check_result();
    describe();
    return std::move(report_);
  }

 private:
  void check() {
    require_blocks(c_, method_.name() == "teal", method_.name());
    check_budget_options(options_);
  }

  void fit() {
    BlockSample sample;
    sample.n_tokens = method_.n_sample_tokens();
    BlockProbe probe(engine_, text_.fit, sample);
    report_.n_train = std::min(sample.n_tokens, text_.fit.size());
    for (size_t l = 0; l < c_.n_layer; ++l) {
      engine_.compute->throw_if_stopped();
      probe.next();
      fits_.push_back(method_.fit(probe, c_.layers[l]));
      if (progress_) progress_(fmt::format("errors of {}", method_.name()), l + 1, c_.n_layer);
    }
  }

  Plan plan_of(const Points& points) const {
    Plan plan = Plan::exact(c_);
    plan.name = "sparse";
    plan.set_screen(report_.screen.screen);
    for (size_t l = 0; l < c_.n_layer; ++l)
      if (points[l] > 0) fits_[l].family->set(plan, l, fits_[l].curve[points[l]], points[l]);
    return plan;
  }

  bool has_half_strides() const { return method_.chooses_by_prompt(); }

  // What an error of a layer's block is worth in the end: KL to dense when that layer alone is restricted.
  void measure_sensitivity() {
    const auto ids = text_.calibrate.first(
        std::min<size_t>(text_.calibrate.size(), std::clamp<size_t>(6144 / c_.n_layer, 192, 2048)));
    sensitivity_ = sensitivities(
        engine_, ids, c_.n_layer,
        [&](size_t l) -> LossyPlan {
          Points points(c_.n_layer, 0);
          const DensityCurve& curve = fits_[l].curve;
          for (size_t p = 1; p < curve.size(); ++p)  // near a twentieth
            if (points[l] == 0 || std::abs(curve[p].loss - 0.05f) < std::abs(curve[points[l]].loss - 0.05f))
              points[l] = p;
          return {plan_of(points), curve[points[l]].loss};
        },
        has_half_strides(), progress_);
    for (size_t l = 0; l < c_.n_layer; ++l) {
      weighted_.push_back(fits_[l].curve);
      for (CurvePoint& point : weighted_.back()) point.loss *= float(sensitivity_[l]);
    }
  }

  double density_of(const Points& points) const {
    double sum = 0;
    for (size_t l = 0; l < points.size(); ++l) sum += fits_[l].curve[points[l]].density;
    return sum / double(points.size());
  }

  void calibrate() {
    if (options_.density > 0) {
      points_ = choose_points(weighted_, options_.density);
      check_density(options_, report_, density_of(points_), method_.name());
      return;
    }
    constexpr int kSteps = 8;
    BudgetTest within(engine_, text_, options_, has_half_strides(), progress_, kSteps);
    density_ = bisect(1, 0, kSteps, [&](double d) { return within(plan_of(choose_points(weighted_, d))); });
    points_ = choose_points(weighted_, density_);
  }

  void check_result() {
    check_budget(
        options_, report_,
        [&] {
          const Plan plan = plan_of(points_);
          return compare_plans(engine_, {&plan, 1}, text_.check, 64, is_relu_family(c_.activation), has_half_strides());
        },
        [&] {
          density_ += (1 - density_) / 4;
          points_ = choose_points(weighted_, density_);
        });
    if (std::ranges::all_of(points_, [](size_t p) { return p == 0; }))
      report_.notes.push_back(
          fmt::format("{} saves nothing within this budget: every layer stays dense", method_.name()));
  }

  // Bytes that a decoded token reads of the MLP or of its experts, and of what else the method sees, at a point.
  double bytes(size_t l, size_t point) const {
    const Layer& layer = engine_.model->weights().layers[l];
    const double density = fits_[l].curve[point].density;
    double sum = method_.other_bytes(layer, density);
    for (const Mlp* mlp : {&layer.mlp, &layer.experts.shared})
      if (mlp->n_ff) sum += method_.mlp_bytes(*mlp, density);
    if (c_.layers[l].has_experts())
      sum += double(c_.layers[l].moe.n_expert_used) * method_.mlp_bytes(layer.experts.experts[0], density);
    return sum;
  }

  void describe() {
    begin_sidecar(engine_, text_, options_, report_, progress_);
    Sidecar& s = report_.sidecar;
    for (size_t l = 0; l < c_.n_layer; ++l) {
      const CurvePoint& point = fits_[l].curve[points_[l]];
      SidecarLayer& layer = s.layers[l];
      layer.family = fits_[l].family;
      layer.curve = weighted_[l];
      layer.point = points_[l];
      SparsifyLayer row{points_[l] ? std::string(method_.name()) : "none"};
      row.density = point.density, row.missed = point.loss;
      row.exact_bytes = bytes(l, 0), row.bytes = bytes(l, points_[l]);
      report_.layers.push_back(std::move(row));
    }
  }

  const Engine& engine_;
  const ModelConfig& c_;
  const Method& method_;
  const SparsifyOptions& options_;
  const Progress& progress_;
  TextParts text_;
  std::vector<MethodFit> fits_;         // [n_layer]
  std::vector<double> sensitivity_;     // [n_layer] KL per error
  std::vector<DensityCurve> weighted_;  // fits_' curves with losses in KL
  double density_ = 1;
  Points points_;
  SparsifyReport report_;
};

}  // namespace

SparsifyReport sparsify_method(const Engine& engine, std::span<const int32_t> ids, const Method& method,
                               const SparsifyOptions& options, const Progress& progress) {
  return MethodSparsifier(engine, ids, method, options, progress).run();
}

}  // namespace hunch
