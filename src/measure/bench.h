// Speed of prompt processing and generation, as rows "pp512" and "tg128".
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/profile.h"
#include "engine/generate.h"
#include "linear/disk_stats.h"
#include "measure/compare.h"

namespace hunch {

struct BenchOptions {
  std::vector<size_t> prompt = {512};    // tokens per pp row
  std::vector<size_t> generate = {128};  // tokens per tg row
  size_t n_repeats = 5;
  size_t depth = 0;  // tokens in the context before each row
  // Measured in turn, each row in all of them, in contexts like theirs; empty: in the caller's. Lossless ones:
  // bench_drafts.
  std::vector<CompareMode> modes;
  std::span<const int32_t> ids;  // the tokens to compute; empty: random ones
  bool profile = false;          // whether rows say where the time went
};

// Where the time of a row's repeats went: all of them together.
struct StageCosts {
  std::array<Profile::Cost, kNumStages> stages{};
  uint64_t n_passes() const { return stages[size_t(Stage::kEmbedding)].n_times; }
};

struct BenchRow {
  std::string name;                                  // "pp512", "tg128", "tg128@d1024"
  double tokens_per_s = 0, tokens_per_s_stddev = 0;  // mean over the repeats, after one warm-up
  double tokens_per_s_median = 0;
  double gb_per_s = 0;         // weight and KV bytes touched / time
  double bytes_per_token = 0;  // of which: touched for one token
  // Where several modes are measured: against the first of them. Efficiency is the share of the speed-up that the bytes
  // saved would give, speed-up / (its bytes / this row's bytes).
  double speed_up = 0, efficiency = 0;
  StageCosts costs;  // zeros unless asked for
  PageReads pages;   // where pages of keys are chosen
  DiskStats disk;    // of a model that is larger than memory: of all repeats, which computed n_tokens
  uint64_t n_tokens = 0;
};

// The row of a measurement: `rates` [at least 1] in tokens/s, one of each repeat; bytes, seconds and tokens of all
// together.
BenchRow bench_row(std::string name, std::vector<double> rates, double bytes, double seconds, uint64_t n_tokens);

// Adds what a computation spends, from its beginning to the end of the scope, to `costs`; nothing where `wanted` is
// false.
class ProfileScope {
 public:
  ProfileScope(Compute& compute, bool wanted, StageCosts& costs);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Compute& compute_;
  StageCosts& costs_;
  Profile profile_;
};

// Sets `row`'s speed-up and efficiency against `reference`, which may be the same.
void compare_with(const BenchRow& reference, BenchRow& row);
// So many ids, the same every time.
std::vector<int32_t> random_ids(size_t n, size_t n_vocab);

// Repeats alternate between the modes, so that what the machine does besides falls on all alike. Without ids, tokens
// are random (fixed seed): speed does not depend on the text in dense mode; in the others it does. Throws Error{kUsage}
// for fewer ids than a row needs.
std::vector<BenchRow> bench(const Engine& engine, const ContextOptions& context, const BenchOptions& options,
                            const Progress& progress = {});

}  // namespace hunch
