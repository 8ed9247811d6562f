#include "model/step_stats.h"

namespace hunch {
namespace {

void sum(std::vector<uint64_t>& a, const std::vector<uint64_t>& b, int sign) {
  if (a.size() < b.size()) a.resize(b.size());
  for (size_t i = 0; i < b.size(); ++i) a[i] += uint64_t(sign) * b[i];
}

void combine(StepStats& a, const StepStats& b, int sign) {
  a.n_tokens += uint64_t(sign) * b.n_tokens;
  a.weight_bytes += uint64_t(sign) * b.weight_bytes;
  a.kv_bytes += uint64_t(sign) * b.kv_bytes;
  a.predictor_bytes += uint64_t(sign) * b.predictor_bytes;
  a.rows.combine(b.rows, sign);
  a.pages.combine(b.pages, sign);
  sum(a.active_neurons, b.active_neurons, sign);
  sum(a.all_neurons, b.all_neurons, sign);
  sum(a.active_heads, b.active_heads, sign);
  sum(a.all_heads, b.all_heads, sign);
}

}  // namespace

StepStats& StepStats::operator+=(const StepStats& other) {
  combine(*this, other, 1);
  return *this;
}

StepStats StepStats::operator-(const StepStats& before) const {
  StepStats difference = *this;
  combine(difference, before, -1);
  return difference;
}

}  // namespace hunch
