#include "model/step.h"

#include <algorithm>

#include "model/model.h"

namespace hunch {
namespace {

void sum(std::vector<uint64_t>& a, const std::vector<uint64_t>& b, int sign) {
  if (a.size() < b.size()) a.resize(b.size());
  for (size_t i = 0; i < b.size(); ++i) a[i] += uint64_t(sign) * b[i];
}

void combine(StepStats& a, const StepStats& b, int sign) {
  a.n_tokens += uint64_t(sign) * b.n_tokens;
  a.weight_bytes += uint64_t(sign) * b.weight_bytes;
  a.kv_bytes += uint64_t(sign) * b.kv_bytes;
  a.predictor_bytes += uint64_t(sign) * b.predictor_bytes;
  a.rows.combine(b.rows, sign);
  sum(a.active_neurons, b.active_neurons, sign);
  sum(a.all_neurons, b.all_neurons, sign);
  sum(a.active_heads, b.active_heads, sign);
  sum(a.all_heads, b.all_heads, sign);
}

}  // namespace

StepStats& StepStats::operator+=(const StepStats& other) {
  combine(*this, other, 1);
  return *this;
}

StepStats StepStats::operator-(const StepStats& before) const {
  StepStats difference = *this;
  combine(difference, before, -1);
  return difference;
}

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
  }
  for (Answer& answer : memory.answers) answer.layer = SIZE_MAX;
  if (model.config().position == PositionKind::kRope) rotate();
  stats.n_tokens += n_tokens();
  for (auto* counts : {&stats.active_neurons, &stats.all_neurons, &stats.active_heads, &stats.all_heads})
    counts->resize(model.config().n_layer);
}

void Step::rotate() {
  const RopeTable& rope = model.rope();
  const MatView<float> both = take(n_tokens(), 2 * rope.n_pairs());
  cos = both.col_range(0, rope.n_pairs());
  sin = both.col_range(rope.n_pairs(), rope.n_pairs());
  for (size_t r = 0; r < runs().size(); ++r) {
    const size_t end = first_token(r) + runs()[r].n_tokens;
    // Where sinks have moved along, the text begins with them.
    const size_t begin = cache.n_moved(runs()[r].sequence);
    // Some scalings depend on the length of the text, which alone would end with each token.
    const size_t n_together = runs()[r].as_alone ? 1 : runs()[r].n_tokens;
    for (size_t first = first_token(r); first < end; first += n_together) {
      const std::span<const double> frequencies =
          rope.frequencies(position(first) + n_together - begin, memory.rope_frequencies);
      for (size_t t = first; t < first + n_together; ++t) rope.at(position(t), frequencies, cos.row(t), sin.row(t));
    }
  }
}

std::pair<MatView<const float>, MatView<const float>> Step::rotation_of(size_t position) {
  const size_t n_pairs = model.rope().n_pairs(), slot = position % KvCache::kMaxDeferred;
  memory.late_rope.resize(KvCache::kMaxDeferred * 2 * n_pairs);
  memory.late_rope_position.resize(KvCache::kMaxDeferred, SIZE_MAX);
  const MatView<float> cos(&memory.late_rope[slot * 2 * n_pairs], 1, n_pairs), sin(cos.data + n_pairs, 1, n_pairs);
  if (memory.late_rope_position[slot] != position) {
    model.rope().at(position, model.rope().frequencies(position + 1, memory.rope_frequencies), cos.row(0), sin.row(0));
    memory.late_rope_position[slot] = position;
  }
  return {cos, sin};
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
    ask({of_layer, point, InputPart::kAttention, look}, all(), attention_input, {});
    answer_of(of_layer, point, InputPart::kAttention).layer = of_layer;
  };
  foresee(layer, Point::kNeurons, Look::kAttention);
  foresee(layer + 1, Point::kHeads, Look::kPreviousAttention);
}

RowSet Step::rows(size_t layer, Point point, const TokenGroup& g, MatView<const float> x, InputPart part,
                  RowSet among) {
  if (!asks(layer, point, g, part)) return among;
  return ask({layer, point, part, Look::kHere}, g, x, among);
}

// Tokens whose entry wants another look keep what was foreseen for them.
RowSet Step::ask(const Question& q, const TokenGroup& g, MatView<const float> x, RowSet among) {
  Answer& answer = answer_of(q.layer, q.point, q.part);
  const bool foreseen = answer.layer == q.layer && g.tokens.empty();
  if (answer.own.size() < g.size()) answer.own.resize(g.size());
  const std::span<Rows> own = std::span(answer.own).first(g.size());
  const LayerConfig& c = model.weights().layers[q.layer].config;
  const size_t n_rows = q.point == Point::kNeurons ? c.n_ff : q.point == Point::kHeads ? c.n_kv_head : x.cols;
  size_t n_total = n_rows;
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
                     {x.row_range(i, end - i), n_rows, q.layer, first - first_token(memory.run_of[first]),
                      position(first), run.as_alone, state, run.states},
                     out);
    n_total = out[0].n_total();
  }
  for (Rows& rows : own)
    if (rows.is_all() && rows.n_total() != n_total) rows.refill_all(n_total);
  return {own};
}

void Step::watch(size_t layer, const TokenGroup& g, MatView<const float> ff_act) {
  if (!g.tokens.empty()) return;  // an expert sees too little of a prompt
  for (size_t r = 0; r < runs().size(); ++r) {
    const Run& run = runs()[r];
    if (run.phase != Phase::kPrompt || !run.states) continue;
    for (const auto& plan : run.watching) {
      const Selector* selector = plan->at(layer, Point::kNeurons).selector.get();
      SelectorState* state = selector ? run.states->of(*selector) : nullptr;
      if (state)
        selector->watch(compute, {ff_act.row_range(first_token(r), run.n_tokens), ff_act.cols, layer, 0,
                                  first_position(r), false, state, run.states});
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
