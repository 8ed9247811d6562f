// `hunch sparsify`, for programs.
#include "hunch/calibrate.h"

#include <algorithm>

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/precision_scope.h"
#include "compress/fit_store.h"
#include "compress/sparsify_names.h"

namespace hunch {
namespace {

constexpr size_t kMostBytesPerToken = 16;  // on average

Calibration summary(const SparsifyReport& report) {
  Calibration out;
  out.method = report.method;
  out.met = report.met;
  const CompareRow &dense = report.rows.front(), &sparse = report.rows.back();
  out.perplexity_dense = dense.perplexity;
  out.perplexity_sparse = sparse.perplexity;
  out.kl = sparse.kl;
  out.top1 = sparse.top1;
  if (dense.tokens_per_s > 0) out.speed_up = sparse.tokens_per_s / dense.tokens_per_s;
  out.notes = report.notes;
  return out;
}

}  // namespace

Calibration calibrate(LanguageModel& model, std::string_view text, const CalibrationOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  const PrecisionScope exact(*impl.engine.compute, Precision::kF32);
  const std::filesystem::path path = options.sidecar.empty() ? impl.engine.sidecar_path : options.sidecar;
  SparsifyOptions own;
  own.max_tokens = options.max_tokens;
  own.method = options.method;
  own.max_ppl_increase = options.max_ppl_increase;
  own.density = options.density;
  own.predictor = options.predictor;
  own.rank = options.rank;
  own.n_epochs = options.n_epochs;
  own.input = look_ahead_from(options.look_ahead);
  own.head_input = head_look_ahead_from(options.head_look_ahead);
  own.heads = options.heads ? head_mode_from(options.head_keys) : HeadMode::kOff;
  own.screen = options.screen;
  own.finished = path.string() + ".partial";
  // Enough for the tokens that will be used: the rest of a long text would be tokenised for nothing.
  const std::string_view used = text.substr(0, std::min<size_t>(own.max_tokens, text.size()) * kMostBytesPerToken);
  const SparsifyReport report = sparsify(impl.engine, model.tokenize(used), own, options.on_progress);
  write_sidecar(path, report.sidecar);
  FitStore::clear(own.finished);
  impl.use_sidecar(path);
  Calibration out = summary(report);
  out.sidecar = path;
  return out;
}

}  // namespace hunch
