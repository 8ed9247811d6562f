// From words to a verb's call, and the one catch that turns an Error into words and an exit code.
#include "cli/flags.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/foreign_options.h"
#include "cli/help.h"
#include "cli/option_words.h"
#include "cli/parse.h"
#include "cli/verb.h"
#include "cli/verb_words.h"
#include "hunch/version.h"
#include "io/printable.h"

namespace hunch::cli {

std::vector<Verb> all_verbs() {
  std::vector<Verb> all;
  for (auto group : {generating_verbs, serving_verbs, comparing_verbs, looking_verbs, measuring_verbs, changing_verbs,
                     training_verbs, cache_verbs, shell_verbs})
    for (Verb& verb : group()) all.push_back(std::move(verb));
  return all;
}

namespace {

// "; run and chat have it", or "" where no verb has such an option.
std::string who_has(const std::string& name) {
  std::vector<std::string> verbs;
  for (const Verb& verb : all_verbs()) {
    Grammar grammar;
    bool wants_help = false;
    add_words(verb, grammar, wants_help);
    if (grammar.has(name)) verbs.emplace_back(verb.name);
  }
  if (verbs.empty()) return "";
  const std::string last = verbs.back();
  verbs.pop_back();
  return fmt::format("; {}{}{} it", fmt::join(verbs, ", "), verbs.empty() ? "" : " and ",
                     last + (verbs.empty() ? " has" : " have"));
}

// What the grammar did not understand.
void refuse_extras(const std::vector<std::string>& extras, const Grammar& grammar, const Verb& verb) {
  if (extras.empty()) return;
  for (const std::string& extra : extras)
    if (extra.size() > 1 && extra[0] == '-') {
      const std::string name = extra.substr(0, extra.find('='));
      const std::string nearest = suggestion(name, grammar.long_names());
      fail(ErrorKind::kUsage, "{} has no option '{}'{} (hunch help {})", verb.name, printable(name),
           nearest.empty() ? who_has(name) : nearest, verb.name);
    }
  if (grammar.has("--out"))
    fail(ErrorKind::kUsage, "'{}' was not expected after {}'s arguments; the file to write is named by -o FILE",
         printable(extras[0]), verb.name);
  fail(ErrorKind::kUsage, "'{}' was not expected after {}'s arguments; a text with spaces needs quotes",
       printable(extras[0]), verb.name);
}

int run_verb(const Verb& verb, const std::vector<std::string>& words, bool& json) {
  Grammar grammar;
  bool wants_help = false;
  const auto call = add_words(verb, grammar, wants_help);
  const Translation ours = from_llama_cpp(words, grammar);
  const std::vector<std::string> extras = grammar.parse(ours.words);
  json = grammar.is_set("--json");
  if (!grammar.is_set("--quiet"))
    for (const std::string& text : ours.notes) note("note: " + text);
  if (wants_help) {
    print(help(verb, grammar));
    return 0;
  }
  refuse_extras(extras, grammar, verb);
  return call();
}

int dispatch(const std::vector<std::string>& words, bool& json) {
  const std::vector<Verb> all = all_verbs();
  const auto find = [&](const std::string& name) -> const Verb& {
    std::vector<std::string> names;
    for (const Verb& verb : all) {
      if (name == verb.name) return verb;
      names.push_back(verb.name);
    }
    names.push_back("help");
    std::error_code ec;
    if (std::filesystem::exists(name, ec))
      fail(ErrorKind::kUsage,
           "'{}' is no verb; before a model stands what to do with it: hunch run {}, or chat (`hunch help` lists all)",
           printable(name, 300), printable(name, 300));
    fail(ErrorKind::kUsage, "no verb '{}'{} (`hunch help` lists them)", printable(name), suggestion(name, names));
  };
  if (words.empty()) {
    note(overview(all));
    return 2;
  }
  const std::string& first = words[0];
  if (first == "--version" || first == "version") {
    print("hunch " HUNCH_VERSION "\n");
    return 0;
  }
  if (first == "help" || first == "--help" || first == "-h") {
    if (words.size() == 1 || words[1] == "help") {
      print(overview(all));
      return 0;
    }
    return run_verb(find(words[1]), {"--help"}, json);
  }
  if (first.starts_with("-"))
    fail(ErrorKind::kUsage, "the verb comes first: hunch VERB MODEL [options] (`hunch help` lists the verbs)");
  return run_verb(find(first), {words.begin() + 1, words.end()}, json);
}

int report(ErrorKind kind, const std::string& message, bool json) {
  note("hunch: " + message);
  if (json) {
    try {
      print_json({{"error", {{"kind", name_of(kind)}, {"message", message}}}});
    } catch (const Error&) {
      // Standard output is gone; standard error has said it.
    }
  }
  return kind == ErrorKind::kUsage ? 2 : kind == ErrorKind::kInterrupted ? 130 : 1;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  bool json = std::ranges::find(words, "--json") != words.end();  // until the verb has parsed its own
  try {
    return dispatch(words, json);
  } catch (const Error& e) {
    return report(e.kind(), with_flags(e.what()), json);
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::kMemory, "not enough memory", json);
  }
}

}  // namespace hunch::cli
