#include "synth/planted_rows.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "synth/vocab.h"

namespace hunch {
namespace {

constexpr double kHeadSkew = 0.3;
// Logit of a context's words above those of others, and of words above what is none; in logits.
constexpr double kContextLogit = 16, kNoWordLogit = -16;
// What q . k of equal contexts adds to a score after scaling.
constexpr double kContextScore = 6;
constexpr size_t kContextsPerKeyRow = 32;  // of the contexts, each row of a key projection knows some
constexpr double kKeyNoise = 0.3, kValueNoise = 0.02;

// How much of an output row points along its predecessor's token part, the rest being noise. Of n rivals with
// normal logits the best is sqrt(2 log n) deviations up; the successor is to stand above it.
double successor_share(const SynthOptions& o, size_t n_words, double stream) {
  const double wanted = std::sqrt(2 * std::log(double(n_words))) + o.planting.next_token_margin;
  return std::max(0.0, wanted / std::sqrt(double(o.shape.n_embd) * kTokenEnergy / stream));
}

}  // namespace

PlantedRows::PlantedRows(const SynthOptions& options)
    : o_((validate_planting(options), options)),
      directions_(o_.planting.n_contexts, o_.shape.n_embd, o_.seed),
      tokens_(o_.planting.n_contexts, o_.shape.n_vocab, o_.seed) {
  const double stream = 1.02 + kBranchEnergy;  // at the end, with room to spare
  for (size_t c = 0; c < tokens_.n_contexts(); ++c)
    if (successor_share(o_, tokens_.words(c).size(), stream) > 1)
      fail(ErrorKind::kUsage, "a next-token margin of {:g} needs a wider residual stream than {}; lower it",
           o_.planting.next_token_margin, o_.shape.n_embd);
}

void PlantedRows::embedding(size_t token, std::span<float> out) const {
  const double root = std::sqrt(double(out.size()));
  SynthNoise(o_.seed, "tokens", token).normal(float(std::sqrt(kTokenEnergy)), out);
  axpy(float(std::sqrt(kContextEnergy) * root), directions_.context(tokens_.context_of(token)), out);
  axpy(float(std::sqrt(kConstantEnergy) * root), directions_.constant(), out);
}

void PlantedRows::output(size_t token, double stream, std::span<float> out) const {
  const double root = std::sqrt(double(out.size()));
  SynthNoise(o_.seed, "output", token).normal(kLogitDeviation / float(root), out);
  if (!tokens_.is_word(token)) {
    axpy(float(kNoWordLogit / (root * std::sqrt(kConstantEnergy / stream))), directions_.constant(), out);
    return;
  }
  const double along = successor_share(o_, tokens_.words(tokens_.context_of(token)).size(), stream);
  scale(float(std::sqrt(1 - along * along)), out);
  std::vector<float> before(out.size());
  SynthNoise(o_.seed, "tokens", tokens_.predecessor(token)).normal(kLogitDeviation / float(root), before);
  axpy(float(along), before, out);
  axpy(float(kContextLogit / (root * std::sqrt(kContextEnergy / stream))),
       directions_.context(tokens_.context_of(token)), out);
}

void PlantedRows::key(size_t layer, const std::string& name, size_t row, size_t n_sharing, double stream,
                      std::span<float> out) const {
  const double root = std::sqrt(double(out.size()));
  const size_t d_head = o_.shape.d_head(), head = row / d_head, i = row % d_head;
  SynthNoise(o_.seed, name, row).normal(float(kKeyNoise / root), out);
  // The upper half turns slowly under RoPE, so contexts are compared there.
  if (i < d_head / 2) return;
  SynthNoise pattern(o_.seed, fmt::format("blk.{}.keys", layer), head / n_sharing * d_head + i);
  const size_t n_contexts = tokens_.n_contexts(), n_known = std::min(n_contexts, kContextsPerKeyRow);
  // A row adds amplitude^2 to q . k where it knows the context.
  const size_t n_upper = d_head - d_head / 2;
  const double n_rows = double(n_upper) * double(n_known) / double(n_contexts);
  const double amplitude = std::sqrt(kContextScore * std::sqrt(double(d_head)) / n_rows);
  const float weight = float(amplitude / (root * std::sqrt(kContextEnergy / stream)));
  const size_t first = pattern.below(n_contexts), step = n_contexts / n_known;
  for (size_t k = 0; k < n_known; ++k) {
    const float sign = pattern.below(2) ? 1.0f : -1.0f;
    axpy(sign * weight, directions_.context((first + k * step) % n_contexts), out);
  }
}

void PlantedRows::value(const ContextSets& heads, const std::string& name, size_t row, double stream,
                        std::span<float> out) const {
  const double root = std::sqrt(double(out.size()));
  SynthNoise noise(o_.seed, name, row);
  noise.normal(float(kValueNoise / root), out);
  const std::span<const uint16_t> contexts = heads.of(row / o_.shape.d_head());
  std::vector<float> weight(contexts.size());
  noise.normal(float(1 / (root * std::sqrt(kContextEnergy / stream))), weight);
  for (size_t i = 0; i < contexts.size(); ++i) axpy(weight[i], directions_.context(contexts[i]), out);
}

void PlantedRows::neuron(const PlantedMlp& mlp, const std::string& name, size_t row, std::span<float> out) const {
  SynthNoise(o_.seed, name, row).normal(float(mlp.noise), out);
  for (uint16_t c : mlp.sets.of(row)) axpy(float(mlp.context), directions_.context(c), out);
  axpy(-float(mlp.constant), directions_.constant(), out);
}

ContextSets PlantedRows::heads(size_t layer) const {
  SynthNoise noise(o_.seed, "heads", layer);
  const std::vector<double> shares = skewed_shares(
      o_.shape.n_kv_head, kHeadSkew, o_.planting.head_density, [](double share) { return share; }, noise);
  return deal_contexts(shares, tokens_.n_contexts(), noise);
}

PlantedMlp PlantedRows::expert(size_t layer, size_t expert, size_t n_ff, double stream) const {
  SynthNoise noise(o_.seed, fmt::format("neurons of layer {}", layer), expert);
  SynthShape shape = o_.shape;
  shape.n_ff = n_ff;
  return plant_mlp(shape, o_.planting.density[layer], tokens_.n_contexts(), stream, noise);
}

PlantedMlp PlantedRows::mlp(size_t layer, double stream) const {
  SynthNoise noise(o_.seed, "neurons", layer);
  return plant_mlp(o_.shape, o_.planting.density[layer], tokens_.n_contexts(), stream, noise);
}

}  // namespace hunch
