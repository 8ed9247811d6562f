// Gemma 3n: several streams (AltUp) and a narrow second branch (LAuReL), per-layer embeddings, gates of which only
// those count that stand out (exact zeros), and last layers that read the keys of earlier ones.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "model/arch/gemma_parts.h"

namespace hunch {
namespace {

ModelConfig gemma3n_config(const ModelFile& file) {
  ModelConfig c = gemma_config_with_value_norms(file);
  default_windows(file, c, 5);
  if (!c.windows.empty() && !file.meta.has("gemma3n.rope.freq_base_swa")) rotate_windowed_layers(c, 10000.0);
  c.n_streams = file.meta.get_uint("gemma3n.altup.num_inputs");
  c.active_stream = file.meta.get_uint("gemma3n.altup.active_idx", 0);
  if (c.n_per_layer == 0)
    fail(ErrorKind::kFormat,
         "'gemma3n.embedding_length_per_layer_input' is 0 or missing; the model has such embeddings");
  return c;
}

// Below how many deviations so great a share of what is normally distributed lies.
double quantile(double share) {
  double low = -40, high = 40;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < share ? low : high) = middle;
  }
  return low;
}

// A list with one number for each layer, or a number for all.
std::vector<double> by_layer(const HfImport& hf, const char* name, size_t n_layer) {
  const auto& value = hf.config()[name];
  if (value.is_number()) return std::vector<double>(n_layer, value.get<double>());
  if (!value.is_array() || value.size() != n_layer ||
      !std::ranges::all_of(value, [](auto& v) { return v.is_number(); }))
    fail(ErrorKind::kFormat, "config.json: {} is {}, expected a number, or one for each of {} layers", name,
         printable(value.dump(), 80), n_layer);
  return value.get<std::vector<double>>();
}

void import_cutoffs(HfImport& hf, size_t n_layer) {
  if (!hf.has_config("activation_sparsity_pattern")) return;
  std::vector<float> deviations;
  for (const double share : by_layer(hf, "activation_sparsity_pattern", n_layer)) {
    if (!(share >= 0 && share < 1))
      fail(ErrorKind::kFormat, "config.json: activation_sparsity_pattern holds {}, expected 0 to less than 1", share);
    deviations.push_back(share > 0 ? float(quantile(share)) : -INFINITY);
  }
  hf.set_floats("activation_sparsity_scale", deviations);
}

void import_widths(HfImport& hf, size_t n_layer) {
  if (!hf.has_config("intermediate_size")) fail(ErrorKind::kNotFound, "config.json has no 'intermediate_size'");
  std::vector<uint64_t> widths;
  for (const double width : by_layer(hf, "intermediate_size", n_layer)) {
    if (!(width >= 1 && width < 1e9)) fail(ErrorKind::kFormat, "config.json: intermediate_size holds {}", width);
    widths.push_back(uint64_t(width));
  }
  hf.set_uints("feed_forward_length", widths);
}

// The published code keeps the corrections' coefficients within altup_coef_clip.
Tensor within(HfImport& hf, const Tensor& t, double limit) {
  std::vector<float> values(t.n_elems());
  if (!info(t.dtype).computes()) return t;  // which will be refused
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  for (float& v : values) v = std::clamp(v, float(-limit), float(limit));
  return hf.from_floats(values, t.shape);
}

void import_streams(HfImport& hf, size_t n_streams) {
  const std::pair<const char*, const char*> ends[] = {{"altup_projections", "altup_proj"},
                                                      {"altup_unembed_projections", "altup_unembd_proj"}};
  for (const auto& [from, to] : ends) {
    std::vector<Tensor> parts;
    for (size_t i = 0; i + 1 < n_streams; ++i) parts.push_back(hf.take(fmt::format("{}.{}.weight", from, i)));
    hf.put(std::string(to) + ".weight", hf.stacked(parts));
  }
}

void import_streams_of_layer(HfImport& hf, const std::string& from, const std::string& to) {
  hf.move(from + "altup.modality_router", to + "altup_router");
  hf.move(from + "altup.router_norm", to + "altup_router_norm");
  hf.move(from + "altup.prediction_coefs", to + "altup_predict_coef");
  const Tensor correction = hf.take(from + "altup.correction_coefs.weight");
  hf.put(to + "altup_correct_coef.weight",
         hf.has_config("altup_coef_clip") ? within(hf, correction, hf.config_float({"altup_coef_clip"})) : correction);
  if (const std::string scale = from + "altup.correct_output_scale"; hf.config_bool({"altup_correct_scale"}, true)) {
    hf.put(to + "altup_correct_scale.weight", hf.take(scale));
  } else {
    hf.ignore(scale);
  }
  hf.move(from + "laurel.linear_left", to + "laurel_l");
  hf.move(from + "laurel.linear_right", to + "laurel_r");
  hf.move(from + "laurel.post_laurel_norm", to + "laurel_post_norm");
}

void import_gemma3n(HfImport& hf) {
  const LlamaLikeSizes sizes = import_gemma_counts(hf);
  const size_t n_streams = hf.config_uint({"altup_num_inputs"}, 4);
  if (n_streams < 2)
    fail(ErrorKind::kUnsupported, "config.json: altup_num_inputs is {}, expected 2 or more", n_streams);
  hf.set_uint("altup.num_inputs", n_streams);
  hf.set_uint("altup.active_idx", hf.config_uint({"altup_active_idx"}, 0));
  for (const char* key : {"altup_lr_multiplier", "laurel_rank"}) hf.ignore_config(key);  // of training; the tensor's
  import_cutoffs(hf, sizes.n_layer);
  import_widths(hf, sizes.n_layer);
  hf.set_uint("attention.head_count_kv", sizes.n_kv_head);
  hf.set_uint("attention.key_length", sizes.d_head);
  hf.set_uint("attention.value_length", sizes.d_head);
  hf.set_float("rope.freq_base", hf.config_float({"rope_theta"}, 1e6));
  hf.set_float("rope.freq_base_swa", hf.config_float({"rope_local_base_freq"}, 1e4));
  import_rope_scaling(hf, sizes.d_head, sizes.n_ctx);
  import_gemma_ends(hf);
  import_streams(hf, n_streams);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_gemma_layer(hf, layer, sizes);
    import_streams_of_layer(hf, fmt::format("layers.{}.", layer), fmt::format("blk.{}.", layer));
  }
}

}  // namespace

const Architecture kArchGemma3n = {"gemma3n", "gemma3n,gemma3n_text", true, gemma3n_config, import_gemma3n};

}  // namespace hunch
