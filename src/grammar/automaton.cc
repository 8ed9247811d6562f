#include "grammar/automaton.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "grammar/dfa.h"

namespace hunch::grammar {

// Thompson's construction, with edges of ranges of bytes.
class Automaton::Builder {
 public:
  Builder(Automaton& a, const Rules& rules) : a_(a), rules_(rules) {}

  uint32_t add_state() {
    if (a_.states_.size() >= kMostStates)
      fail(ErrorKind::kLimit, "the grammar is too large: more than {} states; long repetitions multiply", kMostStates);
    a_.states_.emplace_back();
    a_.epsilons_.emplace_back();
    return uint32_t(a_.states_.size() - 1);
  }
  // From state `from` over the expression to the state that is returned.
  uint32_t add(const Expression& e, uint32_t from) {
    switch (e.kind) {
      case Expression::Kind::kBytes:
        for (const char c : e.bytes) from = add_edge(from, uint8_t(c), uint8_t(c));
        return from;
      case Expression::Kind::kChars: {
        const uint32_t to = add_state();
        for (const auto& ranges : utf8_ranges(e.chars)) {
          uint32_t at = from;
          for (size_t i = 0; i + 1 < ranges.size(); ++i) at = add_edge(at, ranges[i].first, ranges[i].second);
          a_.states_[at].edges.push_back({ranges.back().first, ranges.back().second, to});
        }
        return to;
      }
      case Expression::Kind::kSequence:
        for (const Expr& part : e.parts) from = add(*part, from);
        return from;
      case Expression::Kind::kChoice: {
        const uint32_t to = add_state();
        for (const Expr& part : e.parts) {
          const uint32_t begin = add_state();
          skip(from, begin);
          skip(add(*part, begin), to);
        }
        return to;
      }
      case Expression::Kind::kRepeat: return add_repeat(*e.parts[0], e.least, e.most, from);
      case Expression::Kind::kFields: return add_fields(e, from);
      case Expression::Kind::kRule: {
        if (e.rule >= rules_.rules.size() || !rules_.rules[e.rule].body)
          fail(ErrorKind::kUsage, "the grammar uses the rule '{}', which is not defined",
               e.rule < rules_.rules.size() ? rules_.rules[e.rule].name : "?");
        const uint32_t to = add_state();
        a_.states_[from].calls.push_back({e.rule, to});
        return to;
      }
      case Expression::Kind::kDfa: return add_dfa(*e.dfa, from);
    }
    return from;
  }

 private:
  uint32_t add_edge(uint32_t from, uint8_t first, uint8_t last) {
    const uint32_t to = add_state();
    a_.states_[from].edges.push_back({first, last, to});
    return to;
  }
  void skip(uint32_t from, uint32_t to) { a_.epsilons_[from].push_back(to); }
  uint32_t fresh(uint32_t from) {
    const uint32_t to = add_state();
    skip(from, to);
    return to;
  }

  uint32_t add_repeat(const Expression& part, uint32_t least, uint32_t most, uint32_t from) {
    from = fresh(from);  // no edge leads back into what stands before
    for (uint32_t i = 0; i < least; ++i) from = fresh(add(part, from));
    if (most == kNoLimit) {
      const uint32_t loop = fresh(from);
      skip(add(part, loop), loop);
      return fresh(loop);
    }
    const uint32_t end = add_state();
    for (uint32_t i = least; i < most; ++i) {
      skip(from, end);
      from = fresh(add(part, from));
    }
    skip(from, end);
    return end;
  }

  // `none`: where no part was yet; `some`: where a separator has to come first.
  uint32_t add_fields(const Expression& e, uint32_t from) {
    uint32_t none = fresh(from), some = add_state();
    for (size_t i = 0; i < e.parts.size(); ++i) {
      const uint32_t part = add_state(), next_none = add_state(), next_some = add_state();
      skip(none, part);
      skip(add(*e.separator, some), part);
      skip(add(*e.parts[i], part), next_some);
      if (!e.required[i]) {
        skip(none, next_none);
        skip(some, next_some);
      }
      none = next_none;
      some = next_some;
    }
    const uint32_t end = add_state();
    skip(none, end);
    skip(some, end);
    return end;
  }

  uint32_t add_dfa(const Dfa& dfa, uint32_t from) {
    const uint32_t first = uint32_t(a_.states_.size()), end_offset = uint32_t(dfa.n_states());
    for (size_t i = 0; i <= dfa.n_states(); ++i) add_state();
    const uint32_t end = first + end_offset;
    for (uint32_t q = 0; q < dfa.n_states(); ++q) {
      if (dfa.accepts(q)) skip(first + q, end);
      for (unsigned b = 0; b < 256;) {
        const int32_t to = dfa.next(q, uint8_t(b));
        unsigned last = b;
        while (last < 255 && dfa.next(q, uint8_t(last + 1)) == to) ++last;
        if (to >= 0) a_.states_[first + q].edges.push_back({uint8_t(b), uint8_t(last), first + uint32_t(to)});
        b = last + 1;
      }
    }
    skip(from, first);
    return end;
  }

