#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace hunch::serve {

void Histogram::add(double seconds) {
  const std::lock_guard lock(mutex_);
  ++counts_[size_t(std::ranges::lower_bound(kBounds, seconds) - kBounds.begin())];
  sum_ += seconds;
}

void Histogram::write(std::string& out, const char* name, const char* help) const {
  const std::lock_guard lock(mutex_);
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} histogram\n", name, help);
  uint64_t n = 0;
  for (size_t i = 0; i < kBounds.size(); ++i)
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], n += counts_[i]);
  n += counts_.back();
  out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, n, sum_);
}

std::string Metrics::text() const {
  std::string out;
  const auto write = [&](const char* type, const char* name, const char* help, auto value) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
  };
  const auto rate = [](double n, double seconds) { return seconds > 0 ? n / seconds : 0.0; };
  const double n_prompt = double(n_prompt_tokens), n_generated = double(n_generated_tokens);
  write("counter", "llamacpp:prompt_tokens_total", "Prompt tokens that were computed.", n_prompt_tokens.load());
  write("counter", "llamacpp:prompt_seconds_total", "Time that prompts took, of all requests added up.",
        prompt_seconds.load());
  write("counter", "llamacpp:tokens_predicted_total", "Tokens that were generated.", n_generated_tokens.load());
  write("counter", "llamacpp:tokens_predicted_seconds_total", "Time that generation took, of all requests added up.",
        generation_seconds.load());
  write("gauge", "llamacpp:prompt_tokens_seconds", "Mean prompt tokens per second of a request.",
        rate(n_prompt, prompt_seconds));
  write("gauge", "llamacpp:predicted_tokens_seconds", "Mean generated tokens per second of a request.",
        rate(n_generated, generation_seconds));
  write("gauge", "llamacpp:requests_processing", "Answers in the making.", n_running.load());
  write("gauge", "llamacpp:requests_deferred", "Answers that wait.", n_waiting.load());
  write("counter", "llamacpp:n_tokens_max", "Most tokens that a text had.", n_most_tokens.load());
  write("counter", "llamacpp:n_decode_total", "Steps of the batch.", n_steps.load());
  write("gauge", "llamacpp:n_busy_slots_per_decode", "Mean answers that shared a step.",
        rate(double(n_busy), double(n_steps)));
  write("counter", "hunch:prompt_tokens_cached_total", "Prompt tokens that were remembered.", n_cached_tokens.load());
  write("counter", "hunch:jobs_total", "Answers that ended, however.", n_jobs.load());
  write("counter", "hunch:jobs_cancelled_total", "Answers whose client went away.", n_cancelled.load());
  write("counter", "hunch:jobs_failed_total", "Answers that ended with an error.", n_failed.load());
  write("counter", "hunch:requests_refused_total", "Requests that found the queue full.", n_refused.load());
  write("counter", "hunch:preemptions_total", "Times that an answer had to make room for others.", n_preempted.load());
  write("gauge", "hunch:answers_paused", "Answers that made room for others and wait for some.", n_paused.load());
  write("gauge", "hunch:connections", "Open connections.", n_connections.load());
  write("gauge", "hunch:texts_kept", "Texts kept for prompts that begin alike.", n_kept.load());
  write("gauge", "hunch:kv_cache_tokens", "Tokens that the cache has room for.", n_cache_tokens.load());
  write("gauge", "hunch:kv_cache_tokens_free", "Of these, free.", n_cache_free.load());
  first_token_seconds.write(out, "hunch:time_to_first_token_seconds", "From a request to its first token.");
  between_tokens_seconds.write(out, "hunch:time_between_tokens_seconds", "From one token of an answer to the next.");
  queue_seconds.write(out, "hunch:queue_seconds", "From a request to the beginning of its prompt.");
  return out;
}

}  // namespace hunch::serve
