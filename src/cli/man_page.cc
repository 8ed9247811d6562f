#include "cli/man_page.h"

#include <fmt/format.h>

#include <map>

#include "cli/console.h"
#include "cli/flags.h"
#include "hunch/version.h"

namespace hunch::cli {
namespace {

// Text of a paragraph: no character of it is an instruction.
std::string roff(std::string_view text) {
  std::string out;
  bool at_line_start = true;
  for (char c : text) {
    if (at_line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '`' || c == '\'' || c == '^' || c == '~') {  // which roff takes for quotes and accents
      out += c == '`' ? "\\(ga" : c == '\'' ? "\\(aq" : c == '^' ? "\\(ha" : "\\(ti";
    } else {
      out += c;
    }
    at_line_start = c == '\n';
  }
  return out;
}

std::string entry(const OptionHelp& option) {
  std::string out = ".TP\n";
  if (!option.short_name.empty()) out += fmt::format("\\fB{}\\fR, ", roff(option.short_name));
  out += fmt::format("\\fB{}\\fR", roff(option.long_name));
  if (!option.value.empty()) out += fmt::format(" \\fI{}\\fR", roff(option.value));
  out += "\n" + roff(option.help);
  if (!option.shown_default.empty()) out += fmt::format(" (default: {})", roff(option.shown_default));
  return out + "\n";
}

// The examples of a verb, a line each.
std::string examples(const Verb& verb) { return fmt::format(".PP\n.nf\n{}.fi\n", roff(verb.examples)); }

// One verb; `seen`: groups of options that have been printed, and under which verb.
std::string chapter(const VerbWords& words, std::map<std::string, std::string>& seen) {
  const Verb& verb = *words.verb;
  std::string out = fmt::format(".SS \"hunch {} {}\"\n{}.\n", verb.name, roff(verb.arguments), roff(verb.summary));
  for (size_t i = 0; i < words.options.size();) {
    const std::string section = words.options[i].section;
    std::string group;
    bool twins = false;
    for (; i < words.options.size() && words.options[i].section == section; ++i) {
      group += entry(words.options[i]);
      twins = twins || words.options[i].has_twin;
    }
    const auto [first, is_new] = seen.emplace(section + group, verb.name);
    if (!is_new) {
      out += fmt::format(".PP\n\\fI{}\\fR: as of \\fBhunch {}\\fR.\n", roff(section), first->second);
    } else {
      out += fmt::format(".PP\n\\fI{}\\fR{}\n{}", roff(section),
                         twins ? " (each has a twin in the environment, such as HUNCH_THREADS)" : "", group);
    }
  }
  return *verb.examples ? out + examples(verb) : out;
}

constexpr const char* kEnd = R"(.SH MODELS
A model is a GGUF file, a folder with a Hugging Face checkpoint, a llama2.c export, an id of the hub such as
facebook/opt\-1.3b, which is fetched once, or a short name such as qwen3:0.6b, which \fBhunch list \-\-known\fR explains.
.SH EXIT STATUS
0: done. 1: failed. 2: bad usage. 130: interrupted.
.SH ENVIRONMENT
.TP
.B HUNCH_HOME
the cache folder (default: ~/.cache/hunch)
.TP
.B HF_ENDPOINT
the hub (default: https://huggingface.co)
.TP
.BR HF_TOKEN ", " HF_TOKEN_PATH ", " HF_HOME
the token for models that need one, or where it lies
.TP
.B HF_HUB_OFFLINE
1: never touch the network
.TP
.BR HUNCH_THREADS ", " HUNCH_CTX " and so on"
defaults of the engine's options
.TP
.B HUNCH_RANK_TIMEOUT
seconds that a process which mpirun started waits for another one that computes (default: 120)
.SH FILES
.TP
.I MODEL.hunch
what \fBhunch sparsify\fR learned of a model, beside it
.TP
.I HUNCH_HOME/models
what was fetched; \fBhunch list\fR shows it and \fBhunch rm\fR removes from it
)";

}  // namespace

std::string man_page(std::span<const VerbWords> verbs) {
  std::string out = ".TH HUNCH 1 \"\" \"hunch " HUNCH_VERSION
                    "\" \"User Commands\"\n"
                    ".SH NAME\nhunch \\- runs large language models by reading only the weights that matter\n"
                    ".SH SYNOPSIS\n.B hunch\n.I VERB\n.RI [ MODEL ]\n.RI [ options ]\n"
                    ".SH DESCRIPTION\n"
                    "The verbs, each with its options below; \\fBhunch help \\fIVERB\\fR shows one of them.\n";
  for (const VerbWords& verb : verbs) out += fmt::format(".TP\n.B {}\n{}\n", verb.verb->name, roff(verb.verb->summary));
  out += ".SH VERBS\n";
  std::map<std::string, std::string> seen;
  for (const VerbWords& verb : verbs) out += chapter(verb, seen);
  return out + kEnd;
}

int man() {
  const std::vector<Verb> all = all_verbs();
  print(man_page(words_of(all)));
  return 0;
}

}  // namespace hunch::cli
