#include "cli/verb_words.h"

namespace hunch::cli {

std::function<int()> add_words(const Verb& verb, Grammar& grammar, bool& wants_help) {
  auto call = verb.add(grammar);
  grammar.section("Output");
  grammar.flag("-h,--help", wants_help, "this text");
  return call;
}

std::vector<VerbWords> words_of(const std::vector<Verb>& all) {
  std::vector<VerbWords> out;
  for (const Verb& verb : all) {
    Grammar grammar;
    bool wants_help = false;
    add_words(verb, grammar, wants_help);
    out.push_back({&verb, grammar.arguments(), grammar.options()});
  }
  return out;
}

}  // namespace hunch::cli
