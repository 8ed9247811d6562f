// From the stream to the logits.
#include <algorithm>

#include "linear/adapter.h"
#include "model/ops.h"
#include "model/transformer.h"

namespace hunch {

void Transformer::logits(Step& s, MatView<const float> resid, MatView<float> out) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope stage(s.compute, Stage::kLogits);
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
  // A shortlist has up to an eighth of the vocabulary, and a guess reads up to half as much as all of it: more rows
  // read all together, unless each is computed alone (of four rows, the demo model lost a fifth of its speed). A screen
  // knows the model's own matrix.
  constexpr size_t kMostScreened = 2;
  const auto screen_of = [&](size_t i) -> const VocabScreen* {
    const Run& run = s.run(rows[i]);
    if ((run.adapter && run.adapter->find(w.output->id)) || !w.adaptive.empty()) return nullptr;
    const bool few = rows.size() <= kMostScreened || run.as_alone;
    return s.restricts(run) && run.only_best && few ? run.plan->screen() : nullptr;
  };
  for (size_t i = 0, end = 0; i < rows.size(); i = end) {
    const VocabScreen* screen = screen_of(i);
    for (end = i + 1; end < rows.size() && screen_of(end) == screen;) ++end;
    const Tokens own = traits.subspan(i, end - i);
    const MatView<const float> x = final.row_range(i, end - i);
    if (screen) {
      screened_logits(s, *screen, own, x, out.row_range(i, end - i));
    } else {
      w.output->dot(s.compute, own, x, {}, out.row_range(i, end - i));
    }
  }
  if (!w.adaptive.empty()) w.adaptive(s.compute, final, out);
  if (c.logit_scale == 1.0f && c.logit_soft_cap <= 0) return;
  s.compute.threads.parallel_for(rows.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (c.logit_scale != 1.0f) scale(c.logit_scale, out.row(i));
      if (c.logit_soft_cap > 0) soft_cap(c.logit_soft_cap, out.row(i));
    }
  });
}

// Guesses of all logits, and the exact ones of the rows that may be the largest.
void Transformer::screened_logits(Step& s, const VocabScreen& screen, Tokens tokens, MatView<const float> final,
                                  MatView<float> out) const {
  const Linear& output = *model_.weights().output;
  std::vector<Rows>& shortlists = s.memory.shortlists;
  if (shortlists.size() < final.rows) shortlists.resize(final.rows);
  const std::span<Rows> own = std::span(shortlists).first(final.rows);
  {
    const Meter::Predicting predicting(s.compute.meter);
    screen.guess(s.compute, final, output.bias(), out, own,
                 tokens[0].as_alone ? TokenBits::kAsAlone : TokenBits::kFastest);
  }
  const MatView<float> exact = s.take(final.rows, out.cols);
  output.dot(s.compute, tokens, final, {own}, exact);
  for (size_t t = 0; t < final.rows; ++t) copy_chosen(own[t], exact.row(t), out.row(t));
}

}  // namespace hunch
