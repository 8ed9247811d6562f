// Jobs that want the most probable answers: their beams are computed in steps of their own, beside those of the batch.
#include <algorithm>

#include "engine/emission.h"
#include "serve/scheduler_running.h"

namespace hunch::serve {
namespace {

// What a listener is told of one answer, as if it had been made token by token.
JobResult tell(const Tokenizer* tokenizer, const Job& job, const Beam& beam) {
  JobResult result;
  Generated& g = result.generated;
  g.ids = beam.ids;
  g.n_prompt = job.prompt.size();
  g.n_decoded = beam.ids.size();
  g.stop_reason = beam.stop_reason;
  g.stop_string = beam.stop_string;
  std::optional<StreamDecoder> decoder;
  if (tokenizer) decoder.emplace(*tokenizer, true, false);
  std::vector<GeneratedToken> tokens;
  for (size_t i = 0; i < beam.ids.size(); ++i) {
    std::string text = decoder ? decoder->push(beam.ids[i]) : "";
    if (std::ranges::find(job.options.shown, beam.ids[i]) != job.options.shown.end())
      text += tokenizer->piece(beam.ids[i]);
    g.text += text;
    tokens.push_back({beam.ids[i], std::move(text), beam.log_probs[i], {}});
  }
  std::string rest = decoder ? decoder->finish() : "";
  g.text += rest;
  size_t n_left = g.text.size();  // bytes that are shown: a stop string is not
  if (beam.stop_reason == StopReason::kStopString) {
    std::string which;
    n_left = std::min(n_left, StopStrings(job.options.stop).find(g.text, 0, which));
    g.text.resize(n_left);
  }
  for (GeneratedToken& token : tokens) {
    token.text.resize(std::min(token.text.size(), n_left));
    n_left -= token.text.size();
    job.listener->on_token(token, false);
  }
  rest.resize(std::min(rest.size(), n_left));
  if (!rest.empty() && !tokens.empty()) job.listener->on_token({beam.ids.back(), rest, 0, {}}, true);
  return result;
}

}  // namespace

void Scheduler::search(Running& running) {
  const Job& job = *running.job;
  BeamOptions options;
  options.width = job.beams->width;
  options.n_tokens = job.options.n_tokens;
  options.length_penalty = job.beams->length_penalty;
  options.stop = job.options.stop;
  options.ignore_end = job.options.ignore_end;
  options.as_alone = job.options.as_alone;
  running.n_remembered = running.sequence->n_tokens();
  running.beams = std::make_unique<BeamSearch>(engine_, batch_, *running.sequence, job.prompt, std::move(options));
}

void Scheduler::step_beams(Running& running) {
  running.beams->step(budget_.prompt_tokens(batch_.n_decoding()));
  if (running.first_token_seconds == 0 && running.sequence->n_tokens() == running.job->prompt.size()) {
    running.first_token_seconds = seconds_between(running.submitted, Clock::now());
    metrics_.first_token_seconds.add(running.first_token_seconds);
  }
}

// The job and its siblings are told of their answers, and end.
void Scheduler::tell_beams(Running& running) {
  const Job& job = *running.job;
  std::vector<const Job*> jobs = {&job};
  for (const auto& sibling : job.beams->siblings) jobs.push_back(sibling.get());
  const std::vector<Beam> best = running.beams->best(jobs.size());
  running.beams.reset();
  metrics_.n_cancelled += job.cancel.requested();
  ++metrics_.n_jobs;
  if (best.empty()) return job.listener->on_error(ended_early(job));  // before its first token
  for (size_t i = 0; i < jobs.size(); ++i) {
    const Beam& beam = best[std::min(i, best.size() - 1)];  // fewer than were asked for: the last again
    JobResult result = tell(engine_.tokenizer ? &*engine_.tokenizer : nullptr, *jobs[i], beam);
    metrics_.n_generated_tokens += beam.ids.size();
    result.queue_seconds = seconds_between(running.submitted, running.begun);
    result.first_token_seconds = running.first_token_seconds;
    result.generated.seconds = seconds_between(running.begun, Clock::now());
    if (i > 0) jobs[i]->listener->on_begun(0);
    jobs[i]->listener->on_done(result);
  }
  metrics_.n_prompt_tokens += job.prompt.size() - running.n_remembered;
  memory_.keep(std::move(running.sequence), job.plan, job.options.as_alone, job.prompt.size());
}

}  // namespace hunch::serve
