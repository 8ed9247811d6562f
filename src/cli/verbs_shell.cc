// The grammars of completion and man.
#include "cli/flags.h"
#include "cli/verb.h"

namespace hunch::cli {

std::vector<Verb> shell_verbs() {
  std::vector<Verb> v;
  v.push_back({"completion", "For the shell", "a script that completes this command line", "bash|zsh|fish",
               "source <(hunch completion bash)\n"
               "hunch completion fish > ~/.config/fish/completions/hunch.fish\n",
               [](Grammar& g) {
                 auto f = std::make_shared<CompletionFlags>();
                 g.positional("SHELL", f->shell);
                 return [f] {
                   if (f->shell.empty()) fail(ErrorKind::kUsage, "which shell? expected bash, zsh or fish");
                   return completion(*f);
                 };
               }});
  v.push_back({"man", "For the shell", "the manual page, as roff", "", "hunch man | man -l -\n",
               [](Grammar&) { return [] { return man(); }; }});
  return v;
}

}  // namespace hunch::cli
