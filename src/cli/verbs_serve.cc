// The grammar of serve.
#include "cli/option_groups.h"
#include "cli/serve_flags.h"
#include "cli/verb.h"

namespace hunch::cli {

std::vector<Verb> serving_verbs() {
  std::vector<Verb> v;
  v.push_back({"serve", "Serve", "answer requests of OpenAI's, Anthropic's and Ollama's APIs", "MODEL... [options]",
               "hunch serve model.gguf\n"
               "hunch serve Qwen/Qwen2.5-0.5B-Instruct --port 9000 --parallel 8 --alias qwen\n"
               "hunch serve --models-dir ~/models --models-max 2 --idle-unload 10m\n"
               "hunch serve model.gguf --mode sparse --host 0.0.0.0 --api-key-file key.txt\n",
               [](Grammar& g) {
                 auto f = std::make_shared<ServeFlags>();
                 g.positionals("MODEL...", f->models);
                 g.section("Server");
                 g.text("--host", f->host, "ADDRESS",
                        "listen at this IP address; 0.0.0.0 is every one of this machine");
                 g.count("--port", f->port, "N", "listen at this port; 0: any that is free");
                 g.count("--parallel", f->n_parallel, "N",
                         "answers in the making at once; the cache holds so many whole contexts");
                 g.real("--kv-memory", f->kv_memory_gb, "GB",
                        "the cache holds no more than this; where answers outgrow it, the newest waits and is computed "
                        "again");
                 g.text("--cache-dir", f->cache_folder, "FOLDER",
                        "texts that leave the cache are kept here, for prompts of later days that begin alike");
                 g.real("--cache-size", f->cache_gb, "GB", "of that folder; what was not used for longest goes");
                 g.count("--queue", f->n_queue, "N", "answers that may wait for their turn; more get status 429");
                 g.count("--step-tokens", f->step_tokens, "N",
                         "most tokens of a step; of prompts it has fewer while others decode, so that long ones do not "
                         "stall them");
                 g.text("--api-key", f->api_key, "KEY",
                        "answer only who sends this key (other users of this machine can see it here)");
                 g.text("--api-key-file", f->api_key_file, "FILE", "the same, read from the first line of a file");
                 g.text("--tls-cert", f->tls_cert, "FILE",
                        "speak TLS (1.2 and newer) and nothing else: the certificate and those that sign it, in PEM");
                 g.text("--tls-key", f->tls_key, "FILE", "the certificate's key, in PEM and without a password");
                 g.texts("--allow-host", f->allow_hosts, "NAME",
                         "answer requests whose Host names this too; at loopback only its own names are");
                 g.text("--cors", f->cors, "ORIGIN", "let pages of this origin ask and read the answers; * is any");
                 g.texts("--alias", f->aliases, "NAME",
                         "the model's name in answers (default: its own); of several models NAME=MODEL, another name "
                         "of that one; may be repeated");
                 g.text("--models-dir", f->models_folder, "FOLDER",
                        "serve the GGUF files and Hugging Face folders in here: a request's `model` chooses by name, "
                        "and they are loaded when one is asked for");
                 g.count("--models-max", f->n_models, "N",
                         "of several models, so many are loaded at once: the one that was used last before the others "
                         "makes room; 0: any number");
                 g.text("--idle-unload", f->idle_unload, "TIME",
                        "unload a model that nobody has asked for so long, as 10m or 1h30m; 0: never");
                 g.text("--template-file", f->template_file, "FILE",
                        "a Jinja chat template instead of the model's own; \"plain\" is User: / Assistant:");
                 g.flag("--deterministic", f->deterministic,
                        "an answer has the same bits whoever shares its steps; slower prompts");
                 g.flag("--slots-prompts", f->slots_prompts, "GET /slots tells what is asked too");
                 g.real("--grace", f->grace_seconds, "S", "seconds that running answers have after a signal");
                 g.count("--max-body", f->max_body_mb, "MB", "longer requests get status 413");
                 add_engine(g, f->model, &f->context);
                 return std::function<int()>([f] { return serve(*f); });
               }});
  return v;
}

}  // namespace hunch::cli
