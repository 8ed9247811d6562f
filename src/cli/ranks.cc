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

}  // namespace

bool are_several_ranks() { return g_ranks; }

Ranks* divide_among_ranks(const std::string& how) {
  if (!g_ranks) {
    if (how.empty()) return nullptr;
    fail(ErrorKind::kUsage, "--ranks goes with several processes: `mpirun -n 2 hunch ...` (docs/scale.md)");
  }
  constexpr std::string_view kPipeline = "pipeline";
  Division division;
  division.by_layers = how.starts_with(kPipeline);
  std::string_view rest = how;
  if (division.by_layers) rest.remove_prefix(kPipeline.size());
  division.by_share = rest == "tensor:even";
  const bool is_known =
      division.by_layers ? rest.empty() || rest[0] == ':' : rest.empty() || rest == "tensor" || division.by_share;
  if (!is_known)
    fail(ErrorKind::kUsage,
         "--ranks: expected tensor, tensor:even, pipeline, pipeline:12,10 or pipeline:auto, found '{}'",
         printable(how));
  if (division.by_layers && !rest.empty()) {
    rest.remove_prefix(1);
    division.by_speed = rest == "auto";
    if (!division.by_speed)
      for (const size_t n : parse_counts(rest, "--ranks")) division.n_layers.push_back(uint32_t(n));
  }
  g_ranks->division = division;
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
