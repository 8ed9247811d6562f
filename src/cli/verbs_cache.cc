// The grammars of pull, list and rm.
#include "cli/option_groups.h"
#include "cli/verb.h"

namespace hunch::cli {

std::vector<Verb> cache_verbs() {
  std::vector<Verb> v;
  v.push_back({"pull", "Models on this machine", "bring a model from the hub", "ID [options]",
               "hunch pull facebook/opt-125m\n"
               "hunch pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0\n"
               "hunch pull qwen3:0.6b\n",
               [](Grammar& g) {
                 auto f = std::make_shared<PullFlags>();
                 g.positional("ID", f->id);
                 g.section("Download");
                 g.text("--revision", f->revision, "NAME", "branch, tag or commit (default: main)");
                 g.count("--parallel", f->n_parallel, "N", "files at a time");
                 g.flag("--offline", f->offline, "use only what the cache has");
                 add_output(g, f->json, f->quiet);
                 return [f] {
                   if (f->id.empty())
                     fail(ErrorKind::kUsage,
                          "which model? expected a hub id such as facebook/opt-125m, or a short name");
                   return pull(*f);
                 };
               }});
  v.push_back({"list", "Models on this machine", "what is in the cache; which short names there are", "[options]",
               "hunch list\n"
               "hunch list --known\n",
               [](Grammar& g) {
                 auto f = std::make_shared<ListFlags>();
                 g.section("What to list");
                 g.flag("--known", f->known, "the short names of well-known models, whether they are here or not");
                 g.flag("--names", f->names, "names only, one a line");
                 add_output(g, f->json, f->quiet);
                 return [f] { return list(*f); };
               }});
  v.push_back({"rm", "Models on this machine", "remove a model from the cache", "ID [options]",
               "hunch rm facebook/opt-125m\n"
               "hunch rm qwen3:0.6b --yes\n",
               [](Grammar& g) {
                 auto f = std::make_shared<RmFlags>();
                 g.positional("ID", f->id);
                 g.section("Question");
                 g.flag("-y,--yes", f->yes, "do not ask; needed where standard input is no terminal");
                 add_output(g, f->json, f->quiet);
                 return [f] {
                   if (f->id.empty()) fail(ErrorKind::kUsage, "which model? expected one that `hunch list` shows");
                   return rm(*f);
                 };
               }});
  return v;
}

}  // namespace hunch::cli
