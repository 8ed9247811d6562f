#include "engine/beam_search.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/emission.h"

namespace hunch {

BeamSearch::BeamSearch(const Engine& engine, Batch& batch, Sequence& sequence, std::vector<int32_t> prompt,
                       BeamOptions options)
    : engine_(engine), batch_(batch), sequence_(sequence), prompt_(std::move(prompt)), options_(std::move(options)) {
  if (options_.width == 0 || options_.width > BeamOptions::kMostWidth)
    fail(ErrorKind::kUsage, "{} beams (width), expected 1 to {}", options_.width, BeamOptions::kMostWidth);
  if (options_.n_tokens == 0) fail(ErrorKind::kUsage, "an answer of 0 tokens (n_tokens): beams need at least one");
  if (!std::isfinite(options_.length_penalty))
    fail(ErrorKind::kUsage, "a length penalty of {}, expected a number", options_.length_penalty);
  HUNCH_CHECK(sequence_.n_tokens() < prompt_.size(), "a prompt of {} tokens, of which {} were read", prompt_.size(),
              sequence_.n_tokens());
  sequence_.require_room(prompt_.size() - sequence_.n_tokens());
  if (sequence_.learns_from_prompts())
    fail(ErrorKind::kUnsupported, "beams share what they have in common, which GRIFFIN changes for each");
}

bool BeamSearch::step(size_t most_prompt) {
  if (is_done_) return false;
  if (sequence_.n_tokens() < prompt_.size()) {
    read(std::max<size_t>(most_prompt, 1));
    return !is_done_;
  }
  std::vector<SequenceRun> runs;
  for (const Live& live : live_) {
    SequenceRun run{live.sequence.get(), std::span(live.beam.ids).last(1), Phase::kDecode, 1};
    run.as_alone = options_.as_alone;
    runs.push_back(run);
  }
  expand(batch_.compute(runs));
  return !is_done_;
}

void BeamSearch::read(size_t most_prompt) {
  const size_t first = sequence_.n_tokens(), n_unread = prompt_.size() - first;
  SequenceRun run{&sequence_};
  run.ids = std::span(prompt_).subspan(first, sequence_.n_together(n_unread, std::min(n_unread, most_prompt)));
  run.as_alone = options_.as_alone;
  run.n_text = prompt_.size();
  run.n_logits = run.ids.size() == n_unread;
  const MatView<const float> logits = batch_.compute({&run, 1});
  if (run.n_logits == 0) return;
  live_.emplace_back();
  expand(logits);
}

void BeamSearch::expand(MatView<const float> logits) {
  const Tokenizer* const tokenizer = engine_.tokenizer ? &*engine_.tokenizer : nullptr;
  // Each may end, and then another one takes its place.
  const size_t n_wanted = 2 * options_.width;
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < live_.size(); ++i)
    for (const TokenProbability& top : top_log_probs(logits.row(i), n_wanted))
      candidates.push_back({i, top.id, top.log_prob, live_[i].beam.log_prob + double(top.log_prob)});
  std::ranges::stable_sort(candidates, std::greater<>(), &Candidate::sum);
  if (candidates.empty() || std::isnan(candidates[0].sum))
    fail(ErrorKind::kFormat, "the logits are not finite: the model's file is damaged, or its numbers overflow");

  struct Next {
    Beam beam;
    size_t parent;
  };
  std::vector<Next> next;
  for (size_t rank = 0; rank < candidates.size() && next.size() < options_.width; ++rank) {
    const auto& [parent, id, own, sum] = candidates[rank];
    Beam beam = live_[parent].beam;
    beam.log_prob = sum;
    const size_t n = beam.ids.size() + 1;
    if (tokenizer && !options_.ignore_end && tokenizer->is_end_of_generation(id)) {
      if (rank < options_.width) finish(std::move(beam), StopReason::kEndOfText, n);
      continue;
    }
    beam.ids.push_back(id);
    beam.log_probs.push_back(own);
    if (is_stopped(beam)) {
      if (rank < options_.width) finish(std::move(beam), StopReason::kStopString, n);
      continue;
    }
    next.push_back({std::move(beam), parent});
  }

