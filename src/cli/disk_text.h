// What a model that is larger than memory keeps of its weights, and what it reads, in words.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "linear/weight_disk.h"

namespace hunch::cli {

// "1.30 GB of the weights stay; 0.60 GB are for 2.60 GB that are read when they are needed (io_uring, past the page
// cache)". `all_bytes`: of all weights.
std::string describe(const WeightDisk& disk, uint64_t all_bytes);
// What was read for so many tokens, and how much of what was asked for was there: "disk: 12.0 MB/token in 310 reads; 93
// % of the neurons were there, ...".
std::string describe(const DiskStats& stats, uint64_t n_tokens);
nlohmann::ordered_json disk_json(const DiskStats& stats, uint64_t n_tokens);

}  // namespace hunch::cli
