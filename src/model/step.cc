#include "model/step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/model.h"
#include "model/ranks.h"
#include "select/relu_zeros.h"

namespace hunch {

Step::Step(const Model& model, KvCache& cache, Compute& compute, const StepInput& input, Observer* observer,
           StepStats& stats, StepMemory& memory)
    : compute(compute), cache(cache), input(input), observer(observer), stats(stats), memory(memory), model(model) {
  memory.first_token.clear();
  memory.first_position.clear();
  memory.positions.clear();
  memory.run_of.clear();
  memory.traits.clear();
  for (size_t r = 0; r < input.runs.size(); ++r) {
    const Run& run = input.runs[r];
    const size_t first = cache.n_tokens(run.sequence) - run.n_tokens;
    memory.first_token.push_back(memory.positions.size());
    memory.first_position.push_back(first);
    for (size_t i = 0; i < run.n_tokens; ++i) {
      memory.positions.push_back(first + i);
      memory.run_of.push_back(uint32_t(r));
      memory.traits.push_back({run.as_alone, run.adapter});
    }
    if (run.trace) run.trace->begin(run.n_tokens, model.config().n_layer);
    is_traced_ = is_traced_ || run.trace;
  }
  for (Answer& answer : memory.answers) answer.layer = SIZE_MAX;
  memory.rotations.clear();
  if (model.config().position == PositionKind::kRope)
    for (const RopeTable& rope : model.ropes()) memory.rotations.push_back(rotate(rope));
  memory.extended.assign(memory.rotations.size(), {});
  for (size_t i = 0; i < memory.rotations.size(); ++i)
    if (const SelfExtend& extend = model.config().rope_number(i).extend; extend.on())
      memory.extended[i] = {rotate_to(model.ropes()[i], [&](size_t n) { return extend.key_position(n); }),
                            rotate_to(model.ropes()[i], [&](size_t m) { return extend.far_position(m); })};
  stats.n_tokens += n_tokens();
  for (auto* counts : {&stats.active_neurons, &stats.all_neurons, &stats.active_heads, &stats.all_heads})
    counts->resize(model.config().n_layer);
}

void Step::throw_if_stopped() const {
  if (!model.ranks()) return compute.throw_if_stopped();
  if (model.ranks()->by_layers()) return;  // they are not in the same layer: rank 0 looks between steps
  if (model.ranks()->communicator().agree(compute.is_stopped())) throw Error(ErrorKind::kInterrupted, "interrupted");
}

void Step::begin_sum(MatView<float> x) const {
  HUNCH_CHECK(x.row_stride == x.cols, "rows of {} in {}", x.cols, x.row_stride);
  model.ranks()->sums().begin_sum({x.data, x.rows * x.cols});
}

void Step::finish_sum() const { model.ranks()->sums().finish_sum(); }

Rotation Step::rotate(const RopeTable& rope) {
  const MatView<float> both = take(n_tokens(), 2 * rope.n_pairs());
  const MatView<float> cos = both.col_range(0, rope.n_pairs()), sin = both.col_range(rope.n_pairs(), rope.n_pairs());
  for (size_t r = 0; r < runs().size(); ++r) {
    const size_t end = first_token(r) + runs()[r].n_tokens;
    // Where sinks have moved along, the text begins with them.
    const size_t begin = cache.n_moved(runs()[r].sequence);
    // Some scalings depend on the length of the text, which alone would end with each token.
    const size_t n_together = runs()[r].as_alone ? 1 : runs()[r].n_tokens;
    for (size_t first = first_token(r); first < end; first += n_together) {
      const size_t n_text = std::max(position(first) + n_together, runs()[r].n_text);
      const RopeTable::Frequencies frequencies = rope.frequencies(n_text - begin, memory.rope_frequencies);
      for (size_t t = first; t < first + n_together; ++t) rope.at(position(t), frequencies, cos.row(t), sin.row(t));
    }
  }
  return {cos, sin};
}

// By other positions than those of the tokens; of a rope that does not follow the length of the text.
template <class PositionOf>
Rotation Step::rotate_to(const RopeTable& rope, const PositionOf& position_of) {
  const MatView<float> both = take(n_tokens(), 2 * rope.n_pairs());
  const MatView<float> cos = both.col_range(0, rope.n_pairs()), sin = both.col_range(rope.n_pairs(), rope.n_pairs());
  const RopeTable::Frequencies frequencies = rope.frequencies(0, memory.rope_frequencies);
  for (size_t t = 0; t < n_tokens(); ++t) rope.at(position_of(position(t)), frequencies, cos.row(t), sin.row(t));
  return {cos, sin};
}

Rotation Step::near_turns(const LayerConfig& c, size_t first, size_t n) {
  const RopeTable& rope = model.rope(c);
  const size_t n_pairs = rope.n_pairs();
  memory.near_turns.resize(model.ropes().size());
  std::vector<float>& table = memory.near_turns[c.rope];
  const std::span<const double> frequencies = rope.frequencies(0, memory.rope_frequencies).of;
  for (size_t position = table.size() / (2 * n_pairs); position < first + n; ++position) {
    table.resize(table.size() + 2 * n_pairs);
    const std::span<float> turn = std::span(table).last(2 * n_pairs);
    rope.turn(position - c.extend.key_position(position), frequencies, turn.first(n_pairs), turn.last(n_pairs));
  }
  const MatView<const float> both(table.data() + first * 2 * n_pairs, n, 2 * n_pairs);
  return {both.col_range(0, n_pairs), both.col_range(n_pairs, n_pairs)};
}

Rotation Step::rotation_of(const LayerConfig& c, size_t position) {
  if (!c.rotates) return {};
  const RopeTable& rope = model.rope(c);
  size_t most_pairs = 0;
  for (const RopeTable& any : model.ropes()) most_pairs = std::max(most_pairs, any.n_pairs());
  memory.late_rope.resize(model.ropes().size() * KvCache::kMaxDeferred * 2 * most_pairs);
  memory.late_rope_position.resize(model.ropes().size() * KvCache::kMaxDeferred, SIZE_MAX);
  const size_t slot = c.rope * KvCache::kMaxDeferred + position % KvCache::kMaxDeferred;
  const MatView<float> cos(&memory.late_rope[slot * 2 * most_pairs], 1, rope.n_pairs());
  const MatView<float> sin(cos.data + most_pairs, 1, rope.n_pairs());
  if (memory.late_rope_position[slot] != position) {
    rope.at(position, rope.frequencies(position + 1, memory.rope_frequencies), cos.row(0), sin.row(0));
    memory.late_rope_position[slot] = position;
  }
  return {cos, sin};
}

void Step::temper(const LayerConfig& c, size_t first, MatView<float> queries) const {
  if (c.temperature.beta == 0) return;
  for (size_t t = 0; t < queries.rows; ++t) {
    const double floors = std::floor(double(position(first + t)) / double(c.temperature.n_floor));
    scale(float(1 + double(c.temperature.beta) * std::log1p(floors)), queries.row(t));
  }
}

RowSet Step::nonzero(MatView<const float> act) {
  if (memory.nonzero.size() < act.rows) memory.nonzero.resize(act.rows);
  for (size_t t = 0; t < act.rows; ++t) select_nonzero(act.row(t), memory.nonzero[t]);
  return {std::span(memory.nonzero).first(act.rows)};
}

// What the run's plan says there; nullptr: nothing.
const PlanEntry* Step::entry_of(const Run& run, size_t layer, Point point, InputPart part) const {
  if (!restricts(run)) return nullptr;
  const PlanEntry& entry = run.plan->at(layer, point, part);
  return entry.selector ? &entry : nullptr;
}

bool Step::asks(size_t layer, Point point, const TokenGroup& g, InputPart part) const {
  if (g.tokens.empty())
    return std::ranges::any_of(runs(), [&](const Run& run) { return entry_of(run, layer, point, part); });
  return std::ranges::any_of(g.tokens,
                             [&](uint32_t t) { return entry_of(runs()[memory.run_of[t]], layer, point, part); });
}

void Step::look(size_t layer, MatView<const float> attention_input) {
  const auto foresee = [&](size_t of_layer, Point point, Look look) {
    if (std::ranges::none_of(runs(), [&](const Run& run) {
          const PlanEntry* entry = entry_of(run, of_layer, point, InputPart::kAttention);
          return entry && entry->look == look;
        }))
      return;
    const LayerConfig& c = model.weights().layers[of_layer].config;
    const size_t n_rows = point == Point::kNeurons ? c.n_ff : c.n_kv_head;
    ask({of_layer, point, InputPart::kAttention, look, n_rows}, all(), attention_input, {});
    answer_of(of_layer, point, InputPart::kAttention).layer = of_layer;
  };
  foresee(layer, Point::kNeurons, Look::kAttention);
  foresee(layer + 1, Point::kHeads, Look::kPreviousAttention);
  if (model.weights().disk) read_ahead(layer);
}

RowSet Step::rows(size_t layer, Point point, const TokenGroup& g, MatView<const float> x, InputPart part, RowSet among,
                  size_t n_rows) {
  if (!asks(layer, point, g, part)) return among;
  const RowSet rows = ask({layer, point, part, Look::kHere, n_rows ? n_rows : x.cols}, g, x, among);
  if (observer) observer->on_rows(layer, point, part, g.tokens, rows, n_rows ? n_rows : x.cols);
  return rows;
}

// Tokens whose entry wants another look keep what was foreseen for them.
RowSet Step::ask(const Question& q, const TokenGroup& g, MatView<const float> x, RowSet among) {
  const StageScope stage(compute, Stage::kSelection);
  Answer& answer = answer_of(q.layer, q.point, q.part);
  const bool foreseen = answer.layer == q.layer && g.tokens.empty();
  if (answer.own.size() < g.size()) answer.own.resize(g.size());
  const std::span<Rows> own = std::span(answer.own).first(g.size());
  size_t n_total = q.n_rows;
  for (size_t i = 0, end = 0; i < g.size(); i = end) {
    // One question about neighbours of one run, or of several runs that ask the same selector.
    const size_t first = place(g, i);
    const Run& run = runs()[memory.run_of[first]];
    const PlanEntry* entry = entry_of(run, q.layer, q.point, q.part);
    const Selector* selector = entry && entry->look == q.look ? entry->selector.get() : nullptr;
    SelectorState* state = selector && run.states ? run.states->of(*selector) : nullptr;
    const auto same = [&](size_t j) {
      const size_t t = place(g, j);
      if (t != first + (j - i)) return false;
      if (memory.run_of[t] == memory.run_of[first]) return true;
      const Run& other = runs()[memory.run_of[t]];
      const PlanEntry* its = entry_of(other, q.layer, q.point, q.part);
      // Where this run has states but none of this selector, it is one that remembers nothing.
      return selector && its && its->selector.get() == selector && its->look == q.look && !state &&
             (run.states || !other.states) && other.as_alone == run.as_alone;
    };
    for (end = i + 1; end < g.size() && same(end);) ++end;
    const std::span<Rows> out = own.subspan(i, end - i);
    if (!selector) {
      if (entry && foreseen) {
        n_total = own[i].n_total();
        continue;
      }
      for (size_t j = i; j < end; ++j)
        if (among.own.empty()) {
          own[j].refill_all(0);  // of as many as the others
        } else {
          own[j] = among.own[j];
        }
      continue;
    }
    selector->choose(compute,
                     {x.row_range(i, end - i), q.n_rows, q.layer, g.expert, first - first_token(memory.run_of[first]),
                      position(first), run.as_alone, state, run.states},
                     out);
    n_total = out[0].n_total();
  }
  for (Rows& rows : own)
    if (rows.is_all() && rows.n_total() != n_total) rows.refill_all(n_total);
  return {own};
}

void Step::watch(size_t layer, const TokenGroup& g, MatView<const float> ff_act) {
  for (size_t i = 0, end = 0; i < g.size(); i = end) {  // the tokens of a run stand together
    const uint32_t r = memory.run_of[place(g, i)];
    for (end = i + 1; end < g.size() && memory.run_of[place(g, end)] == r;) ++end;
    const Run& run = runs()[r];
    if (run.phase != Phase::kPrompt || !run.states) continue;
    for (const auto& plan : run.watching) {
      const Selector* selector = plan->at(layer, Point::kNeurons).selector.get();
      SelectorState* state = selector ? run.states->of(*selector) : nullptr;
      if (!state) continue;
      Evidence evidence{.x = ff_act.row_range(i, end - i), .n_rows = ff_act.cols, .layer = layer, .expert = g.expert};
      evidence.first_position = position(place(g, end - 1)) + 1 - (end - i);
      evidence.state = state;
      evidence.states = run.states;
      selector->watch(compute, evidence);
    }
  }
}

void Step::count_neurons(size_t layer, uint64_t active, uint64_t all) {
  stats.active_neurons[layer] += active;
  stats.all_neurons[layer] += all;
}

void Step::count_heads(size_t layer, uint64_t active, uint64_t all) {
  stats.active_heads[layer] += active;
  stats.all_heads[layer] += all;
}

}  // namespace hunch
