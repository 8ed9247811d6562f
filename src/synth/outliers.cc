#include "synth/outliers.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "synth/noise.h"

namespace hunch {
namespace {

constexpr double kLeastFactor = 20, kMostFactor = 100;

bool ends_with_any(const std::string& name, std::initializer_list<const char*> ends) {
  return std::ranges::any_of(ends, [&](const char* end) { return name.ends_with(end); });
}

}  // namespace

std::vector<OutlierChannel> outlier_channels(const SynthOptions& options) {
  SynthNoise noise(options.seed, "outliers", 0);
  std::vector<OutlierChannel> channels;
  while (channels.size() < options.n_outliers) {
    const size_t channel = noise.below(options.shape.n_embd);
    if (std::ranges::any_of(channels, [&](const OutlierChannel& c) { return c.channel == channel; })) continue;
    // Evenly in the logarithm, from the largest down.
    const double part = double(channels.size()) / double(std::max<size_t>(1, options.n_outliers - 1));
    channels.push_back({channel, kMostFactor * std::pow(kLeastFactor / kMostFactor, part)});
  }
  return channels;
}

void plant_outliers(const SynthOptions& options, std::vector<SynthTensor>& tensors) {
  if (options.n_outliers == 0) return;
  if (options.shape.is_hybrid())
    fail(ErrorKind::kUsage, "outliers are planted in models of attention and dense MLPs; {} has others",
         options.shape.name);
  if (8 * options.n_outliers > options.shape.n_embd)
    fail(ErrorKind::kUsage, "{} outliers of {} channels; possible: an eighth, {}", options.n_outliers,
         options.shape.n_embd, options.shape.n_embd / 8);
  const std::vector<OutlierChannel> channels = outlier_channels(options);
  for (SynthTensor& t : tensors) {
    if (!t.name.starts_with("blk.")) continue;
    const bool is_norm =
        ends_with_any(t.name, {".attn_norm.weight", ".attn_norm.bias", ".ffn_norm.weight", ".ffn_norm.bias"});
    const bool reads_norm = ends_with_any(
        t.name, {".attn_q.weight", ".attn_k.weight", ".attn_v.weight", ".ffn_gate.weight", ".ffn_up.weight"});
    if (!is_norm && !reads_norm) continue;
    t.fill = [fill = std::move(t.fill), channels, is_norm](size_t row, std::span<float> out) {
      fill(row, out);
      for (const auto& [channel, factor] : channels) out[channel] *= float(is_norm ? factor : 1 / factor);
    };
  }
}

}  // namespace hunch
