// The program when mpirun starts several of it: rank 0 is the program, the others compute with it.
#pragma once
#include "model/ranks.h"

namespace hunch::cli {

// run_command_line() on rank 0, or where there is only one. The others are silent.
int run_on_ranks(int argc, char** argv);
// Whether mpirun started more than this one.
bool are_several_ranks();
// Those that have parts of the model that the verb opens, divided as `how` says: "tensor" (or ""), "tensor:even",
// "pipeline", "pipeline:12,10", "pipeline:auto". nullptr: there is one process. Throws Error{kUsage} for other words,
// and for any where there is one process.
Ranks* divide_among_ranks(const std::string& how);

}  // namespace hunch::cli
