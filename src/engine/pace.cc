#include "engine/pace.h"

#include <algorithm>

namespace hunch {
namespace {

// Before anything is known: what a token more adds to a pass, as a share of a pass over one.
constexpr double kAssumedShare = 0.1;
constexpr size_t kShortestRest = 8, kLongestRest = 256;
// Turns before their measured speed is believed over the estimate.
constexpr size_t kTurnsToBelieve = 6;
// Turns of which the fastest step counts: the first ones wait for pages and caches.
constexpr size_t kWarmTurns = 3;

}  // namespace

void PassCosts::observe(size_t n_tokens, double seconds) {
  if (n_tokens == 0 || n_tokens >= mean_.size()) return;
  double& mean = mean_[n_tokens];
  // A pass that something else on the machine held up says little about the next.
  if (mean > 0) seconds = std::min(seconds, 3 * mean);
  mean = mean > 0 ? mean + 0.2 * (seconds - mean) : seconds;
}

double PassCosts::seconds(size_t n) const {
  n = std::min(n, mean_.size() - 1);
  if (mean_[n] > 0) return mean_[n];
  size_t below = n, above = n;
  while (below > 0 && mean_[below] <= 0) --below;
  while (above < mean_.size() && mean_[above] <= 0) ++above;
  if (below == 0 && above == mean_.size()) return 0;
  const auto assumed = [&](size_t from) {
    return mean_[from] * (1 + kAssumedShare * double(n - 1)) / (1 + kAssumedShare * double(from - 1));
  };
  if (below == 0) return assumed(above);
  if (above == mean_.size()) return assumed(below);
  return mean_[below] + (mean_[above] - mean_[below]) * double(n - below) / double(above - below);
}

double Pace::acceptance(uint8_t evidence) const {
  const Rate& all = rates_[kUnknown];
  const double mean = all.accepted / all.judged;
  if (evidence == kUnknown) return mean;
  const Rate& own = rates_[evidence];
  const double believed = (kBelief * prior_[evidence] + (all.judged - kBelief) * mean) / all.judged;
  return (own.accepted + kBelief * believed) / (own.judged + kBelief);
}

void Pace::judge(uint8_t evidence, bool accepted) {
  for (Rate* rate : {&rates_[evidence], &rates_[kUnknown]}) {
    rate->accepted = 0.98 * rate->accepted + double(accepted);
    rate->judged = 0.98 * rate->judged + 1;
  }
}

void Pace::turn(size_t n_steps, double draft_seconds, double seconds, size_t n_tokens) {
  n_resting_ = 0;
  if (n_steps) {
    const double each = draft_seconds / double(n_steps);
    if (++n_draft_turns_ <= kWarmTurns) {
      step_seconds_ = step_seconds_ > 0 ? std::min(step_seconds_, each) : each;
    } else {
      step_seconds_ += 0.2 * (std::min(each, 3 * step_seconds_) - step_seconds_);
    }
    if (n_draft_turns_ == 1) return;  // the first touches what nothing has touched: it says nothing of the next
  }
  ++n_turns_;
  turn_seconds_ = 0.9 * turn_seconds_ + seconds;
  turn_tokens_ = 0.9 * turn_tokens_ + double(n_tokens);
  const bool paid = turn_seconds_ < costs_.seconds(1) * turn_tokens_;
  rest_ = paid ? kShortestRest : std::min(2 * rest_, kLongestRest);
}

double Pace::seconds_per_token() const {
  const double plain = costs_.seconds(1);
  return n_turns_ < kTurnsToBelieve ? plain : std::min(plain, turn_seconds_ / turn_tokens_);
}

size_t Pace::best(double a, size_t n_max) const {
  size_t best = 0;
  double best_rate = 1 / costs_.seconds(1), yield = 1, reach = 1;
  for (size_t n = 1; n <= n_max; ++n) {
    reach *= a;
    yield += reach;
    const double rate = yield / (double(n) * step_seconds_ + costs_.seconds(n + 1));
    if (rate > best_rate) best_rate = rate, best = n;
  }
  return best;
}

size_t Pace::n_estimated(uint8_t evidence, size_t n_max) const {
  if (!costs_.knows_single()) return 0;
  // The estimate knows nothing of steps that were drawn and dropped; the clock does.
  if (n_turns_ >= kTurnsToBelieve && turn_seconds_ > costs_.seconds(1) * turn_tokens_) return 0;
  return best(acceptance(evidence), n_max);
}

size_t Pace::n_worth_drafting(uint8_t evidence, size_t n_max) const {
  n_max = std::min(n_max, kMaxDraftTokens);
  if (fixed_) return std::min(fixed_, n_max);
  const size_t n = n_estimated(evidence, n_max);
  return n == 0 && n_resting_ >= rest_ && costs_.knows_single() ? std::min(n_max, kTrialTokens) : n;
}

bool Pace::on_trial(size_t n_max) const {
  if (fixed_ || !costs_.knows_single()) return false;
  const bool wanted = n_estimated(kUnknown, std::min(n_max, kMaxDraftTokens)) > 0;
  return wanted ? n_draft_turns_ < kTurnsToBelieve : n_resting_ >= rest_;
}

bool Pace::worth_verifying(double reach, size_t n_drafted) const {
  if (fixed_) return n_drafted < fixed_;
  return reach * seconds_per_token() >= costs_.one_more(n_drafted + 1);
}

bool Pace::worth_another_step(double reach, size_t n_drafted) const {
  if (fixed_) return n_drafted < fixed_;
  return reach * acceptance(kUnknown) * seconds_per_token() >= step_seconds_ + costs_.one_more(n_drafted + 1);
}

}  // namespace hunch
