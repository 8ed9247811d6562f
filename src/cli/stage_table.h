// Where the time of a row of `hunch bench --profile` went.
#pragma once
#include <string>

#include <nlohmann/json.hpp>

#include "measure/bench.h"

namespace hunch::cli {

// A table of the stages that took any time: microseconds a pass, their share, megabytes a pass, GB/s and the share of
// `read_gb_per_s`. A pass computes the tokens of a batch, one of each sequence, or one.
std::string stage_table(const BenchRow& row, double read_gb_per_s);
nlohmann::ordered_json stages_json(const StageCosts& costs);

}  // namespace hunch::cli
