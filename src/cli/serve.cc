// hunch serve: a model behind a port.
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "cli/ranks.h"
#include "cli/serve_flags.h"
#include "cli/session_io.h"
#include "kernels/simd_target.h"
#include "select/prompt_pattern.h"

#ifdef HUNCH_HAVE_SERVE
#include "serve/model_choice.h"
#include "serve/server.h"
#endif

namespace hunch::cli {
namespace fs = std::filesystem;

#ifndef HUNCH_HAVE_SERVE
int serve(const ServeFlags&) {
  fail(ErrorKind::kUnsupported, "this hunch was built without its server (HUNCH_SERVE=OFF)");
}
#else
namespace {

std::string api_key(const ServeFlags& flags) {
  if (!flags.api_key.empty() && !flags.api_key_file.empty())
    fail(ErrorKind::kUsage, "give either --api-key or --api-key-file, not both");
  if (flags.api_key_file.empty()) return flags.api_key;
  std::string key = read_text(flags.api_key_file);
  key.erase(std::min(key.find_first_of("\r\n"), key.size()));
  if (key.empty()) fail(ErrorKind::kUsage, "the first line of '{}' is empty, expected an API key", flags.api_key_file);
  return key;
}

// A connection is a descriptor, of which shells give programs few and allow them more.
void allow_connections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= 8192) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 8192);
  setrlimit(RLIMIT_NOFILE, &limit);  // where it is refused there are fewer
}

void check(const ServeFlags& flags) {
  if (flags.port > 65535) fail(ErrorKind::kUsage, "--port is {}, expected at most 65535", flags.port);
  if (flags.n_parallel == 0 || flags.n_parallel > 1024)
    fail(ErrorKind::kUsage, "--parallel is {}, expected 1 to 1024", flags.n_parallel);
  if (flags.step_tokens == 0) fail(ErrorKind::kUsage, "--step-tokens is 0, expected at least 1");
  if (flags.max_body_mb == 0 || flags.max_body_mb > 1024)
    fail(ErrorKind::kUsage, "--max-body is {}, expected 1 to 1024 MB", flags.max_body_mb);
  if (!(flags.kv_memory_gb >= 0 && flags.kv_memory_gb <= 1e6))
    fail(ErrorKind::kUsage, "--kv-memory is {}, expected gigabytes", flags.kv_memory_gb);
  if (!(flags.cache_gb > 0 && flags.cache_gb <= 1e6))
    fail(ErrorKind::kUsage, "--cache-size is {}, expected gigabytes", flags.cache_gb);
  if (!(flags.grace_seconds >= 0 && flags.grace_seconds <= 1e6))
    fail(ErrorKind::kUsage, "--grace is {}, expected 0 to 1000000 seconds", flags.grace_seconds);
  if (flags.context.kv_policies.size() > 1)
    fail(ErrorKind::kUsage, "--kv-policy: expected one, found {}", flags.context.kv_policies.size());
  if (!flags.context.experts.empty()) fail(ErrorKind::kUsage, "--experts is not there for serve yet");
  if (flags.context.oracle_density < 1 || flags.context.oracle_head_density != 0)
    fail(ErrorKind::kUsage, "an oracle computes everything twice: it is not for serve");
  if (are_several_ranks() && !flags.cache_folder.empty())
    fail(ErrorKind::kUnsupported,
         "--cache-dir: texts that are divided among ranks are not kept; run it without mpirun");
  if (flags.models.empty() && flags.models_folder.empty())
    fail(ErrorKind::kUsage,
         "which model? expected a GGUF file, a Hugging Face folder, a hub id or a short name after the verb, or "
         "--models-dir");
}

// Whether requests choose among models; a model that is named alone is meant whatever they say.
bool are_several(const ServeFlags& flags) { return flags.models.size() != 1 || !flags.models_folder.empty(); }

void check_several(const ServeFlags& flags) {
  const auto refuse_if = [](bool is_set, const char* option) {
    if (is_set) fail(ErrorKind::kUsage, "{} is of one model, expected none of several", option);
  };
  refuse_if(!flags.model.lora.empty(), "--lora");
  refuse_if(!flags.model.sidecar.empty(), "--sidecar");
  refuse_if(!flags.model.costs.empty(), "--costs");
  refuse_if(!flags.template_file.empty(), "--template-file");
}

ModelFlags flags_of(const ServeFlags& flags, const std::string& model) {
  ModelFlags own = flags.model;
  own.model = model;
  own.lora.clear();          // requests choose among them
  own.force_target.clear();  // once, before all
  return own;
}

std::vector<std::pair<std::string, std::string> > parse_aliases(const ServeFlags& flags) {
  std::vector<std::pair<std::string, std::string> > out;
  for (const std::string& alias : flags.aliases) {
    const size_t equals = alias.find('=');
    if (equals == alias.npos || equals == 0 || equals + 1 == alias.size())
      fail(ErrorKind::kUsage, "--alias is '{}', expected NAME=MODEL of several models", alias);
    out.emplace_back(alias.substr(0, equals), alias.substr(equals + 1));
  }
  return out;
}

