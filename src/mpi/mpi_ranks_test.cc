#include "mpi/mpi_ranks.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"

namespace hunch {
namespace {

// What a process manager says, and nothing of another one, for as long as this lives.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name :
         {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
      set(name, values.contains(name) ? values.at(name).c_str() : nullptr);
  }
  ~Environment() {
    for (const auto& [name, value] : before_) set_now(name, value ? value->c_str() : nullptr);
  }

 private:
  void set(const char* name, const char* value) {
    const char* const was = std::getenv(name);
    before_[name] = was ? std::optional<std::string>(was) : std::nullopt;
    set_now(name, value);
  }
  static void set_now(const std::string& name, const char* value) {
    value ? setenv(name.c_str(), value, 1) : unsetenv(name.c_str());
  }
  std::map<std::string, std::optional<std::string>> before_;
};

TEST(MpiRanks, WhichOfThoseOnThisMachine) {
  {
    const Environment nothing({});
    EXPECT_EQ(local_mpi_rank(), 0u);
  }
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    const Environment environment({{name, "3"}});
    EXPECT_EQ(local_mpi_rank(), 3u) << name;
  }
  const Environment broken({{"SLURM_LOCALID", "-1"}});
  EXPECT_EQ(local_mpi_rank(), 0u);
}

TEST(MpiRanks, OneProcessJoinsNobody) {
  const std::map<std::string, std::string> starts[] = {{}, {{"PMI_SIZE", "1"}}, {{"OMPI_COMM_WORLD_SIZE", "1"}}};
  for (const auto& values : starts) {
    const Environment environment(values);
    EXPECT_EQ(join_mpi(), nullptr);
  }
}

// Beside the test's program there is no module.
TEST(MpiRanks, SeveralWithoutTheModuleAreAnErrorThatSaysWhatToInstall) {
  const Environment environment({{"PMI_SIZE", "2"}});
  try {
    join_mpi();
    FAIL() << "joined";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(e.what()).find("libopenmpi-dev"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hunch
