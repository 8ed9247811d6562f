// Ranks that are processes, started by mpirun on one machine or on several.
#pragma once
#include <memory>

#include "parallel/communicator.h"

namespace hunch {

// This process's end, where mpirun started several; else nullptr, and nothing is done. Once in a process; its end is
// the end of MPI. A rank that waits for another longer than HUNCH_RANK_TIMEOUT seconds (120) ends the job: it says so
// on stderr and does not return. Throws Error{kUnsupported} where this program was built without MPI,
// Error{kUsage} for a time-out that is no number.
std::unique_ptr<Communicator> join_mpi();

// Which of the processes that were started on this machine this one is, as the starter says it; 0 where it does not.
size_t local_mpi_rank();

}  // namespace hunch
