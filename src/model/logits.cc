// From the stream to the logits, and a pass's beginning and end.
#include <algorithm>

#include "base/error.h"
#include "kernels/gather.h"
#include "linear/adapter.h"
#include "model/ops.h"
#include "model/transformer.h"

namespace hunch {

void Transformer::logits(Step& s, MatView<const float> resid, MatView<float> out) const {
  const Arena::Scope scope(s.compute.arena);
  const ModelConfig& c = model_.config();
  const ModelWeights& w = model_.weights();
  const std::span<const uint32_t> rows = s.input.logit_rows;
  if (rows.empty()) return;
  MatView<float> final = s.take(rows.size(), c.n_embd);
  const std::span<TokenTraits> traits = s.compute.arena.take<TokenTraits>(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    copy_rows(resid.row_range(rows[i], 1), final.row_range(i, 1));
    traits[i] = s.all().traits[rows[i]];
  }
  if (c.final_norm) norm_rows(s.compute, c.norm, c.norm_eps, final, w.output_norm, final);
  if (w.words_out) {
    const MatView<float> words = s.take(rows.size(), c.n_embd_word);
    w.words_out->dot(s.compute, traits, final, {}, words);
    final = words;
  }
  if (s.observer) s.observer->on_final(final);
  // Rows that share one reading of the whole vocabulary cost less than a screen each, unless each is computed alone. A
  // screen knows the model's own matrix.
  const auto screen_of = [&](size_t i) -> const VocabScreen* {
    const Run& run = s.run(rows[i]);
    if (run.adapter && run.adapter->find(w.output->id)) return nullptr;
    return s.restricts(run) && run.only_best && (rows.size() == 1 || run.as_alone) ? run.plan->screen.get() : nullptr;
  };
  for (size_t i = 0, end = 0; i < rows.size(); i = end) {
    end = i + 1;
    if (const VocabScreen* screen = screen_of(i)) {
      screened_logits(s, *screen, final.row(i), out.row(i));
      continue;
    }
    while (end < rows.size() && !screen_of(end)) ++end;
    w.output->dot(s.compute, traits.subspan(i, end - i), final.row_range(i, end - i), {}, out.row_range(i, end - i));
  }
  if (c.logit_scale == 1.0f && c.logit_soft_cap <= 0) return;
  s.compute.threads.parallel_for(rows.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      if (c.logit_scale != 1.0f) scale(c.logit_scale, out.row(i));
      if (c.logit_soft_cap > 0) soft_cap(c.logit_soft_cap, out.row(i));
    }
  });
}

// Guesses of all logits, and the exact ones of the rows that may be the largest.
void Transformer::screened_logits(Step& s, const VocabScreen& screen, std::span<const float> final,
                                  std::span<float> out) const {
  const Linear& output = *model_.weights().output;
  const TokenTraits one{true};
  Rows& shortlist = s.memory.shortlist;
  {
    const Meter::Predicting predicting(s.compute.meter);
    screen.guess(s.compute, final, output.bias(), out, shortlist);
  }
  const MatView<const float> x(final.data(), 1, final.size());
  if (shortlist.is_all()) return output.dot(s.compute, {&one, 1}, x, {}, {out.data(), 1, out.size()});
  const MatView<float> exact = s.take(1, out.size());
  output.dot(s.compute, {&one, 1}, x, {{&shortlist, 1}}, exact);
  for (const uint32_t row : shortlist.ids()) out[row] = exact.row(0)[row];
}

KvShape Transformer::kv_shape(const ModelConfig& config, DType dtype, size_t page_tokens) {
  return {config.n_layer, config.n_kv_head, config.d_head, dtype, page_tokens};
}

void Transformer::check(const StepInput& input) const {
  const ModelConfig& c = model_.config();
  size_t n_in_runs = 0;
  for (const Run& r : input.runs) n_in_runs += r.n_tokens;
  HUNCH_CHECK(n_in_runs == input.ids.size(), "{} tokens in runs, {} ids", n_in_runs, input.ids.size());
  for (int32_t id : input.ids)
    if (id < 0 || size_t(id) >= c.n_vocab)
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}", id, c.n_vocab);
  const bool table = c.position == PositionKind::kLearned || c.position == PositionKind::kSinusoidal;
  for (const Run& r : input.runs)
    if (const size_t end = cache_.n_tokens(r.sequence) - cache_.n_moved(r.sequence) + r.n_tokens;
        table && end > c.n_ctx_train)
      fail(ErrorKind::kLimit, "{} tokens are more than the model's {} positions", end, c.n_ctx_train);
}

// All or nothing.
void Transformer::append(const StepInput& input) {
  for (size_t i = 0; i < input.runs.size(); ++i) {
    try {
      cache_.append(input.runs[i].sequence, input.runs[i].n_tokens);
    } catch (...) {
      forget({input.ids, input.runs.first(i), {}});
      throw;
    }
  }
}

void Transformer::forget(const StepInput& input) {
  for (const Run& r : input.runs) {
    const size_t n_before = cache_.n_tokens(r.sequence) - r.n_tokens;
    cache_.truncate(r.sequence, n_before);
    if (r.states) r.states->truncate(n_before);
  }
}

void Transformer::for_each_part(const StepInput& input, const std::function<void(const StepInput&, size_t)>& each) {
  const auto alike = [](const Run& a, const Run& b) {
    return a.as_alone == b.as_alone && (!a.as_alone || (a.plan == b.plan && a.phase == b.phase));
  };
  // Nearly always: nothing is split, and nothing allocated.
  if (std::ranges::all_of(input.runs, [&](const Run& run) { return alike(input.runs[0], run); })) return each(input, 0);
  std::vector<uint32_t> rows;
  size_t first_token = 0, first_row = 0;
  for (size_t begin = 0, end = 0; begin < input.runs.size(); begin = end) {
    size_t n_tokens = 0;
    for (end = begin; end < input.runs.size() && alike(input.runs[begin], input.runs[end]); ++end)
      n_tokens += input.runs[end].n_tokens;
    rows.clear();
    for (size_t i = first_row; i < input.logit_rows.size() && input.logit_rows[i] < first_token + n_tokens; ++i)
      rows.push_back(uint32_t(input.logit_rows[i] - first_token));
    try {
      each({input.ids.subspan(first_token, n_tokens), input.runs.subspan(begin, end - begin), rows}, first_row);
    } catch (...) {
      forget({input.ids, input.runs.first(begin), {}});
      throw;
    }
    first_token += n_tokens;
    first_row += rows.size();
  }
}

void Transformer::begin(const StepInput& input) {
  check(input);
  append(input);
  before_ = {compute_.meter.bytes(), compute_.meter.rows()};
}

void Transformer::end() {
  const Bytes read = compute_.meter.bytes() - before_.first;
  const RowReads rows = compute_.meter.rows() - before_.second;
  stats.weight_bytes += read.weights();
  stats.predictor_bytes += read[Traffic::kPredictors];
  stats.kv_bytes += read[Traffic::kKv];
  stats.rows += rows;
}

// Memory of what the caller gets.
MatView<float> Transformer::result(size_t rows, size_t cols) {
  return {result_.get<float>(rows * cols).data(), rows, cols};
}

}  // namespace hunch
