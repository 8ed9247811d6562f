#include "serve/step_budget.h"

#include <algorithm>
#include <bit>

namespace hunch::serve {
namespace {

constexpr double kNew = 0.2;  // share of the newest step in what is known
// Fewer tokens of a prompt are bound by the weights, and seem to be for nothing, unless a step with them takes so many
// times one without.
constexpr size_t kWorthLearning = 16;
constexpr double kFelt = 1.5;

// The mean of what came, the newer the heavier; one step that something else delayed counts no more than twice.
void learn(double& known, double seconds) {
  known = known == 0 ? seconds : (1 - kNew) * known + kNew * std::min(seconds, 2 * known);
}

size_t class_of(size_t n, size_t n_classes) { return std::min<size_t>(size_t(std::bit_width(n)) - 1, n_classes - 1); }

}  // namespace

double StepBudget::decoding_seconds(size_t n) const {
  const size_t own = class_of(n, decoding_.size());
  for (size_t distance = 0; distance < decoding_.size(); ++distance) {
    if (distance <= own && decoding_[own - distance] > 0) return decoding_[own - distance];
    if (own + distance < decoding_.size() && decoding_[own + distance] > 0) return decoding_[own + distance];
  }
  return 0;
}

size_t StepBudget::prompt_tokens(size_t n_decoding) const {
  if (n_decoding == 0) return step_tokens_;
  const double decoding = decoding_seconds(n_decoding);
  if (decoding == 0) return 0;  // one step without, to compare with
  const size_t most = std::max(step_tokens_ - std::min(step_tokens_, n_decoding), std::min(kLeast, step_tokens_));
  if (prompt_token_ == 0) return std::min(kAtFirst, most);
  const double n = (kMost - 1) * decoding / prompt_token_;
  return std::clamp(size_t(std::min(n, 1e6)), std::min(kLeast, most), most);
}

void StepBudget::note(size_t n_decoding, size_t n_prompt, double seconds) {
  if (seconds <= 0) return;
  if (n_prompt == 0 && n_decoding > 0) return learn(decoding_[class_of(n_decoding, decoding_.size())], seconds);
  const double decoding = n_decoding > 0 ? decoding_seconds(n_decoding) : 0;
  if (n_prompt < kWorthLearning && (decoding == 0 || seconds < kFelt * decoding)) return;
  if (n_decoding == 0) return learn(prompt_token_, seconds / double(n_prompt));
  // Where the weights are what takes time, a few tokens more take next to none.
  if (decoding > 0) learn(prompt_token_, std::max(seconds - decoding, 0.01 * decoding) / double(n_prompt));
}

}  // namespace hunch::serve