  const size_t n_tokens = next.empty() ? 0 : next[0].beam.ids.size();
  const bool streams = sequence_.plan().keys && sequence_.plan().keys->streams();  // and has no end
  const bool is_full = !streams && prompt_.size() + n_tokens > sequence_.n_ctx();  // the newest one has no place
  if (n_tokens >= options_.n_tokens || is_full) {
    for (Next& n : next) finish(std::move(n.beam), is_full ? StopReason::kContextFull : StopReason::kLength, n_tokens);
    next.clear();
  }
  // The last child of a beam goes on with what it has, the others with a copy: made first, so that nothing is lost
  // where there is no room.
  std::vector<Live> live(next.size());
  std::vector<size_t> heirs(live_.size(), SIZE_MAX);
  for (size_t i = 0; i < next.size(); ++i) heirs[next[i].parent] = i;
  for (size_t i = 0; i < next.size(); ++i) {
    const Sequence& source = live_[next[i].parent].sequence ? *live_[next[i].parent].sequence : sequence_;
    if (&source == &sequence_ || heirs[next[i].parent] != i) live[i].sequence = source.fork(source.n_tokens());
  }
  for (size_t i = 0; i < next.size(); ++i) {
    if (!live[i].sequence) live[i].sequence = std::move(live_[next[i].parent].sequence);
    live[i].beam = std::move(next[i].beam);
  }
  live_ = std::move(live);
  if (live_.empty() || none_can_win()) is_done_ = true, live_.clear();
}

bool BeamSearch::is_stopped(Beam& beam) const {
  if (options_.stop.empty() || !engine_.tokenizer) return false;
  const Tokenizer& tokenizer = *engine_.tokenizer;
  const int32_t newest = beam.ids.back();
  if (tokenizer.is_control(newest)) {
    const auto found = std::ranges::find(options_.stop, tokenizer.spec().pieces[size_t(newest)]);
    if (found != options_.stop.end()) beam.stop_string = *found, beam.ids.pop_back(), beam.log_probs.pop_back();
    return found != options_.stop.end();
  }
  StreamDecoder decoder(tokenizer, true, false);
  std::string text;
  for (const int32_t id : beam.ids) text += decoder.push(id);
  return StopStrings(options_.stop).find(text, 0, beam.stop_string) != text.npos;
}

void BeamSearch::finish(Beam beam, StopReason reason, size_t n_tokens) {
  beam.score = beam.log_prob / std::pow(double(n_tokens), double(options_.length_penalty));
  beam.stop_reason = reason;
  const auto place = std::ranges::upper_bound(finished_, beam.score, std::greater<>(), &Beam::score);
  finished_.insert(place, std::move(beam));
  if (finished_.size() > options_.width) finished_.pop_back();
}

// No live beam, however it goes on, comes before the worst finished one: its sum only falls, and is divided by no more
// than the longest answer's length.
bool BeamSearch::none_can_win() const {
  if (finished_.size() < options_.width) return false;
  const double best = live_[0].beam.log_prob, p = double(options_.length_penalty);
  const size_t n = p > 0 ? options_.n_tokens : live_[0].beam.ids.size();
  return best / std::pow(double(n), p) <= finished_.back().score;
}

void BeamSearch::end(StopReason reason) {
  if (is_done_) return;
  for (Live& live : live_)
    if (const size_t n = live.beam.ids.size()) finish(std::move(live.beam), reason, n);
  live_.clear();
  is_done_ = true;
}

size_t BeamSearch::n_pages_due() const {
  if (is_done_) return 0;
  const KvCache& cache = *batch_.cache();
  if (const size_t n = sequence_.n_tokens(); n < prompt_.size())
    return cache.n_new_pages(sequence_.id(), prompt_.size() - n) + options_.width;
  size_t n = options_.width;  // copies of pages that cannot be shared
  for (const Live& live : live_) n += cache.n_new_pages(live.sequence->id(), 1);
  return n;
}

std::vector<Beam> BeamSearch::best(size_t n) const {
  HUNCH_CHECK(is_done_, "beams are still in the making");
  return {finished_.begin(), finished_.begin() + ptrdiff_t(std::min(n, finished_.size()))};
}

}  // namespace hunch
