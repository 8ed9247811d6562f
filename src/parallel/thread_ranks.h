// Ranks that are threads of one process: for tests of what ranks compute, without MPI.
#pragma once
#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace hunch {

// One end for each of n threads. They wait for each other for so many seconds, and what one of them abort()s is thrown
// in all.
std::vector<std::unique_ptr<Communicator>> thread_ranks(size_t n, double timeout_seconds = 60);

}  // namespace hunch
