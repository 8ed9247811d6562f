// The options of serve as a plain struct; flags.h has those of the other verbs.
#pragma once
#include <string>

#include "cli/flags.h"

namespace hunch::cli {

struct ServeFlags {
  ModelFlags model;                 // but for its name
  std::vector<std::string> models;  // as ModelFlags::model
  std::string models_folder, idle_unload = "0";
  size_t n_models = 4;
  std::vector<std::string> aliases;
  ContextFlags context;
  std::string host = "127.0.0.1", api_key, api_key_file, template_file, cache_folder, tls_cert, tls_key;
  std::string cors;
  std::vector<std::string> allow_hosts;
  size_t port = 8080, n_parallel = 4, n_queue = 64, step_tokens = 256, max_body_mb = 16;
  double grace_seconds = 30, kv_memory_gb = 0, cache_gb = 10;
  bool deterministic = false, slots_prompts = false;
};

// The verb. Returns the exit code and throws Error.
int serve(const ServeFlags& flags);

}  // namespace hunch::cli
