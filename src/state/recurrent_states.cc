#include "state/recurrent_states.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hunch {
namespace {

// Of a sequence without checkpoints.
size_t n_floats(const RecurrentSize& size) {
  return size.n_state ? 2 * size.n_state + RecurrentStates::kMostInputs * size.n_input : 0;
}

void copy(std::span<const float> from, std::span<float> to) { std::memcpy(to.data(), from.data(), from.size_bytes()); }

}  // namespace

size_t RecurrentStates::bytes_per_sequence(std::span<const RecurrentSize> layers) {
  size_t n = 0;
  for (const RecurrentSize& size : layers) n += n_floats(size) + kMostCheckpoints * size.n_state;
  return n * sizeof(float);
}

const RecurrentStates::Sequence& RecurrentStates::at(SequenceId id) const {
  HUNCH_CHECK(id < sequences_.size() && sequences_[id].alive, "sequence {} does not exist", id);
  return sequences_[id];
}

std::span<float> RecurrentStates::base_state(const Layer& l, size_t layer) const {
  return l.memory.as<float>().first(layers_[layer].n_state);
}
std::span<float> RecurrentStates::state(const Layer& l, size_t layer) const {
  return l.memory.as<float>().subspan(layers_[layer].n_state, layers_[layer].n_state);
}
MatView<float> RecurrentStates::inputs(const Layer& l, size_t layer) const {
  return {l.memory.as<float>().data() + 2 * layers_[layer].n_state, kMostInputs, layers_[layer].n_input};
}

StateStore::SequenceId RecurrentStates::create() {
  SequenceId id = SequenceId(sequences_.size());
  if (free_.empty()) {
    sequences_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Sequence& s = sequences_[id];
  s.alive = true;
  s.layers.resize(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i)
    if (layers_[i].n_state) s.layers[i].memory = AlignedBuffer(n_floats(layers_[i]) * sizeof(float));
  truncate(id, 0);
  return id;
}

StateStore::SequenceId RecurrentStates::fork(SequenceId parent) {
  at(parent);
  const SequenceId id = create();
  assign(id, parent);
  return id;
}

void RecurrentStates::assign(SequenceId to_id, SequenceId from_id) {
  const Sequence& from = at(from_id);
  Sequence& to = at(to_id);
  to.n_tokens = from.n_tokens;
  to.checkpoints = from.checkpoints;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = from.layers[i];
    if (layers_[i].n_state) copy(l.memory.as<float>(), to.layers[i].memory.as<float>());
    to.layers[i].base = l.base;
    to.layers[i].n_inputs = l.n_inputs;
    to.layers[i].seen = l.seen;
    to.layers[i].valid = l.valid;
  }
}

void RecurrentStates::release(SequenceId id) {
  at(id) = {};
  free_.push_back(id);
}

void RecurrentStates::append(SequenceId id, size_t n) { at(id).n_tokens += n; }

bool RecurrentStates::can_go_to(const Sequence& sequence, size_t n_tokens) const {
  for (size_t i = 0; i < layers_.size(); ++i)
    if (layers_[i].n_state && !sequence.layers[i].can_go_to(n_tokens)) return false;
  return true;
}

size_t RecurrentStates::back_to(SequenceId id, size_t n_tokens) const {
  const Sequence& s = at(id);
  if (can_go_to(s, n_tokens)) return n_tokens;
  size_t best = 0;
  for (const Checkpoint& c : s.checkpoints)
    if (c.n_tokens <= n_tokens) best = std::max(best, c.n_tokens);
  for (const Layer& l : s.layers)
    if (l.base <= n_tokens && l.base > best && can_go_to(s, l.base)) best = l.base;
  return best;
}

void RecurrentStates::truncate(SequenceId id, size_t n_tokens) {
  Sequence& s = at(id);
  const auto saved = std::ranges::find(s.checkpoints, n_tokens, &Checkpoint::n_tokens);
  const bool reachable = n_tokens > 0 && can_go_to(s, n_tokens);
  HUNCH_CHECK(n_tokens == 0 || reachable || saved != s.checkpoints.end(), "the states cannot go back to {} tokens",
              n_tokens);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i].n_state == 0) continue;
    Layer& l = s.layers[i];
    if (reachable) {
      l.valid = l.valid && l.seen == n_tokens;
      l.n_inputs = std::min(l.n_inputs, n_tokens - std::min(l.base, n_tokens));
      continue;
    }
    l.base = n_tokens;
    l.n_inputs = 0;
    l.valid = false;
    if (n_tokens > 0) {
      copy(saved->states[i], base_state(l, i));
    } else {
      std::ranges::fill(base_state(l, i), 0.0f);
    }
  }
  s.n_tokens = n_tokens;
  std::erase_if(s.checkpoints, [&](const Checkpoint& c) { return c.n_tokens > n_tokens; });
}

