// What holding an answer to a grammar costs, beside a step of the model:
//   cmake --preset release -B build/release -DHUNCH_BENCH=ON && ninja -C build/release bench_grammar
//   build/release/bench_grammar TOKENIZER_FOLDER SCHEMA.json [ANSWER.json]
// It takes the answer's tokens, as the tokenizer writes them (any that the grammar allows, greedily by length, where
// none is given), and tells the time to compile, and of a mask with and without what earlier answers left: median, 99th
// of 100, worst, in processor time.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"
#include "text/hf_tokenizer.h"

namespace {

using namespace hunch;
// Of this thread's own time: other programs do not count.
struct Clock {
  static double now() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * double(t.tv_sec) + 1e-6 * double(t.tv_nsec);
  }
};
double ms_since(double from) { return Clock::now() - from; }

void print(const char* what, std::vector<double> ms) {
  std::ranges::sort(ms);
  const auto at = [&](double q) { return ms[std::min(ms.size() - 1, size_t(q * double(ms.size())))]; };
  fmt::print("{:28} n {:5}  median {:.4f} ms  p99 {:.4f}  worst {:.4f}\n", what, ms.size(), at(0.5), at(0.99),
             ms.back());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return fmt::print(stderr, "usage: bench_grammar TOKENIZER_FOLDER SCHEMA.json [ANSWER.json]\n"), 2;
  try {
    const Tokenizer tokenizer(*tokenizer_spec_from_hf_folder(argv[1], "llama", ""));
    const auto schema = nlohmann::ordered_json::parse(read_file(argv[2]));
    auto begin = Clock::now();
    const auto trie = std::make_shared<grammar::TokenTrie>(tokenizer);
    fmt::print("{} tokens, {} nodes: {:.1f} ms once for a model\n", trie->n_tokens(), trie->n_nodes(), ms_since(begin));
    begin = Clock::now();
    const auto compiled = std::make_shared<grammar::TokenGrammar>(grammar::schema_rules(schema), trie);
    fmt::print("{} states: compiled in {:.1f} ms\n", compiled->automaton().n_states(), ms_since(begin));
    std::vector<int32_t> ids;
    if (argc > 3) ids = tokenizer.encode(read_file(argv[3]), {.add_special = false});
    for (int round = 0; round < 3; ++round) {
      grammar::Matcher matcher(compiled);
      std::vector<double> masks, accepts;
      for (size_t i = 0; !matcher.is_over() && i < std::max<size_t>(ids.size(), 400); ++i) {
        begin = Clock::now();
        const std::span<const uint64_t> mask = matcher.mask();
        masks.push_back(ms_since(begin));
        int32_t next = -1;
        if (!ids.empty()) {
          if (i == ids.size()) break;
          next = ids[i];
        } else {  // a token somewhere in the mask, another one at each step
          for (size_t k = 0; k < trie->n_tokens() && next < 0; ++k) {
            const size_t id = (k + i * 7919) % trie->n_tokens();
            if (mask[id / 64] >> (id % 64) & 1 && !trie->is_end(int32_t(id))) next = int32_t(id);
          }
        }
        begin = Clock::now();
        if (next < 0 || !matcher.accept(next))
          return fmt::print(stderr, "the answer is not of the schema, at token {}\n", i), 1;
        accepts.push_back(ms_since(begin));
      }
      print(round == 0 ? "masks, first answer" : "masks, later answer", masks);
      if (round == 2) print("accepting a token", accepts);
    }
  } catch (const std::exception& e) {
    return fmt::print(stderr, "{}\n", e.what()), 1;
  }
  return 0;
}
