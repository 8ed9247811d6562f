#include "cli/help.h"

#include <fmt/format.h>

#include <vector>

#include "cli/table.h"
#include "hunch/version.h"

namespace hunch::cli {
namespace {

constexpr size_t kColumn = 26, kWidth = 80;

// A command too long for a line goes on in the next one, as a shell reads it; it is broken before options and between
// words.
std::string example(std::string_view command) {
  std::string out = "  ", line;
  size_t begin = 0;
  bool quoted = false;
  std::vector<std::string> words;
  for (size_t i = 0; i <= command.size(); ++i) {
    if (i < command.size() && command[i] == '"') quoted = !quoted;
    if (i < command.size() && (command[i] != ' ' || quoted)) continue;
    words.emplace_back(command.substr(begin, i - begin));
    begin = i + 1;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    // An option stays with its value.
    std::string piece = words[i];
    if (piece.starts_with('-') && i + 1 < words.size() && !words[i + 1].starts_with('-')) piece += " " + words[++i];
    if (!line.empty() && 2 + line.size() + 1 + piece.size() + 2 > kWidth) {
      out += line + " \\\n";
      line = "    ";
    }
    line += (line.empty() || line.ends_with("    ") ? "" : " ") + piece;
  }
  return out + line + "\n";
}

}  // namespace

std::string overview(const std::vector<Verb>& all) {
  std::string out = "hunch " HUNCH_VERSION
                    ": runs large language models by reading only the weights that matter\n\n"
                    "  hunch VERB MODEL [options]\n";
  std::string group;
  for (const Verb& verb : all) {
    if (verb.group != group) out += fmt::format("\n{}\n", group = verb.group);
    out += fmt::format("  {:<12} {}\n", verb.name, verb.summary);
  }
  out +=
      "\nMODEL is a GGUF file, a Hugging Face folder, a llama2.c .bin, a hub id such as\n"
      "facebook/opt-1.3b, or a short name such as qwen3:0.6b (`hunch list --known`).\n"
      "`hunch help VERB` shows a verb's options, `hunch --version` which hunch this is.\n"
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\n"
      "Environment: HUNCH_HOME (cache), HF_ENDPOINT, HF_TOKEN, and twins of the\n"
      "engine's options such as HUNCH_THREADS.\n";
  return out;
}

std::string help(const Verb& verb, const Grammar& grammar) {
  std::string out = fmt::format("hunch {}: {}\n\n  {}\n", verb.name, verb.summary,
                                paragraph(fmt::format("hunch {} {}", verb.name, verb.arguments), 6, kWidth));
  std::string section;
  bool twins = false;
  for (const OptionHelp& option : grammar.options()) {
    if (option.section != section) out += fmt::format("\n{}\n", section = option.section);
    const std::string left = "  " + option.name;
    std::string right = option.help;
    if (!option.shown_default.empty()) right += " (default: " + option.shown_default + ")";
    twins = twins || option.has_twin;
    out += left.size() < kColumn - 1 ? left + std::string(kColumn - left.size(), ' ')
                                     : left + "\n" + std::string(kColumn, ' ');
    out += paragraph(right, kColumn, kWidth) + "\n";
  }
  if (twins)
    out +=
        "\nEach option of the engine has a twin in the environment: --ctx is HUNCH_CTX,\n"
        "--threads HUNCH_THREADS, and so on.\n";
  if (*verb.examples) {
    out += "\nExamples\n";
    std::string_view rest = verb.examples;
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1))
      out += example(rest.substr(0, end));
  }
  return out;
}

}  // namespace hunch::cli
