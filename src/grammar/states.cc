#include "grammar/states.h"

#include <algorithm>

#include "base/error.h"

namespace hunch::grammar {
namespace {

uint64_t hash_of(std::span<const States::Place> places, uint64_t seed) {
  uint64_t h = seed;
  for (const States::Place& p : places) {
    h ^= uint64_t(p.state) << 32 | p.frame;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9;
    h ^= h >> 31;
  }
  return h;
}

void sort_once(std::vector<States::Place>& places) {
  std::ranges::sort(places, [](const States::Place& a, const States::Place& b) {
    return a.frame != b.frame ? a.frame < b.frame : a.state < b.state;
  });
  places.erase(std::unique(places.begin(), places.end()), places.end());
}

}  // namespace

States::Id States::intern(std::vector<Place>& places, bool complete) {
  if (places.empty() && !complete) return kDead;
  sort_once(places);
  const uint64_t hash = hash_of(places, complete);
  for (auto [at, end] = set_ids_.equal_range(hash); at != end; ++at) {
    const Set& set = sets_[size_t(at->second)];
    if (set.complete == complete && set.places == places) return at->second;
  }
  n_places_ += places.size() + 1;
  if (n_places_ > kMostPlaces)
    fail(ErrorKind::kLimit,
         "the grammar is too ambiguous for a text of this length: its rules can match in too many ways");
  const Id id = Id(sets_.size());
  sets_.push_back({places, complete});
  set_ids_.emplace(hash, id);
  return id;
}

uint32_t States::frame_of(std::vector<Place>& returns) {
  sort_once(returns);
  const uint64_t hash = hash_of(returns, 7);
  for (auto [at, end] = frame_ids_.equal_range(hash); at != end; ++at)
    if (frames_[at->second] == returns) return at->second;
  n_places_ += returns.size();
  frames_.push_back(returns);
  frame_ids_.emplace(hash, uint32_t(frames_.size() - 1));
  return uint32_t(frames_.size() - 1);
}

States::Id States::start() {
  std::vector<Place> places;
  for (const uint32_t q : automaton_.starts(automaton_.root()))
    if (!automaton_.state(q).edges.empty() || !automaton_.state(q).calls.empty()) places.push_back({q, kOutside});
  return intern(places, automaton_.root_accepts_nothing());
}

States::Id States::of(std::span<const uint32_t> states) {
  std::vector<Place> places;
  for (const uint32_t q : states) places.push_back({q, kOutside});
  return intern(places, false);
}

void States::add(uint32_t q, uint32_t frame, std::vector<Place>& places, bool& complete) {
  todo_.assign(1, {q, frame});
  while (!todo_.empty()) {
    const auto [at, of] = todo_.back();
    todo_.pop_back();
    for (const uint32_t e : automaton_.closure(at)) {
      const Automaton::State& s = automaton_.state(e);
      if (!s.edges.empty() || !s.calls.empty()) places.push_back({e, of});
      if (!s.accepts) continue;
      if (of == kOutside) complete = true;
      if (std::ranges::find(ended_, of) != ended_.end()) continue;
      ended_.push_back(of);
      for (const Place& to : frames_[of]) todo_.emplace_back(to.state, to.frame);
    }
  }
}

States::Id States::after(uint32_t frame) {
  if (frame == kOutside) return kDead;
  const auto [at, is_new] = after_.try_emplace(frame, kDead);
  if (!is_new) return at->second;
  std::vector<Place> places;
  bool complete = false;
  ended_.assign(1, frame);
  const std::vector<Place> returns = frames_[frame];
  for (const Place& to : returns) add(to.state, to.frame, places, complete);
  return after_[frame] = intern(places, complete);
}

// Rules that are called here begin; in an order in which all of a rule's callers are known before it does.
void States::expand(Id id) {
  callers_.resize(automaton_.n_rules());
  std::vector<Place> expanded = sets_[size_t(id)].places;
  bool any = false;
  const auto call = [&](const Place& p) {
    for (const Automaton::Call& c : automaton_.state(p.state).calls) {
      callers_[c.rule].push_back({c.to, p.frame});
      any = true;
    }
  };
  for (const Place& p : sets_[size_t(id)].places) call(p);
  if (any) {
    for (const uint32_t rule : automaton_.order()) {
      if (callers_[rule].empty()) continue;
      const uint32_t frame = frame_of(callers_[rule]);
      callers_[rule].clear();
      for (const uint32_t q : automaton_.starts(rule)) {
        expanded.push_back({q, frame});
        call(expanded.back());
      }
    }
  }
  std::erase_if(expanded, [&](const Place& p) { return automaton_.state(p.state).edges.empty(); });
  Set& set = sets_[size_t(id)];
  set.expanded = std::move(expanded);
  set.next = std::make_unique<std::array<Id, 256>>();
  set.next->fill(kDead);
  for (const Place& p : set.expanded)
    for (const Automaton::Edge& edge : automaton_.state(p.state).edges)
      std::fill(set.next->begin() + edge.first, set.next->begin() + edge.last + 1, kUnknown);
  ++n_tables_;
}

States::Id States::find_next(Id id, uint8_t byte) {
  std::vector<Place> places;
  bool complete = false;
  ended_.clear();
  for (const Place& p : sets_[size_t(id)].expanded)
    for (const Automaton::Edge& edge : automaton_.state(p.state).edges)
      if (edge.first <= byte && byte <= edge.last) add(edge.to, p.frame, places, complete);
  const Id to = intern(places, complete);
  (*sets_[size_t(id)].next)[byte] = to;
  return to;
}

void States::forget_bytes(size_t n) {
  if (n_tables_ <= n) return;
  n_tables_ = 0;
  for (Set& set : sets_) {
    set.next.reset();
    set.expanded = {};
  }
}

}  // namespace hunch::grammar
