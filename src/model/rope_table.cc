#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hunch {
namespace {

// base^(-2i / n_rot), the frequencies of plain RoPE.
std::vector<double> plain(double base, size_t n_rot) {
  std::vector<double> f(n_rot / 2);
  for (size_t i = 0; i < f.size(); ++i) f[i] = std::pow(base, -2.0 * double(i) / double(n_rot));
  return f;
}

// YaRN (Peng et al. 2023, section 3.2): dimensions that turn often keep their frequency, those that
// turn less than beta_slow times in the original context are interpolated, a ramp lies between.
std::vector<double> yarn(const RopeConfig& c) {
  std::vector<double> f = plain(c.base, c.n_rot);
  const double d = double(c.n_rot);
  const auto dimension_of = [&](double n_turns) {
    return d * std::log(double(c.n_ctx_original) / (n_turns * 2 * std::numbers::pi)) / (2 * std::log(c.base));
  };
  double low = dimension_of(c.beta_fast), high = dimension_of(c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.size(); ++i) {
    const double ramp = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    f[i] = f[i] / c.factor * ramp + f[i] * (1 - ramp);
  }
  return f;
}

std::vector<double> divided(std::vector<double> f, const std::vector<float>& factors) {
  for (size_t i = 0; i < factors.size() && i < f.size(); ++i) f[i] /= double(factors[i]);
  return f;
}

}  // namespace

RopeTable::RopeTable(const RopeConfig& config, size_t n_ctx_train)
    : config_(config), n_ctx_train_(n_ctx_train), n_pairs_(config.n_rot / 2) {
  switch (config_.scaling) {
    case RopeScaling::kNone:
    case RopeScaling::kDynamicNtk: fixed_ = plain(config_.base, config_.n_rot); break;
    case RopeScaling::kLinear:
      fixed_ = plain(config_.base, config_.n_rot);
      for (double& f : fixed_) f /= config_.factor;
      break;
    case RopeScaling::kYarn: fixed_ = yarn(config_); break;
    case RopeScaling::kLongRope:
      fixed_ = divided(plain(config_.base, config_.n_rot), config_.short_factors);
      long_ = divided(plain(config_.base, config_.n_rot), config_.long_factors);
      break;
  }
  fixed_ = divided(std::move(fixed_), config_.freq_factors);
}

RopeTable::Frequencies RopeTable::frequencies(size_t n_ctx, std::vector<double>& own) const {
  if (config_.scaling == RopeScaling::kLongRope && n_ctx > config_.n_ctx_original)
    return {long_, config_.long_attn_factor != 0 ? config_.long_attn_factor : config_.attn_factor};
  const size_t limit = n_ctx_before_stretching();
  if (config_.scaling != RopeScaling::kDynamicNtk || n_ctx <= limit) return {fixed_, config_.attn_factor};
  const double stretch = config_.factor * double(n_ctx) / double(limit) - (config_.factor - 1);
  const double d = double(config_.n_rot);
  own = plain(config_.base * std::pow(stretch, d / (d - 2)), config_.n_rot);
  return {own, config_.attn_factor};
}

bool RopeTable::depends_on_length(size_t n_ctx) const {
  if (config_.scaling == RopeScaling::kLongRope) return n_ctx > config_.n_ctx_original;
  return config_.scaling == RopeScaling::kDynamicNtk && n_ctx > n_ctx_before_stretching();
}

void RopeTable::turn(size_t by, std::span<const double> frequencies, std::span<float> cos, std::span<float> sin) const {
  for (size_t i = 0; i < n_pairs_; ++i) {
    const double angle = double(by) * frequencies[i];
    cos[i] = float(std::cos(angle));
    sin[i] = float(std::sin(angle));
  }
}

void RopeTable::at(size_t position, const Frequencies& frequencies, std::span<float> cos, std::span<float> sin) const {
  for (size_t i = 0; i < n_pairs_; ++i) {
    const double angle = double(position) * frequencies.of[i];
    cos[i] = float(std::cos(angle) * frequencies.factor);
    sin[i] = float(std::sin(angle) * frequencies.factor);
  }
}

}  // namespace hunch
