#include "grammar/dfa.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "grammar/automaton.h"

namespace hunch::grammar {

void Dfa::add_state(bool accepts) {
  if (accepts_.size() >= kMostStates)
    fail(ErrorKind::kLimit, "a regular expression of the grammar is too large: more than {} states", kMostStates);
  accepts_.push_back(accepts);
  next_.emplace_back().fill(-1);
}

// The subset construction.
Dfa::Dfa(const Expr& expression) {
  Rules rules;
  rules.add("regex", choice({expression, literal("\xFF")}));  // never without a text: what matches none is a Dfa too
  const Automaton a(rules);
  std::map<std::vector<uint32_t>, int32_t> ids;
  std::vector<std::vector<uint32_t>> sets;
  const auto id_of = [&](std::vector<uint32_t> set) {
    std::ranges::sort(set);
    set.erase(std::unique(set.begin(), set.end()), set.end());
    const auto [at, is_new] = ids.try_emplace(set, int32_t(sets.size()));
    if (is_new) {
      add_state(std::ranges::any_of(set, [&](uint32_t q) { return a.state(q).accepts; }));
      sets.push_back(std::move(set));
    }
    return at->second;
  };
  const std::span<const uint32_t> starts = a.starts(0);
  id_of({starts.begin(), starts.end()});
  for (size_t i = 0; i < sets.size(); ++i) {
    const std::vector<uint32_t> set = sets[i];
    // Where an edge begins or ends, another set may follow.
    std::vector<unsigned> cuts = {0, 0xFF};  // 0xFF is in no UTF-8
    for (const uint32_t q : set)
      for (const Automaton::Edge& edge : a.state(q).edges) {
        cuts.push_back(edge.first);
        cuts.push_back(unsigned(edge.last) + 1);
      }
    std::ranges::sort(cuts);
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    for (size_t c = 0; c + 1 < cuts.size() && cuts[c] < 0xFF; ++c) {
      std::vector<uint32_t> target;
      for (const uint32_t q : set)
        for (const Automaton::Edge& edge : a.state(q).edges)
          if (edge.first <= cuts[c] && cuts[c] <= edge.last)
            target.insert(target.end(), a.closure(edge.to).begin(), a.closure(edge.to).end());
      if (target.empty()) continue;
      const int32_t to = id_of(std::move(target));
      for (unsigned b = cuts[c]; b < cuts[c + 1]; ++b) next_[i][b] = to;
    }
  }
}

std::shared_ptr<const Dfa> Dfa::combined(const Dfa& a, const Dfa& b, bool wants_b) {
  std::shared_ptr<Dfa> out(new Dfa);
  std::map<std::pair<int32_t, int32_t>, int32_t> ids;
  std::vector<std::pair<int32_t, int32_t>> pairs;
  const auto id_of = [&](int32_t p, int32_t q) {
    if (p < 0 || (wants_b && q < 0)) return -1;
    const auto [at, is_new] = ids.try_emplace({p, q}, int32_t(pairs.size()));
    if (is_new) {
      out->add_state(a.accepts(uint32_t(p)) && (q >= 0 && b.accepts(uint32_t(q))) == wants_b);
      pairs.emplace_back(p, q);
    }
    return at->second;
  };
  id_of(0, 0);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [p, q] = pairs[i];
    for (unsigned c = 0; c < 256; ++c)
      out->next_[i][c] = id_of(a.next(uint32_t(p), uint8_t(c)), q < 0 ? -1 : b.next(uint32_t(q), uint8_t(c)));
  }
  return out;
}

std::shared_ptr<const Dfa> Dfa::both(const Dfa& a, const Dfa& b) { return combined(a, b, true); }
std::shared_ptr<const Dfa> Dfa::without(const Dfa& a, const Dfa& b) { return combined(a, b, false); }

bool Dfa::matches(std::string_view text) const {
  int32_t q = 0;
  for (const char c : text)
    if (q = next(uint32_t(q), uint8_t(c)); q < 0) return false;
  return accepts(uint32_t(q));
}

// Every state of a Dfa of an expression can be reached.
bool Dfa::matches_any() const { return std::ranges::find(accepts_, true) != accepts_.end(); }

}  // namespace hunch::grammar
