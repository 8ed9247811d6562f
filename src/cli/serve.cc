// hunch serve: a model behind a port.
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "cli/serve_flags.h"
#include "cli/session_io.h"

#ifdef HUNCH_HAVE_SERVE
#include "serve/server.h"
#endif

namespace hunch::cli {

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
}

}  // namespace

int serve(const ServeFlags& flags) {
  check(flags);
  serve::ServerOptions options;
  options.service.api_key = api_key(flags);
  ModelFlags without_adapters = flags.model;  // requests choose among them
  without_adapters.lora.clear();
  Engine engine = open_engine(without_adapters);
  options.host = flags.host;
  options.port = uint16_t(flags.port);
  options.grace_seconds = flags.grace_seconds;
  options.limits.body_bytes = flags.max_body_mb << 20;
  serve::ServiceOptions& service = options.service;
  service.model_name = flags.alias.empty() ? display_name(engine, flags.model) : flags.alias;
  service.template_file = flags.template_file;
  service.plan.mode = flags.context.mode;
  service.plan.density = flags.context.density;
  if (!flags.context.kv_policies.empty()) service.plan.kv_policy = flags.context.kv_policies[0];
  for (const std::string& lora : flags.model.lora) service.adapters.push_back(parse_adapter(lora));
  service.shows_prompts = flags.slots_prompts;
  service.access.hosts = serve::Access::hosts_of(flags.host, flags.allow_hosts);
  service.access.cors = flags.cors;
  service.deterministic = flags.deterministic;
  service.scheduler.n_parallel = flags.n_parallel;
  service.scheduler.kv_bytes = uint64_t(flags.kv_memory_gb * 1e9);
  service.scheduler.disk_folder = flags.cache_folder;
  service.scheduler.disk_bytes = uint64_t(flags.cache_gb * 1e9);
  service.scheduler.warn = [](const std::string& what) { note("--cache-dir: " + what); };
  service.scheduler.n_queue = flags.n_queue;
  service.scheduler.n_ctx = flags.context.n_ctx;
  service.scheduler.kv_dtype = *dtype_from_name(flags.context.kv);
  service.scheduler.step_tokens = flags.step_tokens;
  if (!flags.model.quiet) options.log = [](const std::string& line) { note(line); };
  options.on_ready = [&](uint16_t port, serve::Service& ready) {
    const size_t n_ctx = ready.scheduler().n_ctx();
    print_first_line(engine, flags.model, flags.context, n_ctx, ready.scheduler().kv_bytes());
    const std::string host = flags.host.find(':') == flags.host.npos ? flags.host : "[" + flags.host + "]";
    const std::string url = fmt::format("http://{}:{}", host, port);
    if (flags.model.json) {
      print_json({{"url", url}, {"port", port}, {"model", service.model_name}, {"n_ctx", n_ctx}});
    } else if (!flags.model.quiet) {
      note(fmt::format("serving {} at {}, {} answers at once; Ctrl-C ends it", service.model_name, url,
                       flags.n_parallel));
    }
  };
  allow_connections();
  serve::serve(engine, options);
  return 0;
}
#endif

}  // namespace hunch::cli
