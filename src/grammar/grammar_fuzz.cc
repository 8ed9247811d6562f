// Any bytes as a grammar of each notation: a grammar or an error, and what a matcher accepts byte by byte its masks
// allow.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "grammar/token_grammar.h"

namespace {

using namespace hunch;
using namespace hunch::grammar;

void walk(const Rules& rules, const std::shared_ptr<const TokenTrie>& trie, uint8_t seed) {
  const auto compiled = std::make_shared<TokenGrammar>(rules, trie);
  if (compiled->automaton().n_states() > 20'000) return;
  Matcher matcher(compiled);
  for (int step = 0; step < 12 && !matcher.is_over(); ++step) {
    const std::span<const uint64_t> mask = matcher.mask();
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < int32_t(trie->n_tokens()); ++id)
      if (mask[size_t(id) / 64] >> (id % 64) & 1) allowed.push_back(id);
    if (allowed.empty()) std::abort();  // every byte is a token: a dead end
    if (!matcher.accept(allowed[seed % allowed.size()])) std::abort();
    seed = uint8_t(seed * 5 + 3);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto trie = [] {
    std::vector<std::string> tokens = {""};
    for (int b = 0; b < 256; ++b) tokens.push_back({char(b)});
    for (const char* more : {"{\"", "\": ", "\", \"", "\"}", "ab", "aa", "\n  ", "12", "true", "null"})
      tokens.push_back(more);
    return std::make_shared<const TokenTrie>(std::move(tokens), std::vector<int32_t>{0});
  }();
  if (size < 2 || size > 4000) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 3 == 0) {
      walk(parse_gbnf(text), trie, data[0]);
    } else if (data[0] % 3 == 1) {
      Rules rules;
      rules.add("root", parse_regex(text, {.searches = data[0] % 2 == 0}));
      walk(rules, trie, data[0]);
    } else {
      const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
      if (!json.is_discarded()) walk(schema_rules(json, {.as_specified = data[0] % 2 == 0}), trie, data[0]);
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kUsage && e.kind() != ErrorKind::kUnsupported && e.kind() != ErrorKind::kLimit)
      std::abort();
  }
  return 0;
}
