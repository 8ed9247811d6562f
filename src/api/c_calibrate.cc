// The C API: calibration.
#include "api/c_common.h"

using namespace hunch::c;

namespace {

hunch_calibration_options calibration_defaults() {
  const hunch::CalibrationOptions d;
  hunch_calibration_options o{};
  o.method = "auto";
  o.max_ppl_increase = d.max_ppl_increase;
  o.density = d.density;
  o.max_tokens = d.max_tokens;
  o.heads = d.heads;
  o.screen = d.screen;
  o.predictor = "auto";
  o.rank = d.rank;
  o.n_epochs = d.n_epochs;
  o.look_ahead = o.head_look_ahead = "none";
  o.head_keys = "auto";
  return o;
}

hunch::CalibrationOptions calibration_options(const hunch_calibration_options* options) {
  const hunch_calibration_options c = take_sized(options, calibration_defaults());
  hunch::CalibrationOptions o;
  if (c.method) o.method = c.method;
  o.max_ppl_increase = c.max_ppl_increase;
  o.density = c.density;
  o.max_tokens = c.max_tokens;
  o.heads = c.heads != 0;
  o.screen = c.screen != 0;
  o.sidecar = text_or_empty(c.sidecar);
  if (c.on_progress)
    o.on_progress = [c](std::string_view what, uint64_t done, uint64_t total) {
      c.on_progress(std::string(what).c_str(), done, total, c.user);
    };
  o.cancel = cancel_of(c.cancel);
  if (c.predictor) o.predictor = c.predictor;
  o.rank = c.rank;
  o.n_epochs = c.n_epochs;
  if (c.look_ahead) o.look_ahead = c.look_ahead;
  if (c.head_look_ahead) o.head_look_ahead = c.head_look_ahead;
  if (c.head_keys) o.head_keys = c.head_keys;
  return o;
}

}  // namespace

extern "C" {

void hunch_calibration_options_init_sized(hunch_calibration_options* options, size_t size) {
  give_sized(calibration_defaults(), options, size);
}

int hunch_calibrate_sized(hunch_model* model, const char* text, const hunch_calibration_options* options,
                          hunch_calibration* made, size_t made_size) {
  return guarded(-1, [&] {
    require(model && text, "hunch_calibrate: a pointer is NULL");
    const hunch::Calibration& c = model->calibrated =
        hunch::calibrate(model->model, text, calibration_options(options));
    model->sidecar = c.sidecar.string();
    model->notes.clear();
    for (const std::string& note : c.notes) model->notes += (model->notes.empty() ? "" : "\n") + note;
    hunch_calibration out{};
    out.met = c.met;
    out.perplexity_dense = c.perplexity_dense;
    out.perplexity_sparse = c.perplexity_sparse;
    out.kl = c.kl;
    out.top1 = c.top1;
    out.speed_up = c.speed_up;
    out.method = c.method.c_str();
    out.sidecar = model->sidecar.c_str();
    out.notes = model->notes.c_str();
    give_sized(out, made, made_size);
    return 0;
  });
}

}  // extern "C"
