#include "engine/pooling.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

constexpr const char* kNames[] = {"none", "mean", "cls", "last", "rank"};

double product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

}  // namespace

const char* name_of(PoolingKind kind) { return kNames[size_t(kind)]; }

PoolingKind pooling_named(std::string_view name) {
  for (const PoolingKind kind : {PoolingKind::kNone, PoolingKind::kMean, PoolingKind::kCls, PoolingKind::kLast})
    if (name == name_of(kind)) return kind;
  fail(ErrorKind::kUsage, "unknown pooling '{}', expected mean, cls, last or none", name);
}

PoolingKind pooling_of(const ModelConfig& config) {
  const PoolingKind said = config.pooling.value_or(PoolingKind::kNone);
  if (said == PoolingKind::kRank)
    fail(ErrorKind::kUsage,
         "this model scores pairs of texts (`hunch rerank`); for a vector of one, say how to pool: mean, cls or last");
  if (said != PoolingKind::kNone) return said;
  return config.causal ? PoolingKind::kLast : PoolingKind::kMean;
}

void pool(MatView<const float> states, PoolingKind kind, std::span<float> out) {
  HUNCH_CHECK(states.rows > 0 && out.size() == states.cols, "{} states of {} values into {}", states.rows, states.cols,
              out.size());
  HUNCH_CHECK(kind == PoolingKind::kMean || kind == PoolingKind::kCls || kind == PoolingKind::kLast, "pooling {}",
              name_of(kind));
  if (kind != PoolingKind::kMean) {
    std::ranges::copy(states.row(kind == PoolingKind::kCls ? 0 : states.rows - 1), out.begin());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    double sum = 0;
    for (size_t t = 0; t < states.rows; ++t) sum += states.row(t)[i];
    out[i] = float(sum / double(states.rows));
  }
}

void scale_to_length_1(std::span<float> x) {
  const double squares = product(x, x);
  if (squares == 0) return;
  const auto factor = float(1 / std::sqrt(squares));
  for (float& v : x) v *= factor;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  const double lengths = std::sqrt(product(a, a) * product(b, b));
  return lengths == 0 ? 0.0 : product(a, b) / lengths;
}

}  // namespace hunch
