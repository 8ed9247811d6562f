// One text, several ways to compute.
#include "hunch/compare.h"

#include <cmath>
#include <list>

#include "api/impl.h"
#include "api/options.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "measure/compare.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

ContextOptions context_of_mode(ModelImpl& impl, const Mode& mode) {
  ComputeChoice choice;
  choice.plan = mode.plan;
  choice.kv_policy = choice.experts = "";
  choice.adapters = mode.adapters;
  ContextOptions own = impl.context_options(choice);
  own.n_ctx = 0;  // as long as the text wants it
  own.mode = mode.plan.name;
  if (own.mode == "dense") own.plan = nullptr;  // its zeros are computed with, and count
  if (!mode.kv.empty()) own.kv_type = cache_type(mode.kv);
  if (!mode.kv_policy.empty()) own.keys = key_policy_from(mode.kv_policy);
  if (!mode.experts.empty()) own.experts = expert_policy_from(mode.experts);
  for (const double density : {mode.oracle_density, mode.oracle_head_density})
    if (!(density > 0 && density <= 1))
      fail(ErrorKind::kUsage, "an oracle's density of {}, expected more than 0 and at most 1", density);
  own.oracle_density = mode.oracle_density;
  own.oracle_head_density = mode.oracle_head_density;
  if (own.has_oracle()) {
    if (mode.plan.name == "sparse")
      fail(ErrorKind::kUsage, "an oracle beside the plan \"sparse\", expected \"dense\" or \"exact\"");
    own.plan = nullptr;
  }
  return own;
}

CompareMode compare_mode(ModelImpl& asked, const Mode& mode) {
  ModelImpl& impl = mode.model ? *impl_of(*mode.model) : asked;
  CompareMode own;
  own.name = mode.name.empty() ? mode.lossless ? "lossless" : mode.plan.name : mode.name;
  own.context = context_of_mode(impl, mode);
  own.lossless = mode.lossless;
  if (mode.lossless) {
    DraftOptions drafts;
    drafts.lossless = true;
    own.drafting = drafting_options(drafts, impl.engine);
  }
  own.engine = mode.model ? &impl.engine : nullptr;
  return own;
}

ModeReport report_of(const CompareRow& row) {
  ModeReport out;
  out.name = row.name;
  out.perplexity = row.perplexity;
  out.perplexity_error = row.perplexity * row.nll_stderr;
  const double ratio = std::exp(row.nll_delta);
  out.change = ratio - 1;
  out.change_error = ratio * row.nll_delta_stderr;
  out.kl = row.kl;
  out.top1 = row.top1;
  out.density = row.density_mlp;
  out.head_density = row.density_heads;
  out.density_per_layer = row.density_per_layer;
  out.bytes_per_token = row.bytes_per_token;
  out.kv_bytes_per_token = row.kv_bytes_per_token;
  if (row.speed_is_real) out.tokens_per_s = row.tokens_per_s;
  out.tokens_per_pass = row.tokens_per_pass;
  out.acceptance = row.acceptance;
  return out;
}

}  // namespace

std::vector<ModeReport> compare(LanguageModel& model, std::string_view text, std::span<const Mode> modes,
                                const ComparisonOptions& options) {
  ModelImpl& impl = *impl_of(model);
  if (options.n_repeats == 0) fail(ErrorKind::kUsage, "speed measured 0 times, expected at least once");
  std::list<StopScope> scopes;  // of all the threads that work
  scopes.emplace_back(*impl.engine.compute, stop_of(options.cancel));
  std::vector<CompareMode> own;
  for (const Mode& mode : modes) {
    if (mode.model) scopes.emplace_front(*impl_of(*mode.model)->engine.compute, stop_of(options.cancel));
    own.push_back(compare_mode(impl, mode));
  }
  CompareOptions measured;
  measured.windows.n_ctx = options.n_ctx;
  measured.windows.stride = options.stride;
  measured.windows.max_tokens = options.max_tokens;
  measured.n_decode = options.n_decode;
  measured.n_repeats = options.n_repeats;
  std::vector<ModeReport> out;
  for (const CompareRow& row : compare_modes(impl.engine, own, model.tokenize(text), measured, options.on_progress))
    out.push_back(report_of(row));
  return out;
}

}  // namespace hunch
