// What the command line asks of the hub: the verb `pull`, and models that are named by their hub id or a short name.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "hub/cached_models.h"
#include "hub/id.h"
#include "hub/short_names.h"
#include "io/printable.h"
#ifdef HUNCH_HAVE_HUB
#include "hub/hub.h"
#endif

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

// "; did you mean 'qwen3:0.6b'? ..." for what may have been meant as a short name, else "".
std::string short_name_hint(const std::string& name) {
  if (name.find('/') != name.npos) return "";
  std::vector<std::string> known;
  for (const ShortName& known_name : short_names()) known.emplace_back(known_name.name);
  std::string hint = suggestion(name, known);
  if (hint.empty() && name.find(':') == name.npos) {  // a family without a size
    std::erase_if(known, [&](const std::string& k) { return !k.starts_with(name + ":"); });
    if (!known.empty()) hint = fmt::format("; there are {}", fmt::join(known, ", "));
  }
  return hint.empty() ? "" : hint + " (`hunch list --known` shows the short names)";
}

[[noreturn]] void fail_no_such_model(const std::string& name, const char* more = "") {
  fail(ErrorKind::kNotFound, "no file or folder '{}'{}{}", printable(name, 300), short_name_hint(name), more);
}

}  // namespace

#ifdef HUNCH_HAVE_HUB
namespace {

bool names_hub_model(const std::string& name) { return find_short_name(name) || looks_like_hub_id(name); }

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
  if (!names_hub_model(flags.model)) fail_no_such_model(flags.model);
  const PullOptions options = pull_options_from_environment();
  fs::path path;
  if (const auto cached = cached_model(flags.model, options)) {
    path = cached->path;
  } else {
    const std::string id = expand_short_name(flags.model);
    if (!flags.quiet)
      note(fmt::format("'{}' is no file here; fetching {} from {}", flags.model,
                       id == flags.model ? "the model of that name" : id, options.endpoint));
    path = pull_visibly(flags.model, options, flags.quiet).path;
  }
  mark_used(path);
  return path;
}

fs::path local_model(const ModelFlags& flags) {
  std::error_code ec;
  if (fs::exists(flags.model, ec)) return flags.model;
  if (!names_hub_model(flags.model)) return {};
  const auto cached = cached_model(flags.model, pull_options_from_environment());
  return cached ? cached->snapshot : fs::path();
}

int pull(const PullFlags& flags) {
  PullOptions options = pull_options_from_environment();
  if (flags.n_parallel == 0) fail(ErrorKind::kUsage, "--parallel: expected at least 1, found 0");
  if (flags.revision) options.revision = *flags.revision;
  options.n_parallel = flags.n_parallel;
  options.offline = options.offline || flags.offline;
  const PulledModel pulled = [&] {
    try {
      return pull_visibly(flags.id, options, flags.quiet);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kNotFound || find_short_name(flags.id)) throw;
      throw Error(e.kind(), e.what() + short_name_hint(flags.id));
    }
  }();
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
  fail_no_such_model(flags.model, " (this hunch was built without the hub client, -DHUNCH_HUB=OFF)");
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
