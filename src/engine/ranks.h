// Models that are opened on several ranks at once (docs/scale.md).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "engine/engine.h"
#include "engine/rank_speed.h"
#include "model/ranks.h"

namespace hunch {

// Rank 0: the others open the same model with these options, while the caller does; and until the result ends, they
// have it. on_all_ranks() comes next. Throws Error{kUnsupported} where they have one already.
class OnOtherRanks {
 public:
  OnOtherRanks(Ranks& ranks, const std::filesystem::path& path, const EngineOptions& options);
  ~OnOtherRanks();

 private:
  Ranks& ranks_;
};
// Rank 0: the others are told to load an adapter under this number.
void send_adapter(Ranks& ranks, uint32_t number, std::span<const AdapterSource> sources);
// Rank 0: does what the others were told to do too, and says to them whether it went well: if not, they forget it. One
// of them that could not ends the job, saying why.
void on_all_ranks(Ranks& ranks, const std::function<void()>& own);

// Rank 0: how fast each rank is with so many threads (0: one per core) [n_ranks].
std::vector<RankSpeed> measure_ranks(Ranks& ranks, size_t n_threads);

// What every rank but 0 does, until rank 0 ends the job: opens what it is told to, and computes its part of the steps.
// What goes wrong here ends the job on all ranks.
void follow(Ranks& ranks);

}  // namespace hunch