void RecurrentStates::checkpoint(SequenceId id) {
  Sequence& s = at(id);
  Checkpoint c{s.n_tokens, {}};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = s.layers[i];
    const bool has = layers_[i].n_state > 0;
    if (has && !(l.valid && l.seen == s.n_tokens)) return;
    const std::span<const float> now = has ? state(l, i) : std::span<float>();
    c.states.emplace_back(now.begin(), now.end());
  }
  std::erase_if(s.checkpoints, [&](const Checkpoint& other) { return other.n_tokens == c.n_tokens; });
  if (s.checkpoints.size() == kMostCheckpoints) s.checkpoints.erase(s.checkpoints.begin());
  s.checkpoints.push_back(std::move(c));
}

std::vector<size_t> RecurrentStates::points(SequenceId id) const {
  const Sequence& s = at(id);
  std::vector<size_t> out;
  for (const Checkpoint& c : s.checkpoints) out.push_back(c.n_tokens);
  std::ranges::sort(out);
  bool is_known = true;
  for (size_t i = 0; i < layers_.size(); ++i)
    is_known = is_known && (layers_[i].n_state == 0 || (s.layers[i].valid && s.layers[i].seen == s.n_tokens));
  if (is_known && s.n_tokens > 0 && (out.empty() || out.back() != s.n_tokens)) out.push_back(s.n_tokens);
  return out;
}

size_t RecurrentStates::floats_per_point(std::span<const RecurrentSize> layers) {
  size_t n = 0;
  for (const RecurrentSize& size : layers) n += size.n_state;
  return n;
}

std::vector<float> RecurrentStates::save(SequenceId id) const {
  const Sequence& s = at(id);
  std::vector<float> out;
  for (const size_t point : points(id)) {
    const auto saved = std::ranges::find(s.checkpoints, point, &Checkpoint::n_tokens);
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (layers_[i].n_state == 0) continue;
      const std::span<const float> there =
          saved != s.checkpoints.end() ? std::span<const float>(saved->states[i]) : state(s.layers[i], i);
      out.insert(out.end(), there.begin(), there.end());
    }
  }
  return out;
}

void RecurrentStates::load(SequenceId id, std::span<const size_t> points, std::span<const float> states) {
  Sequence& s = at(id);
  HUNCH_CHECK(s.n_tokens == 0 && s.checkpoints.empty() && !points.empty() &&
                  states.size() == points.size() * floats_per_point(layers_),
              "{} states of {} floats", points.size(), states.size());
  for (const size_t point : points) {
    Checkpoint c{point, {}};
    for (const RecurrentSize& size : layers_) {
      c.states.emplace_back(states.begin(), states.begin() + ptrdiff_t(size.n_state));
      states = states.subspan(size.n_state);
    }
    s.checkpoints.push_back(std::move(c));
  }
  if (s.checkpoints.size() > kMostCheckpoints) s.checkpoints.erase(s.checkpoints.begin());
  s.n_tokens = points.back();
  truncate(id, points.back());
}

// Moves the base on so that the inputs of n more tokens fit beside those that are kept.
void RecurrentStates::make_room(Layer& l, size_t layer, size_t n_before, size_t n, const Advance& advance) {
  const bool has_gap = l.n_inputs != n_before - l.base;  // a long step's inputs were not kept
  if (!has_gap && l.n_inputs + n <= kMostInputs) return;
  if (has_gap || n > kMostInputs - kKept || l.n_inputs <= kKept) {
    copy(state(l, layer), base_state(l, layer));
    l.base = n_before;
    l.n_inputs = 0;
    return;
  }
  const MatView<float> rows = inputs(l, layer);
  const size_t n_gone = l.n_inputs - kKept;
  advance(rows.row_range(0, n_gone), base_state(l, layer));
  std::memmove(rows.data, rows.row(n_gone).data(), kKept * rows.cols * sizeof(float));
  l.base += n_gone;
  l.n_inputs = kKept;
}

RecurrentStates::Turn RecurrentStates::begin(SequenceId id, size_t layer, size_t n, const Advance& advance) {
  Sequence& s = at(id);
  Layer& l = s.layers[layer];
  HUNCH_CHECK(layers_[layer].n_state > 0 && n <= s.n_tokens, "layer {}, {} of {} tokens", layer, n, s.n_tokens);
  const size_t n_before = s.n_tokens - n;
  HUNCH_CHECK(l.can_go_to(n_before), "layer {} has no state after {} tokens", layer, n_before);
  if (!l.valid || l.seen != n_before) {
    copy(base_state(l, layer), state(l, layer));
    if (n_before > l.base) advance(inputs(l, layer).row_range(0, n_before - l.base), state(l, layer));
    l.n_inputs = n_before - l.base;
  }
  l.seen = n_before;
  make_room(l, layer, n_before, n, advance);
  l.valid = false;  // until end()
  const size_t n_kept = n <= kMostInputs ? n : 0;
  return {state(l, layer), inputs(l, layer).row_range(l.n_inputs, n_kept)};
}

void RecurrentStates::end(SequenceId id, size_t layer) {
  Sequence& s = at(id);
  Layer& l = s.layers[layer];
  const size_t n = s.n_tokens - l.seen;
  if (n <= kMostInputs) l.n_inputs += n;
  l.seen = s.n_tokens;
  l.valid = true;
}

}  // namespace hunch
