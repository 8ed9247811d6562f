// For tests: models as files that go away, their matrices and what they compute.
#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

#include "engine/context.h"
#include "linear/values.h"
#include "model/test_steps.h"

namespace hunch {

// A file that goes away with the test.
struct TempFile {
  static inline int n_made = 0;
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("hunch-compress-{}-{}.gguf", ::getpid(), ++n_made);
  ~TempFile() {
    std::error_code ec;
    std::filesystem::remove(path, ec);
  }
};

inline Engine engine_of(const std::filesystem::path& path) { return load_engine(path, {.n_threads = 2}); }

inline std::vector<int32_t> random_ids(const Engine& engine, size_t n) {
  std::mt19937 rng(5);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(rng() % engine.config().n_vocab);
  return ids;
}

inline std::vector<float> logits_of(const Engine& engine, std::span<const int32_t> ids) {
  ContextOptions options;
  options.n_ctx = ids.size();
  std::vector<float> out;
  Context(engine, options).append_all(ids, [&](size_t, MatView<const float> logits) { append_rows(logits, out); });
  return out;
}

inline std::vector<const Linear*> matrices(const Engine& engine) {
  std::vector<const Linear*> found;
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([&](const Linear& linear) { found.push_back(&linear); });
  return found;
}

inline std::vector<float> floats_of(Compute& compute, const Linear& linear) {
  const Values values(compute, linear);
  std::vector<float> out(linear.n_out * linear.n_in);
  decode_rows(compute, values.rows(), {out.data(), linear.n_out, linear.n_in});
  return out;
}

// ||A - B|| / ||A||: for a wrong matrix of the same kind, 1.4.
inline double distance(const std::vector<float>& A, const std::vector<float>& B) {
  double missed = 0, whole = 0;
  for (size_t i = 0; i < A.size(); ++i) missed += std::pow(double(A[i]) - B[i], 2), whole += std::pow(double(A[i]), 2);
  return std::sqrt(missed / whole);
}

}  // namespace hunch
