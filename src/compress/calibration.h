// What every calibration does, whatever it chooses among: what a loss of one place is worth in the end, the setting
// that a budget allows, and what the sidecar says of the model and of the result.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "compress/sparsify.h"
#include "compress/text_parts.h"

namespace hunch {

// A plan that restricts one place of the model alone, and what is lost there.
struct LossyPlan {
  Plan plan;
  double loss = 0;
};

// Of each of n plans, which are made and measured a few at a time: KL to dense per loss, at least a trace of it.
// `half_strides`: as compare_plans().
std::vector<double> sensitivities(const Engine& engine, std::span<const int32_t> ids, size_t n,
                                  const std::function<LossyPlan(size_t)>& plan_at, bool half_strides,
                                  const Progress& progress);

// The number nearest `far` that is found within in so many halvings from `near`, which is within.
double bisect(double near, double far, int n_steps, const std::function<bool(double)>& is_within);

// Whether plans keep options.max_ppl_increase on the part of the text for calibration, with the standard error: a
// budget is to hold on other text too. Tells the progress of n_steps such questions.
class BudgetTest {
 public:
  BudgetTest(const Engine& engine, const TextParts& text, const SparsifyOptions& options, bool half_strides,
             const Progress& progress, int n_steps)
      : engine_(engine),
        text_(text),
        options_(options),
        half_strides_(half_strides),
        progress_(progress),
        n_steps_(n_steps) {}
  bool operator()(const Plan& plan);

 private:
  const Engine& engine_;
  const TextParts& text_;
  const SparsifyOptions& options_;
  bool half_strides_;
  const Progress& progress_;
  int n_steps_, n_done_ = 0;
};

// Where a density is asked for that is clearly below what was found: the budget is not met, and a note says so.
void check_density(const SparsifyOptions& options, SparsifyReport& report, double found, std::string_view who);

// Of the engine's model. Throws Error{kInterrupted} when the engine's call is to stop.
SidecarBase sidecar_base(const Engine& engine, const Progress& progress);

// Fills in of report.sidecar which model it is of, the quality in report.rows, the first dense and the last sparse, the
// screen, and layers that say nothing yet. Throws Error{kInterrupted} when the engine's call is to stop.
void begin_sidecar(const Engine& engine, const TextParts& text, const SparsifyOptions& options, SparsifyReport& report,
                   const Progress& progress);

}  // namespace hunch
