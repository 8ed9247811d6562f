// A pass through layers that are divided among ranks (Division::by_layers): one after the other, and where there is
// enough to do, side by side.
#include <algorithm>

#include "base/error.h"
#include "model/ops.h"
#include "model/ranks.h"
#include "model/transformer.h"

namespace hunch {
namespace {

// Parts of a step, which go through the ranks behind each other: while one has the second part, the next one has the
// first. Only of prompts: a part of few tokens reads as many weights as all of them would.
constexpr size_t kLeastTokens = 64;  // of a part

// Tokens of each part.
size_t part_tokens(const StepInput& input, const ModelConfig& config, bool is_recurrent, size_t n_ranks) {
  const size_t n = input.ids.size();
  if (!config.causal || is_recurrent) return n;  // tokens that see later ones; states that are not taken back
  // What looks at tokens together looks at those of a step.
  const auto whole = [](const Run& run) {
    const Plan* const plan = run.plan;
    return run.as_alone || (plan && (plan->keys || plan->prompts || plan->uses(Point::kExperts)));
  };
  if (std::ranges::any_of(input.runs, whole)) return n;
  const size_t n_parts = std::clamp<size_t>(n / kLeastTokens, 1, 4 * n_ranks);
  return (n + n_parts - 1) / n_parts;
}

}  // namespace

void Transformer::run_in_stages(const StepInput& input, MatView<float> out) {
  Ranks& ranks = *model_.ranks();
  if (!ranks.leads())  // rank 0 has divided it
    return in_step(input, [&](Step& s) { stage(s, out); });
  std::vector<size_t> n_before;
  for (const Run& run : input.runs) n_before.push_back(cache_.n_tokens(run.sequence));
  const size_t n_part = part_tokens(input, model_.config(), cache_.is_recurrent(), ranks.shard().n);
  std::vector<size_t> n_rows;  // of the parts so far
  std::vector<Run> runs;
  std::vector<uint32_t> rows;
  const auto receive_logits = [&] {
    size_t row = 0;
    for (const size_t n : n_rows) {
      const MatView<float> part = out.row_range(row, n);
      if (n > 0) ranks.communicator().receive(ranks.shard().n - 1, {part.data, n * part.cols});
      row += n;
    }
  };
  size_t row = 0;
  try {
    for (size_t first = 0; first < input.ids.size(); first += n_part) {
      if (first > 0) compute_.throw_if_stopped();
      const size_t end = std::min(first + n_part, input.ids.size());
      runs.clear();
      rows.clear();
      size_t begin = 0;
      for (size_t r = 0; r < input.runs.size(); begin += input.runs[r++].n_tokens) {
        const size_t from = std::max(begin, first), to = std::min(begin + input.runs[r].n_tokens, end);
        if (from >= to) continue;
        Run& run = runs.emplace_back(input.runs[r]);
        run.n_tokens = to - from;
        run.n_text = std::max(run.n_text, n_before[r] + input.runs[r].n_tokens);  // as in one part
      }
      while (row < input.logit_rows.size() && input.logit_rows[row] < end)
        rows.push_back(uint32_t(input.logit_rows[row++] - first));
      in_step({input.ids.subspan(first, end - first), runs, rows}, [&](Step& s) { stage(s, {}); });
      n_rows.push_back(rows.size());
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInterrupted) receive_logits();  // of what is on its way
    for (size_t r = 0; r < input.runs.size(); ++r) {
      const Run& run = input.runs[r];
      if (cache_.n_tokens(run.sequence) == n_before[r]) continue;
      cache_.truncate(run.sequence, n_before[r]);
      if (run.states) run.states->truncate(n_before[r]);
    }
    throw;
  }
  receive_logits();
}

// This rank's layers of a step. `out`: of the last one's logits, which go to rank 0.
void Transformer::stage(Step& s, MatView<float> out) {
  Ranks& ranks = *model_.ranks();
  Communicator& others = ranks.communicator();
  const ModelConfig& c = model_.config();
  const MatView<float> stream = s.take(s.n_tokens(), c.stream_width());
  const std::span<float> all(stream.data, stream.rows * stream.cols);
  if (ranks.leads() || model_.weights().per_layer.n > 0) enter(s, stream);
  if (!ranks.leads()) others.receive(others.rank() - 1, all);
  for (size_t i = 0; i < c.n_layer; ++i) {
    if (c.layers[i].elsewhere) continue;
    layers(s, i, i + 1, stream);
    others.progress();
  }
  if (!ranks.is_last()) return others.send(others.rank() + 1, all);
  logits(s, stream, out);
  if (out.rows > 0) others.send(0, {out.data, out.rows * out.cols});
}

}  // namespace hunch
