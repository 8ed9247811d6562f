#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace hunch::serve {

namespace {

constexpr double kSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
constexpr double kAnswers[] = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr double kShares[] = {0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999};

std::span<const double> bounds_of(Histogram::Of of) {
  switch (of) {
    case Histogram::Of::kSeconds: return kSeconds;
    case Histogram::Of::kAnswers: return kAnswers;
    case Histogram::Of::kShares: return kShares;
  }
  return {};
}

}  // namespace

Histogram::Histogram(Of of) : bounds_(bounds_of(of)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value) {
  const std::lock_guard lock(mutex_);
  ++counts_[size_t(std::ranges::lower_bound(bounds_, value) - bounds_.begin())];
  sum_ += value;
}

void Histogram::write(std::string& out, const char* name, const std::string& labels) const {
  const std::lock_guard lock(mutex_);
  const std::string more = labels.empty() ? "" : labels + ",", own = labels.empty() ? "" : "{" + labels + "}";
  uint64_t n = 0;
  for (size_t i = 0; i < bounds_.size(); ++i)
    out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, more, bounds_[i], n += counts_[i]);
  n += counts_.back();
  out += fmt::format("{0}_bucket{{{1}le=\"+Inf\"}} {2}\n{0}_sum{3} {4}\n{0}_count{3} {2}\n", name, more, n, own, sum_);
}

namespace {

double rate(double n, double seconds) { return seconds > 0 ? n / seconds : 0.0; }

std::string label_of(const std::string& model) {
  if (model.empty()) return "";
  std::string text;
  for (const char c : model) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return "model=\"" + text + "\"";
}

class Writer {
 public:
  explicit Writer(const std::vector<NamedMetrics>& models) : models_(models) {}

  template <class Value>
  void each(const char* type, const char* name, const char* help, Value value) {
    head(type, name, help);
    for (const NamedMetrics& model : models_) line(name, label_of(model.name), value(*model.metrics));
  }
  void each(const char* name, const char* help, Histogram Metrics::*histogram) {
    head("histogram", name, help);
    for (const NamedMetrics& model : models_) (model.metrics->*histogram).write(out, name, label_of(model.name));
  }
  void head(const char* type, const char* name, const char* help) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  template <class Value>
  void line(const char* name, const std::string& labels, Value value) {
    out += labels.empty() ? fmt::format("{} {}\n", name, value) : fmt::format("{}{{{}}} {}\n", name, labels, value);
  }

  std::string out;

 private:
  const std::vector<NamedMetrics>& models_;
};

}  // namespace

std::string metrics_text(const std::vector<NamedMetrics>& models, size_t n_connections) {
  Writer w(models);
  const auto value = [](auto member) { return [member](const Metrics& m) { return (m.*member).load(); }; };
  w.each("counter", "llamacpp:prompt_tokens_total", "Prompt tokens that were computed.",
         value(&Metrics::n_prompt_tokens));
  w.each("counter", "llamacpp:prompt_seconds_total", "Time that prompts took, of all requests added up.",
         value(&Metrics::prompt_seconds));
  w.each("counter", "llamacpp:tokens_predicted_total", "Tokens that were generated.",
         value(&Metrics::n_generated_tokens));
  w.each("counter", "llamacpp:tokens_predicted_seconds_total", "Time that generation took, of all requests added up.",
         value(&Metrics::generation_seconds));
  w.each("gauge", "llamacpp:prompt_tokens_seconds", "Mean prompt tokens per second of a request.",
         [](const Metrics& m) { return rate(double(m.n_prompt_tokens), m.prompt_seconds); });
  w.each("gauge", "llamacpp:predicted_tokens_seconds", "Mean generated tokens per second of a request.",
         [](const Metrics& m) { return rate(double(m.n_generated_tokens), m.generation_seconds); });
  w.each("gauge", "llamacpp:requests_processing", "Answers in the making.", value(&Metrics::n_running));
  w.each("gauge", "llamacpp:requests_deferred", "Answers that wait.", value(&Metrics::n_waiting));
  w.each("counter", "llamacpp:n_tokens_max", "Most tokens that a text had.", value(&Metrics::n_most_tokens));
  w.each("counter", "llamacpp:n_decode_total", "Steps of the batch.", value(&Metrics::n_steps));
  w.each("gauge", "llamacpp:n_busy_slots_per_decode", "Mean answers that shared a step.",
         [](const Metrics& m) { return rate(double(m.n_busy), double(m.n_steps)); });
  w.each("counter", "hunch:prompt_tokens_cached_total", "Prompt tokens that were remembered.",
         value(&Metrics::n_cached_tokens));
  w.each("counter", "hunch:jobs_total", "Answers that ended, however.", value(&Metrics::n_jobs));
  w.each("counter", "hunch:jobs_cancelled_total", "Answers whose client went away.", value(&Metrics::n_cancelled));
  w.each("counter", "hunch:jobs_failed_total", "Answers that ended with an error.", value(&Metrics::n_failed));
  w.each("counter", "hunch:requests_refused_total", "Requests that found the queue full.", value(&Metrics::n_refused));
  w.each("counter", "hunch:preemptions_total", "Times that an answer had to make room for others.",
         value(&Metrics::n_preempted));
  w.each("counter", "hunch:draft_tokens_total", "Tokens that were drafted.", value(&Metrics::n_drafted_tokens));
  w.each("counter", "hunch:draft_tokens_accepted_total", "Of these, kept.", value(&Metrics::n_accepted_tokens));
  w.each("gauge", "hunch:answers_paused", "Answers that made room for others and wait for some.",
         value(&Metrics::n_paused));
  w.head("gauge", "hunch:connections", "Open connections.");
  w.line("hunch:connections", "", n_connections);
  w.head("gauge", "hunch:model_loaded", "Whether the model is loaded.");
  for (const NamedMetrics& model : models) w.line("hunch:model_loaded", label_of(model.name), int(model.is_loaded));
  w.each("gauge", "hunch:texts_kept", "Texts kept for prompts that begin alike.", value(&Metrics::n_kept));
  w.each("gauge", "hunch:kv_cache_tokens", "Tokens that the cache has room for.", value(&Metrics::n_cache_tokens));
  w.each("gauge", "hunch:kv_cache_tokens_free", "Of these, free.", value(&Metrics::n_cache_free));
  w.each("hunch:time_to_first_token_seconds", "From a request to its first token.", &Metrics::first_token_seconds);
  w.each("hunch:time_between_tokens_seconds", "From one token of an answer to the next.",
         &Metrics::between_tokens_seconds);
  w.each("hunch:queue_seconds", "From a request to the beginning of its prompt.", &Metrics::queue_seconds);
  w.each("hunch:step_answers", "Answers that shared a step.", &Metrics::step_answers);
  w.each("hunch:mlp_density", "Share of the neurons that a step computed, of steps that read no prompts.",
         &Metrics::mlp_density);
  w.each("hunch:head_density", "Share of the heads that a step computed, of steps that read no prompts.",
         &Metrics::head_density);
  w.each("hunch:draft_acceptance", "Share of an answer's drafted tokens that were kept.", &Metrics::draft_acceptance);
  return w.out;
}

}  // namespace hunch::serve
