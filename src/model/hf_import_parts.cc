// What many architectures' configurations share.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/error.h"
#include "io/printable.h"
#include "model/hf_import.h"

namespace hunch {

namespace {

// Of sliding_window_pattern, which is there and a number or letters.
std::vector<bool> windows_by_pattern(const HfImport& hf, size_t n_layer) {
  const auto& pattern = hf.config()["sliding_window_pattern"];
  std::vector<bool> windowed(n_layer);
  if (pattern.is_string()) {
    const std::string letters = pattern;
    for (size_t layer = 0; layer < n_layer; ++layer)
      windowed[layer] = !letters.empty() && letters[layer % letters.size()] == 'L';
    return windowed;
  }
  const uint64_t n = hf.config_uint({"sliding_window_pattern"});
  for (size_t layer = 0; layer < n_layer; ++layer) windowed[layer] = n == 0 || layer % n < n - 1;
  return windowed;
}

}  // namespace

std::vector<std::string> import_layer_kinds(HfImport& hf, size_t n_layer, const char* other) {
  std::vector<std::string> kinds(n_layer, other);
  hf.ignore_config("full_attn_idxs");  // layer_types goes first
  if (hf.has_config("layer_types")) {
    const auto& list = hf.config()["layer_types"];
    if (!list.is_array() || list.size() != n_layer)
      fail(ErrorKind::kFormat, "config.json: layer_types has {} entries, expected one for each of {} layers",
           list.size(), n_layer);
    for (size_t layer = 0; layer < n_layer; ++layer)
      kinds[layer] = list[layer].is_string() ? std::string(list[layer]) : "";
  } else if (hf.has_config("full_attn_idxs")) {
    for (const auto& index : hf.config()["full_attn_idxs"])
      if (index.is_number_unsigned() && index.get<size_t>() < n_layer) kinds[index.get<size_t>()] = "full_attention";
  } else {
    const size_t n = hf.config_uint({"full_attention_interval"});
    for (size_t layer = 0; layer < n_layer; ++layer)
      if (n > 0 && layer % n == n - 1) kinds[layer] = "full_attention";
  }
  for (const std::string& kind : kinds)
    if (kind != other && kind != "full_attention")
      fail(ErrorKind::kUnsupported, "config.json: a layer of type '{}'; known: full_attention, {}", printable(kind, 60),
           other);
  return kinds;
}

void import_layer_list(HfImport& hf, std::string_view name, size_t n_layer, std::string_view key) {
  if (!hf.has_config(name)) return;
  const auto& list = hf.config()[std::string(name)];
  if (!list.is_array() || list.size() != n_layer)
    fail(ErrorKind::kFormat, "config.json: {} has {} entries, expected one for each of {} layers", name, list.size(),
         n_layer);
  std::vector<bool> ones;
  for (const auto& value : list) {
    if (!value.is_number_integer() && !value.is_boolean())
      fail(ErrorKind::kFormat, "config.json: {} holds {}, expected 0 or 1", name, printable(value.dump(), 60));
    ones.push_back(value.is_boolean() ? value.get<bool>() : value.get<int64_t>() != 0);
  }
  hf.set_bools(key, std::move(ones));
}

void import_windows(HfImport& hf, size_t n_layer, bool unless_said) {
  const uint64_t window = hf.config_uint({"sliding_window"}, 0);
  std::vector<bool> windowed;
  hf.ignore_config("sliding_window_pattern");  // layer_types goes first
  if (hf.has_config("layer_types")) {
    const auto& kinds = hf.config()["layer_types"];
    if (!kinds.is_array() || kinds.size() != n_layer)
      fail(ErrorKind::kFormat, "config.json: layer_types has {} entries, expected one for each of {} layers",
           kinds.size(), n_layer);
    for (const auto& kind : kinds) {
      // The last is of architectures that import it.
      if (kind != "full_attention" && kind != "sliding_attention" && kind != "linear_attention")
        fail(ErrorKind::kUnsupported,
             "config.json: a layer of type {}; known: full_attention, sliding_attention, linear_attention",
             printable(kind.dump(), 60));
      windowed.push_back(kind == "sliding_attention");
    }
  } else if (window > 0 && hf.has_config("sliding_window_pattern")) {
    windowed = windows_by_pattern(hf, n_layer);
  } else if (window > 0 && hf.config_bool({"use_sliding_window"}, unless_said)) {
    windowed.assign(n_layer, true);
    if (hf.has_config("use_sliding_window"))
      std::fill_n(windowed.begin(), std::min<size_t>(n_layer, hf.config_uint({"max_window_layers"}, 0)), false);
  }
  if (std::ranges::find(windowed, true) == windowed.end()) return;
  if (window == 0) fail(ErrorKind::kFormat, "config.json: layers of sliding_attention, but no sliding_window");
  hf.set_uint("attention.sliding_window", window);
  if (std::ranges::find(windowed, false) != windowed.end())
    hf.set_bools("attention.sliding_window_pattern", std::move(windowed));
}

void import_output(HfImport& hf, std::string_view hf_name, bool usually_tied) {
  if (!hf.config_bool({"tie_word_embeddings"}, usually_tied)) return hf.move(hf_name, "output");
  hf.ignore(fmt::format("{}.weight", hf_name));
  if (const std::string bias = fmt::format("{}.bias", hf_name); hf.has(bias)) hf.put("output.bias", hf.take(bias));
}

void import_rope_scaling(HfImport& hf, size_t n_rot, size_t n_ctx) {
  if (!hf.has_config("rope_scaling")) return;
  const std::string kind = hf.config_string({"rope_scaling.rope_type", "rope_scaling.type"}, "");
  hf.ignore_config("rope_scaling.type");  // some say it twice
  if (kind == "default") return;
  const size_t n_original =
      hf.config_uint({"rope_scaling.original_max_position_embeddings", "original_max_position_embeddings"}, n_ctx);
  if (kind == "linear" || kind == "dynamic") {
    hf.set_string("rope.scaling.type", kind);
    hf.set_float("rope.scaling.factor", hf.config_float({"rope_scaling.factor"}));
  } else if (kind == "yarn") {
    const double factor = hf.config_float({"rope_scaling.factor"});
    hf.set_string("rope.scaling.type", kind);
    hf.set_float("rope.scaling.factor", factor);
    hf.set_uint("rope.scaling.original_context_length", n_original);
    // GGUF's attn_factor is relative to YaRN's own 0.1 ln s + 1.
    const auto own = [&](double multiplier) { return factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1; };
    const double mscale = hf.config_float({"rope_scaling.mscale"}, 0),
                 all = hf.config_float({"rope_scaling.mscale_all_dim"}, 0);
    if (hf.has_config("rope_scaling.attention_factor")) {
      hf.set_float("rope.scaling.attn_factor", hf.config_float({"rope_scaling.attention_factor"}) / own(1));
    } else if (mscale != 0 && mscale == all) {
      hf.set_float("rope.scaling.yarn_log_multiplier", all);
    } else if (mscale != 0 && all != 0) {
      hf.set_float("rope.scaling.attn_factor", own(mscale) / own(all) / own(1));
    }
    if (hf.has_config("rope_scaling.truncate"))
      hf.set_bool("rope.scaling.yarn_truncate", hf.config_bool({"rope_scaling.truncate"}, true));
    if (hf.has_config("rope_scaling.beta_fast"))
      hf.set_float("rope.scaling.yarn_beta_fast", hf.config_float({"rope_scaling.beta_fast"}));
    if (hf.has_config("rope_scaling.beta_slow"))
      hf.set_float("rope.scaling.yarn_beta_slow", hf.config_float({"rope_scaling.beta_slow"}));
  } else if (kind == "llama3") {
    // Llama-3.1: wavelengths beyond the original context are interpolated, short ones kept, smooth between.
    const double base = hf.config_float({"rope_theta"}, 10000.0), factor = hf.config_float({"rope_scaling.factor"});
    const double low = hf.config_float({"rope_scaling.low_freq_factor"}, 1.0),
                 high = hf.config_float({"rope_scaling.high_freq_factor"}, 4.0);
    std::vector<float> factors;
    for (size_t i = 0; i < n_rot / 2; ++i) {
      const double turns =
          double(n_original) * std::pow(base, -2.0 * double(i) / double(n_rot)) / (2 * std::numbers::pi);
      const double smooth = std::clamp((turns - low) / (high - low), 0.0, 1.0);
      factors.push_back(float(1 / ((1 - smooth) / factor + smooth)));
    }
    hf.put("rope_freqs.weight", hf.from_floats(factors, {factors.size()}));
  } else if (kind == "longrope" || kind == "su") {
    const auto floats = [&](const char* name) {
      if (!hf.has_config(fmt::format("rope_scaling.{}", name)))
        fail(ErrorKind::kNotFound, "config.json has no 'rope_scaling.{}'", name);
      const auto& list = hf.config()["rope_scaling"][name];
      std::vector<float> values;
      for (const auto& v : list) values.push_back(v.is_number() ? v.get<float>() : NAN);
      if (values.size() != n_rot / 2)
        fail(ErrorKind::kFormat, "config.json: rope_scaling.{} has {} numbers, expected {}", name, values.size(),
             n_rot / 2);
      return values;
    };
    hf.put("rope_factors_long.weight", hf.from_floats(floats("long_factor"), {n_rot / 2}));
    hf.put("rope_factors_short.weight", hf.from_floats(floats("short_factor"), {n_rot / 2}));
    hf.ignore_config("original_max_position_embeddings");  // some say it twice
    const double stretch = double(n_ctx) / double(n_original);
    hf.set_uint("rope.scaling.original_context_length", n_original);
    const double own = stretch <= 1 ? 1.0 : std::sqrt(1 + std::log(stretch) / std::log(double(n_original)));
    hf.set_float("rope.scaling.attn_factor", hf.config_float({"rope_scaling.short_mscale"}, own));
    if (hf.has_config("rope_scaling.long_mscale"))
      hf.set_float("rope.scaling.long_attn_factor", hf.config_float({"rope_scaling.long_mscale"}));
  } else {
    fail(ErrorKind::kUnsupported, "config.json: rope_scaling type '{}'; known: linear, dynamic, yarn, llama3, longrope",
         kind);
  }
}

void import_activation(HfImport& hf, std::string_view hf_name, std::string_view usual) {
  if (hf_name == "fatrelu") {
    hf.set_float("activation_threshold", hf.config_float({"hidden_act_param"}));
    hf_name = "relu";
  }
  if (hf_name != usual) hf.set_string("activation", hf_name);
}

}  // namespace hunch
