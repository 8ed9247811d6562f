// What the server counts, as Prometheus reads it. Names are llama.cpp's ("llamacpp:") where they mean the same.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace hunch::serve {

// Counts of values in fixed buckets.
class Histogram {
 public:
  enum class Of : uint8_t { kSeconds, kAnswers, kShares };
  explicit Histogram(Of of);
  void add(double value);
  // Lines of Prometheus' text format, without the first two; `labels` as 'model="a"', or "".
  void write(std::string& out, const char* name, const std::string& labels) const;

 private:
  const std::span<const double> bounds_;  // ascending
  mutable std::mutex mutex_;
  std::vector<uint64_t> counts_;  // one more than there are bounds
  double sum_ = 0;
};

// Of one model. All members may be changed and read by any thread.
struct Metrics {
  std::atomic<uint64_t> n_prompt_tokens{0};  // computed
  std::atomic<uint64_t> n_cached_tokens{0};  // of prompts, remembered
  std::atomic<uint64_t> n_generated_tokens{0};
  std::atomic<uint64_t> n_steps{0}, n_busy{0};  // steps of the batch; answers that took part, added up
  std::atomic<uint64_t> n_jobs{0}, n_cancelled{0}, n_failed{0}, n_refused{0}, n_preempted{0};
  std::atomic<double> prompt_seconds{0}, generation_seconds{0};
  std::atomic<size_t> n_running{0}, n_paused{0}, n_waiting{0}, n_kept{0};
  std::atomic<size_t> n_cache_tokens{0}, n_cache_free{0};
  std::atomic<uint64_t> n_most_tokens{0};                           // of any text so far
  std::atomic<uint64_t> n_drafted_tokens{0}, n_accepted_tokens{0};  // of these, kept
  Histogram first_token_seconds{Histogram::Of::kSeconds}, between_tokens_seconds{Histogram::Of::kSeconds},
      queue_seconds{Histogram::Of::kSeconds};
  Histogram step_answers{Histogram::Of::kAnswers};
  // Of steps that read no prompts: the share of neurons, and of heads, that were computed.
  Histogram mlp_density{Histogram::Of::kShares}, head_density{Histogram::Of::kShares};
  Histogram draft_acceptance{Histogram::Of::kShares};  // of answers that drafted
};

struct NamedMetrics {
  std::string name;  // of the model; "": there is one, and its lines have no label
  const Metrics* metrics;
  bool is_loaded = true;
};

// Prometheus' text format: each metric once, with a line for every model.
std::string metrics_text(const std::vector<NamedMetrics>& models, size_t n_connections);

}  // namespace hunch::serve
