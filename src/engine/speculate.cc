#include "engine/speculate.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

// Plain steps are timed at first, and again after this many turns: what everything is weighed against.
constexpr uint64_t kTurnsBetweenPlain = 64;

}  // namespace

Speculation::Speculation(size_t fixed) : fixed_(fixed) {
  if (fixed > kMaxDraftTokens)
    fail(ErrorKind::kUsage, "drafts of {} tokens are too long, expected at most {}", fixed, kMaxDraftTokens);
}

Speculation::~Speculation() = default;

void Speculation::add(std::unique_ptr<Drafter> drafter) {
  const Drafter& d = *drafter;
  const auto prior = [&](size_t level) { return d.prior(uint8_t(level)); };
  seats_.push_back(std::make_unique<Seat>(Seat{std::move(drafter), Pace(costs_, fixed_, prior), {d.name()}}));
}

void Speculation::begin(const SamplerOptions& options, std::span<const int32_t> text) {
  for (auto& seat : seats_) {
    seat->drafter->begin(options);
    seat->drafter->read(text);
  }
}

const Draft& Speculation::draft(std::span<const int32_t> text, size_t n_history, size_t n_max) {
  draft_.clear();
  drafting_ = nullptr;
  if (fixed_ == 0 && n_since_plain_ >= kTurnsBetweenPlain) return draft_;
  for (auto& seat : seats_) {
    if (n_max > 0 && draft_.ids.empty()) {
      draft_.clear();
      const uint64_t bytes_before = seat->drafter->n_bytes();
      seat->drafter->draft(text, n_history, n_max, seat->pace, draft_);
      HUNCH_CHECK(draft_.ids.size() <= n_max && draft_.evidence.size() == draft_.ids.size());
      seat->stats.seconds += draft_.seconds;
      seat->stats.n_steps += draft_.n_steps;
      seat->stats.bytes += seat->drafter->n_bytes() - bytes_before;
      // Steps that led to no guess took their time too.
      if (!draft_.ids.empty() || draft_.n_steps) drafting_ = seat.get();
    }
    if (drafting_ != seat.get()) seat->pace.rest();
  }
  return draft_;
}

void Speculation::verified(size_t n_accepted, double seconds) {
  ++n_passes_;
  const size_t n = draft_.ids.size();
  n_since_plain_ = n ? n_since_plain_ + 1 : 0;
  costs_.observe(1 + n, seconds);
  if (!drafting_) return;
  drafting_->stats.n_drafted += n;
  drafting_->stats.n_accepted += n_accepted;
  for (size_t i = 0; i < std::min(n, n_accepted + 1); ++i) drafting_->pace.judge(draft_.evidence[i], i < n_accepted);
  drafting_->pace.turn(draft_.n_steps, draft_.seconds, draft_.seconds + seconds, n_accepted + 1);
}

std::vector<Speculation::DrafterStats> Speculation::stats() const {
  std::vector<DrafterStats> all;
  for (const auto& seat : seats_) all.push_back(seat->stats);
  return all;
}

}  // namespace hunch
