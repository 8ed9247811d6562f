// Speed of prompt processing and generation, as rows "pp512" and "tg128".
#pragma once
#include <string>
#include <vector>

#include "engine/session.h"

namespace hunch {

struct BenchOptions {
  std::vector<size_t> prompt = {512};   // tokens per pp row
  std::vector<size_t> generate = {128}; // tokens per tg row
  size_t n_repeats = 5;
  size_t depth = 0;                     // tokens in the context before each row
};

struct BenchRow {
  std::string name;                     // "pp512", "tg128", "tg128@d1024"
  double tokens_per_s = 0, tokens_per_s_stddev = 0;  // mean over the repeats, after one warm-up
  double gb_per_s = 0;                  // weight and KV bytes touched / time
};

// Random token ids (fixed seed): speed does not depend on the text in dense mode.
std::vector<BenchRow> bench(const Engine& engine, const ContextOptions& context, const BenchOptions& options, const Progress& progress = {});

}  // namespace hunch
