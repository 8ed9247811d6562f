// What this machine can do, measured: the yardstick of every speed that hunch prints.
#pragma once
#include <optional>
#include <string>

#include "base/compute.h"

namespace hunch {

struct MachineInfo {
  std::string cpu;          // model name
  std::string simd_target;  // the Highway target that kernels run on, e.g. "AVX3_DL"
  size_t n_cores = 0;
  uint64_t memory_bytes = 0;
};
MachineInfo machine_info();

struct MachineSpeed {
  size_t n_threads = 0;
  double read_gb_per_s = 0;  // sequential reads of memory far larger than the caches, all threads
};

// Measures for one or two seconds: the median of several passes over 1 GB (less where memory is short), of the way to
// read that is the fastest here.
MachineSpeed measure_machine(Compute& compute);

// The measurement of an earlier run for this CPU and thread count, kept in $HUNCH_HOME/machine.json
// (default ~/.cache/hunch). Unreadable or foreign contents count as absent.
std::optional<MachineSpeed> cached_machine_speed(size_t n_threads);
void cache_machine_speed(const MachineSpeed& speed);

}  // namespace hunch
