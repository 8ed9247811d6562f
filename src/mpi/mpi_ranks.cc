#include "mpi/mpi_ranks.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace hunch {
namespace {

// As Open MPI and those with a process manager of MPICH's kind tell a process; 1: it was started by itself.
int n_started() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* n = std::getenv(name)) return std::atoi(n);
  return 1;
}

}  // namespace

size_t local_mpi_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
    if (const char* n = std::getenv(name)) return size_t(std::max(0, std::atoi(n)));
  return 0;
}

std::unique_ptr<Communicator> join_mpi() {
  if (n_started() <= 1) return nullptr;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& module : {program / "hunch-mpi.so", program.parent_path() / HUNCH_MODULE_FOLDER / "hunch-mpi.so"}) {
    if (!std::filesystem::exists(module)) continue;
    // Open MPI's own modules look for its symbols among everybody's.
    void* library = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!library) fail(ErrorKind::kUnsupported, "MPI cannot be loaded: {}", dlerror());
    using Join = Communicator*();
    if (auto* join = reinterpret_cast<Join*>(dlsym(library, "hunch_join_mpi")))
      return std::unique_ptr<Communicator>(join());
    fail(ErrorKind::kUnsupported, "'{}' is no module of hunch's for MPI", module.string());
  }
  fail(ErrorKind::kUnsupported,
       "{} processes were started to compute together (mpirun), but this hunch was built without MPI, or hunch-mpi.so "
       "is "
       "not beside it: install libopenmpi-dev and build it again",
       n_started());
}

}  // namespace hunch