// What the models are called and how they are opened. Returns the only one, where there is one, opened.
std::optional<Engine> choose_models(const ServeFlags& flags, serve::ModelsOptions& models) {
  const std::optional<double> idle = serve::duration_from(flags.idle_unload);
  if (!idle || *idle < 0)
    fail(ErrorKind::kUsage, "--idle-unload is '{}', expected a time like 10m or 1h30m, or 0", flags.idle_unload);
  models.idle_seconds = *idle;
  models.n_most = flags.n_models;
  models.n_queue = flags.n_queue;
  models.any_name = !are_several(flags);
  models.may_unload = are_several(flags) || *idle > 0;
  models.open = [flags](const serve::ModelSource& source, const Stop* stop) {
    return open_engine(flags_of(flags, source.path.string()), nullptr, stop);
  };
  if (!models.any_name) {
    check_several(flags);
    models.folder = flags.models_folder;
    models.aliases = parse_aliases(flags);
    for (const std::string& model : flags.models) {
      const fs::path path = resolve_model(flags_of(flags, model));
      const bool is_path = path == fs::path(model);
      models.sources.push_back({is_path ? serve::name_of_model(path) : model.substr(model.rfind('/') + 1), path});
    }
    return std::nullopt;
  }
  if (flags.aliases.size() > 1)
    fail(ErrorKind::kUsage, "--alias was given {} times, expected once of one model", flags.aliases.size());
  const ModelFlags own = flags_of(flags, flags.models[0]);
  const fs::path path = resolve_model(own);
  Engine engine = open_engine(flags_of(flags, path.string()));
  models.sources = {{flags.aliases.empty() ? display_name(engine, own) : flags.aliases[0], path}};
  return engine;
}

}  // namespace

int serve(const ServeFlags& flags) {
  check(flags);
  serve::ServerOptions options;
  options.router.api_key = api_key(flags);
  options.router.access.hosts = serve::Access::hosts_of(flags.host, flags.allow_hosts);
  options.router.access.cors = flags.cors;
  options.host = flags.host;
  options.port = uint16_t(flags.port);
  options.tls = {flags.tls_cert, flags.tls_key};
  options.grace_seconds = flags.grace_seconds;
  options.limits.body_bytes = flags.max_body_mb << 20;
  serve::ServiceOptions& service = options.models.service;
  service.template_file = flags.template_file;
  service.plan.mode = flags.context.mode;
  service.plan.density = flags.context.density;
  if (!flags.context.kv_policies.empty() && flags.context.kv_policies[0] != "none")
    service.plan.kv_policy = flags.context.kv_policies[0];
  service.plan.prefill = flags.context.prefill;
  if (!flags.context.prefill.empty() && flags.context.prefill != "sidecar") prompt_patterns_from(flags.context.prefill);
  for (const std::string& lora : flags.model.lora) service.adapters.push_back(parse_adapter(lora));
  service.shows_prompts = flags.slots_prompts;
  service.deterministic = flags.deterministic;
  service.scheduler.n_parallel = flags.n_parallel;
  service.scheduler.kv_bytes = uint64_t(flags.kv_memory_gb * 1e9);
  service.scheduler.disk_folder = flags.cache_folder;
  service.scheduler.disk_bytes = uint64_t(flags.cache_gb * 1e9);
  service.scheduler.warn = [](const std::string& what) { note("--cache-dir: " + what); };
  service.scheduler.n_queue = flags.n_queue;
  service.scheduler.n_ctx = flags.context.n_ctx;
  service.scheduler.kv_type = *kv_type_from_name(flags.context.kv);
  service.scheduler.step_tokens = flags.step_tokens;
  if (!flags.model.force_target.empty()) force_simd_target(flags.model.force_target);
  std::optional<Engine> first = choose_models(flags, options.models);
  if (!flags.model.quiet) options.log = options.models.say = [](const std::string& line) { log_line(line); };
  options.on_ready = [&](uint16_t port, const serve::Service* ready) {
    const std::string host = flags.host.find(':') == flags.host.npos ? flags.host : "[" + flags.host + "]";
    const std::string url = fmt::format("{}://{}:{}", options.tls.any() ? "https" : "http", host, port);
    nlohmann::ordered_json json = {{"url", url}, {"port", port}};
    std::string what = "models on demand";
    if (ready) {
      const serve::Scheduler& scheduler = ready->scheduler();
      print_first_line(ready->engine(), flags_of(flags, flags.models[0]), flags.context, scheduler.n_ctx(),
                       scheduler.kv_bytes());
      what = options.models.sources[0].name;
      json.update({{"model", what}, {"n_ctx", scheduler.n_ctx()}});
    }
    if (flags.model.json) {
      print_json(json);
    } else if (!flags.model.quiet) {
      note(fmt::format("serving {} at {}, {} answers at once{}; Ctrl-C ends it", what, url, flags.n_parallel,
                       ready ? "" : " of each"));
    }
  };
  allow_connections();
  serve::serve(std::move(first), options);
  return 0;
}
#endif

}  // namespace hunch::cli
