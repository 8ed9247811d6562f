// hunch pull: bring a model from the hub.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "io/hub.h"

namespace hunch::cli {

int pull(const PullFlags& flags) {
  PullOptions options = pull_options_from_environment();
  if (flags.n_parallel == 0) fail(ErrorKind::kUsage, "--parallel: expected at least 1, found 0");
  if (flags.revision) options.revision = *flags.revision;
  options.n_parallel = flags.n_parallel;
  options.offline = options.offline || flags.offline;
  PulledModel pulled;
  {
    ProgressBar bar(!flags.quiet);
    options.progress = bar.progress();
    options.note = [&](std::string_view line) {
      bar.clear();
      if (!flags.quiet) note(line);
    };
    pulled = pull_model(flags.id, options);
  }
  if (flags.json) {
    print_json({{"path", pulled.path.string()},
                {"snapshot", pulled.snapshot.string()},
                {"repo", pulled.repo},
                {"revision", pulled.revision},
                {"commit", pulled.commit},
                {"n_received_bytes", pulled.n_received_bytes}});
    return 0;
  }
  if (!flags.quiet)
    note(pulled.n_received_bytes
             ? fmt::format("received {}; commit {}", human_bytes(double(pulled.n_received_bytes)), pulled.commit)
             : fmt::format("already here; commit {}", pulled.commit));
  print(pulled.path.string() + "\n");
  return 0;
}

}  // namespace hunch::cli