  Automaton& a_;
  const Rules& rules_;
};

Automaton::Automaton(const Rules& rules) : root_(rules.root) {
  Builder builder(*this, rules);
  for (const Rule& rule : rules.rules) {
    first_.push_back(builder.add_state());
    last_.push_back(rule.body ? builder.add(*rule.body, first_.back()) : first_.back());
    // A rule that nobody defined is refused where it is used.
    if (rule.body) states_[last_.back()].accepts = true;
  }
  find_nullable();
  find_productive(rules);
  close();
  sort_rules(rules);
}

// Which rules match the empty text; their calls may be skipped.
void Automaton::find_nullable() {
  nullable_.assign(first_.size(), false);
  std::vector<bool> seen(states_.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t rule = 0; rule < first_.size(); ++rule) {
      if (nullable_[rule]) continue;
      std::vector<uint32_t> todo = {first_[rule]}, visited = todo;
      seen[first_[rule]] = true;
      const auto visit = [&](uint32_t q) {
        if (seen[q]) return;
        seen[q] = true;
        todo.push_back(q);
        visited.push_back(q);
      };
      while (!todo.empty()) {
        const uint32_t q = todo.back();
        todo.pop_back();
        for (const uint32_t to : epsilons_[q]) visit(to);
        for (const Call& call : states_[q].calls)
          if (nullable_[call.rule]) visit(call.to);
      }
      nullable_[rule] = states_[last_[rule]].accepts && seen[last_[rule]];
      changed = changed || nullable_[rule];
      for (const uint32_t q : visited) seen[q] = false;
    }
  }
  for (size_t q = 0; q < states_.size(); ++q)
    for (const Call& call : states_[q].calls)
      if (nullable_[call.rule]) epsilons_[q].push_back(call.to);
}

// Drops what leads to no end: a state is alive if an end of its rule can be reached, by calls of rules that can end.
void Automaton::find_productive(const Rules& rules) {
  std::vector<std::vector<uint32_t>> before(states_.size());                       // by edges and epsilons
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> waiting(first_.size());  // calls of a rule: from, to
  for (uint32_t q = 0; q < states_.size(); ++q) {
    for (const uint32_t to : epsilons_[q]) before[to].push_back(q);
    for (const Edge& edge : states_[q].edges) before[edge.to].push_back(q);
    for (const Call& call : states_[q].calls) waiting[call.rule].emplace_back(q, call.to);
  }
  std::vector<bool> alive(states_.size()), ends(first_.size());
  std::vector<uint32_t> todo, rule_at(states_.size(), UINT32_MAX);
  for (uint32_t rule = 0; rule < first_.size(); ++rule) rule_at[first_[rule]] = rule;
  const auto revive = [&](uint32_t q) {
    if (alive[q]) return;
    alive[q] = true;
    todo.push_back(q);
  };
  for (uint32_t q = 0; q < states_.size(); ++q)
    if (states_[q].accepts) revive(q);
  std::vector<std::vector<uint32_t>> callers(states_.size());  // by calls of rules that end, to here
  while (!todo.empty()) {
    const uint32_t q = todo.back();
    todo.pop_back();
    for (const uint32_t from : before[q]) revive(from);
    for (const uint32_t from : callers[q]) revive(from);
    const uint32_t rule = rule_at[q];
    if (rule == UINT32_MAX || ends[rule]) continue;
    ends[rule] = true;
    for (const auto& [from, to] : waiting[rule]) {
      callers[to].push_back(from);
      if (alive[to]) revive(from);
    }
  }
  if (!ends[root_]) fail(ErrorKind::kUsage, "no text matches the grammar (rule '{}')", rules.rules[root_].name);
  for (uint32_t q = 0; q < states_.size(); ++q) {
    std::erase_if(states_[q].edges, [&](const Edge& edge) { return !alive[edge.to]; });
    std::erase_if(states_[q].calls, [&](const Call& call) { return !ends[call.rule] || !alive[call.to]; });
    std::erase_if(epsilons_[q], [&](uint32_t to) { return !alive[to]; });
  }
}

void Automaton::close() {
  closures_.resize(states_.size());
  std::vector<uint32_t> stamp(states_.size(), UINT32_MAX), todo;
  size_t n_total = 0;
  for (uint32_t q = 0; q < states_.size(); ++q) {
    todo.assign(1, q);
    stamp[q] = q;
    while (!todo.empty()) {
      const uint32_t at = todo.back();
      todo.pop_back();
      const State& s = states_[at];
      if (!s.edges.empty() || !s.calls.empty() || s.accepts) closures_[q].push_back(at);
      for (const uint32_t to : epsilons_[at])
        if (stamp[to] != q) {
          stamp[to] = q;
          todo.push_back(to);
        }
    }
    std::ranges::sort(closures_[q]);
    n_total += closures_[q].size();
    if (n_total > 20 * kMostStates)
      fail(ErrorKind::kLimit, "the grammar is too large: too many of its parts may be left out");
  }
  epsilons_ = {};
  for (const uint32_t q : first_) starts_.push_back(closures_[q]);
}

// Depth first; a rule that begins with itself, over however many others, is an error.
void Automaton::sort_rules(const Rules& rules) {
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> mark(first_.size(), kNew);
  struct Frame {
    uint32_t rule;
    std::vector<uint32_t> callees;
  };
  const auto begins_with = [&](uint32_t rule) {
    std::vector<uint32_t> out;
    for (const uint32_t q : starts_[rule])
      for (const Call& call : states_[q].calls) out.push_back(call.rule);
    std::ranges::sort(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  };
  for (uint32_t root = 0; root < first_.size(); ++root) {
    if (mark[root] != kNew) continue;
    std::vector<Frame> stack;
    stack.push_back({root, begins_with(root)});
    mark[root] = kOpen;
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.callees.empty()) {
        mark[top.rule] = kDone;
        order_.push_back(top.rule);
        stack.pop_back();
        continue;
      }
      const uint32_t next = top.callees.back();
      top.callees.pop_back();
      if (mark[next] == kOpen)
        fail(ErrorKind::kUsage,
             "the rule '{}' begins with itself (left recursion): write repetitions with * or with the rule at the end",
             rules.rules[next].name);
      if (mark[next] == kDone) continue;
      mark[next] = kOpen;
      stack.push_back({next, begins_with(next)});
    }
  }
  std::ranges::reverse(order_);
}

}  // namespace hunch::grammar
