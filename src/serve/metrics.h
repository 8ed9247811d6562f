// What the server counts, as Prometheus reads it. Names are llama.cpp's ("llamacpp:") where they mean the same.
#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace hunch::serve {

// Times in seconds, in fixed buckets.
class Histogram {
 public:
  void add(double seconds);
  // Lines of Prometheus' text format, without the first two; `labels` as 'model="a"', or "".
  void write(std::string& out, const char* name, const std::string& labels) const;

 private:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                     0.25,  0.5,    1,     2.5,  5,     10,   30};
  mutable std::mutex mutex_;
  std::array<uint64_t, kBounds.size() + 1> counts_ = {};
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
  std::atomic<uint64_t> n_most_tokens{0};  // of any text so far
  Histogram first_token_seconds, between_tokens_seconds, queue_seconds;
};

struct NamedMetrics {
  std::string name;  // of the model; "": there is one, and its lines have no label
  const Metrics* metrics;
  bool is_loaded = true;
};

// Prometheus' text format: each metric once, with a line for every model.
std::string metrics_text(const std::vector<NamedMetrics>& models, size_t n_connections);

}  // namespace hunch::serve
