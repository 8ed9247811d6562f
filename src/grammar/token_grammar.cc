#include "grammar/token_grammar.h"

#include <algorithm>
#include <unordered_set>

namespace hunch::grammar {
namespace {

constexpr size_t kMostKept = 2000;    // sets of tokens of a grammar, 16 KB each at 128k tokens
constexpr size_t kMostMasks = 64;     // of one text
constexpr size_t kMostTables = 8000;  // of 1 KB

void set(std::vector<uint64_t>& mask, std::span<const int32_t> tokens) {
  for (const int32_t id : tokens) mask[size_t(id) / 64] |= uint64_t(1) << (id % 64);
}

uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace

TokenGrammar::TokenGrammar(const Rules& rules, std::shared_ptr<const TokenTrie> trie)
    : automaton_(rules), trie_(std::move(trie)) {
  classify();
}

// After n rounds two states are of one kind if no text of n bytes tells them apart, as far as it stays within their
// rule and those that it calls. Kinds are hashes of 64 bits: two that should differ are equal with a probability below
// 1e-8.
void TokenGrammar::classify() {
  const size_t n = automaton_.n_states();
  std::vector<uint64_t> next(n);
  kinds_.resize(n);
  for (uint32_t q = 0; q < n; ++q) kinds_[q] = automaton_.state(q).accepts;
  size_t n_kinds = 0;
  for (size_t round = 0; round < trie_->longest() + 1; ++round) {
    const auto reached = [&](uint32_t to) {
      uint64_t sum = 0;
      for (const uint32_t q : automaton_.closure(to)) sum += mix(kinds_[q] + 0x9e3779b97f4a7c15);
      return sum;
    };
    for (uint32_t q = 0; q < n; ++q) {
      const Automaton::State& s = automaton_.state(q);
      uint64_t sum = s.accepts;
      for (const auto& e : s.edges) sum += mix(mix(reached(e.to)) + (uint64_t(e.first) << 8 | e.last));
      for (const auto& c : s.calls) sum += mix(mix(reached(c.to)) + (uint64_t(c.rule) << 16 | 0x10000000000000));
      next[q] = mix(sum + 1);
    }
    kinds_.swap(next);
    const size_t n_now = std::unordered_set<uint64_t>(kinds_.begin(), kinds_.end()).size();
    if (round && n_now == n_kinds) break;
    n_kinds = n_now;
  }
}

std::shared_ptr<const TokenGrammar::Within> TokenGrammar::within(std::span<const uint32_t> states) const {
  std::vector<uint64_t> key;
  for (const uint32_t q : states) key.push_back(kinds_[q]);
  std::ranges::sort(key);
  key.erase(std::unique(key.begin(), key.end()), key.end());
  const std::lock_guard lock(mutex_);
  if (const auto found = within_.find(key); found != within_.end()) return found->second;
  if (within_.size() >= kMostKept) within_.clear();
  return within_[key] = std::make_shared<const Within>(walk(states));
}

TokenGrammar::Within TokenGrammar::walk(std::span<const uint32_t> begin) const {
  if (!states_ || states_->size() > 50'000) states_.emplace(automaton_);
  States& states = *states_;
  states.forget_bytes(kMostTables);
  Within out;
  out.allowed.assign((trie_->n_tokens() + 63) / 64, 0);
  std::array<States::Id, 256> path;
  path[0] = states.of(begin);
  if (path[0] == States::kDead) return out;
  for (size_t i = 0; i < trie_->n_nodes();) {
    const TokenTrie::Node& node = trie_->node(i);
    const States::Id at = states.step(path[node.depth - 1], node.byte);
    if (at == States::kDead) {
      i = node.end;
      continue;
    }
    path[node.depth] = at;
    set(out.allowed, trie_->tokens(i, i + 1));
    const bool has_more = node.end > i + 1;
    if (has_more && states.is_complete(at)) out.exits.push_back(uint32_t(i));
    i = states.is_over(at) ? node.end : i + 1;
  }
  return out;
}

Matcher::Matcher(std::shared_ptr<const TokenGrammar> grammar)
    : grammar_(std::move(grammar)), states_(grammar_->automaton()) {
  path_.push_back(states_.start());
}

// The tokens that go on below the node, of which what stands before was read.
void Matcher::add(States::Id from, uint32_t first, std::vector<uint64_t>& mask) {
  const TokenTrie& trie = grammar_->trie();
  std::array<States::Id, 256> path;
  path[trie.node(first).depth] = from;
  for (size_t i = first + 1; i < trie.node(first).end;) {
    const TokenTrie::Node& node = trie.node(i);
    const States::Id at = states_.step(path[node.depth - 1], node.byte);
    if (at == States::kDead) {
      i = node.end;
      continue;
    }
    path[node.depth] = at;
    set(mask, trie.tokens(i, i + 1));
    ++i;
  }
}

std::span<const uint64_t> Matcher::mask() {
  const States::Id id = path_.back();
  if (const auto found = masks_.find(id); found != masks_.end() && !has_ended_) return found->second;
  states_.forget_bytes(kMostTables);
  if (masks_.size() >= kMostMasks) masks_.clear();
  const TokenTrie& trie = grammar_->trie();
  std::vector<uint64_t> mask((trie.n_tokens() + 63) / 64);
  if (has_ended_) return masks_[States::kDead] = std::move(mask);
  const std::vector<States::Place> places(states_.places(id).begin(), states_.places(id).end());
  std::vector<uint32_t> together;
  for (size_t i = 0; i < places.size();) {
    const uint32_t frame = places[i].frame;
    together.clear();
    for (; i < places.size() && places[i].frame == frame; ++i) together.push_back(places[i].state);
    const auto within = grammar_->within(together);
    for (size_t w = 0; w < mask.size(); ++w) mask[w] |= within->allowed[w];
    const States::Id after = states_.after(frame);
    if (after == States::kDead || states_.is_over(after)) continue;
    for (const uint32_t node : within->exits) add(after, node, mask);
  }
  if (states_.is_complete(id)) set(mask, trie.ends());
  return masks_[id] = std::move(mask);
}

bool Matcher::accept(int32_t token) {
  const TokenTrie& trie = grammar_->trie();
  if (token < 0 || size_t(token) >= trie.n_tokens() || has_ended_) return false;
  if (!trie.is_end(token)) return !trie.bytes(token).empty() && accept_bytes(trie.bytes(token));
  if (!is_complete()) return false;
  has_ended_ = true;
  path_.push_back(path_.back());
  return true;
}

bool Matcher::accept_bytes(std::string_view bytes) {
  States::Id at = path_.back();
  for (const char c : bytes)
    if (at = states_.step(at, uint8_t(c)); at == States::kDead) return false;
  path_.push_back(at);
  return true;
}

void Matcher::go_back(size_t n) {
  path_.resize(path_.size() - std::min(n, n_accepted()));
  if (n) has_ended_ = false;
}

}  // namespace hunch::grammar
