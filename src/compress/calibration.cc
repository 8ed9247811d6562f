#include "compress/calibration.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compress/plan_compare.h"
#include "model/fingerprint.h"

namespace hunch {

std::vector<double> sensitivities(const Engine& engine, std::span<const int32_t> ids, size_t n,
                                  const std::function<LossyPlan(size_t)>& plan_at, bool half_strides,
                                  const Progress& progress) {
  constexpr size_t kAtOnce = 8;
  std::vector<double> found;
  while (found.size() < n) {
    engine.compute->throw_if_stopped();
    std::vector<Plan> plans;
    std::vector<double> losses;
    for (size_t i = found.size(); i < std::min(found.size() + kAtOnce, n); ++i) {
      LossyPlan lossy = plan_at(i);
      plans.push_back(std::move(lossy.plan));
      losses.push_back(lossy.loss);
    }
    const std::vector<CompareRow> rows = compare_plans(engine, plans, ids, 0, false, half_strides);  // the first: dense
    for (size_t i = 0; i < plans.size(); ++i)
      found.push_back(std::max(rows[i + 1].kl, 1e-9) / std::max(losses[i], 1e-6));
    if (progress) progress("sensitivity", found.size(), n);
  }
  return found;
}

double bisect(double near, double far, int n_steps, const std::function<bool(double)>& is_within) {
  for (int step = 0; step < n_steps; ++step) {
    const double middle = (near + far) / 2;
    (is_within(middle) ? near : far) = middle;
  }
  return near;
}

bool BudgetTest::operator()(const Plan& plan) {
  engine_.compute->throw_if_stopped();
  const CompareRow row = compare_plans(engine_, {&plan, 1}, text_.calibrate, 0, false, half_strides_).back();
  if (progress_) progress_("calibrate", uint64_t(++n_done_), uint64_t(n_steps_));
  return row.nll_delta + row.nll_delta_stderr <= std::log1p(options_.max_ppl_increase);
}

void check_density(const SparsifyOptions& options, SparsifyReport& report, double found, std::string_view who) {
  if (options.density == 0 || found <= options.density * 1.02) return;
  report.met = false;
  report.notes.push_back(fmt::format("a density of {:.2g} cannot be met: the sparsest with {} here is {:.2g}",
                                     options.density, who, found));
}

// A second or two in a small model, and 2 kB of the file.
constexpr size_t kPriceTokens = 512;

SidecarBase sidecar_base(const Engine& engine, const Progress& progress) {
  const ModelConfig& c = engine.config();
  const ModelFile& file = engine.model->file();
  return {.sha256 = tensor_sha256(file, progress, engine.compute->stop),
          .fingerprint = tensor_fingerprint(file),
          .arch = c.arch,
          .name = c.name,
          .n_layer = c.n_layer,
          .n_embd = c.n_embd,
          .n_ff = c.n_ff,
          .vectors = vector_fingerprint(file)};
}

void begin_sidecar(const Engine& engine, const TextParts& text, const SparsifyOptions& options, SparsifyReport& report,
                   const Progress& progress) {
  Sidecar& s = report.sidecar;
  s.base = sidecar_base(engine, progress);
  const CompareRow &dense = report.rows.front(), &sparse = report.rows.back();
  s.quality = {options.density > 0 ? 0.0 : options.max_ppl_increase,
               dense.perplexity,
               sparse.perplexity,
               sparse.kl,
               sparse.top1,
               text.check.size(),
               {text.check.begin(), text.check.begin() + ptrdiff_t(std::min(text.check.size(), kPriceTokens))}};
  s.screen = report.screen.screen;
  s.layers.resize(engine.config().n_layer);
}

}  // namespace hunch
