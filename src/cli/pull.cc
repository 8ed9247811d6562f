// What the command line asks of the hub: the verb `pull`, and models that are named by their hub id.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/session_io.h"
#include "io/printable.h"
#ifdef HUNCH_HAVE_HUB
#include "hub/hub.h"
#endif

namespace hunch::cli {
namespace fs = std::filesystem;

#ifdef HUNCH_HAVE_HUB
namespace {

// pull_model() with a progress bar and notes, unless `quiet`.
PulledModel pull_visibly(const std::string& id, PullOptions options, bool quiet) {
  ProgressBar bar(!quiet);
  options.progress = bar.progress();
  options.stop = &interrupt_stop();
  options.note = [&](std::string_view line) {
    bar.clear();
    if (!quiet) note(line);
  };
  return pull_model(id, options);
}

}  // namespace

fs::path fetch_model(const ModelFlags& flags) {
  if (!looks_like_hub_id(flags.model))
    fail(ErrorKind::kNotFound, "no file or folder '{}'", printable(flags.model, 300));
  const PullOptions options = pull_options_from_environment();
  if (const auto cached = cached_model(flags.model, options)) return cached->path;
  if (!flags.quiet)
    note(fmt::format("'{}' is no file here; fetching the model of that name from {}", flags.model, options.endpoint));
  return pull_visibly(flags.model, options, flags.quiet).path;
}

fs::path local_model(const ModelFlags& flags) {
  std::error_code ec;
  if (fs::exists(flags.model, ec)) return flags.model;
  if (!looks_like_hub_id(flags.model)) return {};
  const auto cached = cached_model(flags.model, pull_options_from_environment());
  return cached ? cached->snapshot : fs::path();
}

int pull(const PullFlags& flags) {
  PullOptions options = pull_options_from_environment();
  if (flags.n_parallel == 0) fail(ErrorKind::kUsage, "--parallel: expected at least 1, found 0");
  if (flags.revision) options.revision = *flags.revision;
  options.n_parallel = flags.n_parallel;
  options.offline = options.offline || flags.offline;
  const PulledModel pulled = pull_visibly(flags.id, options, flags.quiet);
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

#else

fs::path fetch_model(const ModelFlags& flags) {
  fail(ErrorKind::kNotFound, "no file or folder '{}' (this hunch was built without the hub client, -DHUNCH_HUB=OFF)",
       printable(flags.model, 300));
}

fs::path local_model(const ModelFlags& flags) {
  std::error_code ec;
  return fs::exists(flags.model, ec) ? fs::path(flags.model) : fs::path();
}

int pull(const PullFlags& flags) {
  fail(ErrorKind::kUnsupported, "cannot fetch '{}': this hunch was built without the hub client (-DHUNCH_HUB=OFF)",
       printable(flags.id, 300));
}

#endif

}  // namespace hunch::cli
