#include "cli/ranks.h"

#include "base/error.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "engine/ranks.h"
#include "io/printable.h"
#include "mpi/mpi_ranks.h"

namespace hunch::cli {
namespace {

Ranks* g_ranks = nullptr;  // set once, before the verb begins

Division parse_division(const std::string& how) {
  Division division;
  std::string_view rest = how;
  const auto take = [&](std::string_view word) {
    const bool is_there = rest.starts_with(word);
    if (is_there) rest.remove_prefix(word.size());
    return is_there;
  };
  if (take("pipeline")) {
    division.by_layers = true;
    division.by_speed = rest == ":auto";
    if (division.by_speed || rest.empty()) return division;
    if (take(":")) {
      for (const size_t n : parse_counts(rest, "--ranks")) division.n_layers.push_back(uint32_t(n));
      return division;
    }
  } else if (how.empty() || take("tensor")) {
    division.by_share = take(":even");
    division.rounds_sums = take(":int8");
    if (rest.empty()) return division;
  }
  fail(ErrorKind::kUsage,
       "--ranks: expected tensor, tensor:even, tensor:int8, tensor:even:int8, pipeline, pipeline:12,10 or "
       "pipeline:auto, found '{}'",
       printable(how));
}

}  // namespace

bool are_several_ranks() { return g_ranks; }

Ranks* divide_among_ranks(const std::string& how) {
  if (!g_ranks) {
    if (how.empty()) return nullptr;
    fail(ErrorKind::kUsage, "--ranks goes with several processes: `mpirun -n 2 hunch ...` (docs/scale.md)");
  }
  g_ranks->division = parse_division(how);
  return g_ranks;
}

int run_on_ranks(int argc, char** argv) {
  std::unique_ptr<Communicator> world;
  try {
    world = join_mpi();
  } catch (const Error& e) {
    note(fmt::format("hunch: {}", e.what()));
    return e.kind() == ErrorKind::kUsage ? 2 : 1;
  }
  if (!world) return run_command_line(argc, argv);
  Ranks ranks(*world);
  ranks.local_rank = local_mpi_rank();
  if (!ranks.leads()) {
    follow(ranks);
    return 0;
  }
  g_ranks = &ranks;
  const int code = run_command_line(argc, argv);
  ranks.outbox().put(Order::kEnd);
  ranks.send();
  return code;
}

}  // namespace hunch::cli
