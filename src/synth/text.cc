#include "synth/text.h"

#include "base/error.h"
#include "synth/plant.h"
#include "synth/vocab.h"

namespace hunch {
namespace {

constexpr size_t kShortestStretch = 64, kLongestStretch = 192;
constexpr double kSuccessorShare = 0.6;

}  // namespace

std::vector<int32_t> synth_text_ids(const SynthOptions& options, size_t n_tokens, uint64_t text_seed) {
  validate(options.shape);
  validate_planting(options);
  const SynthTokens tokens(options.planting.n_contexts, options.shape.n_vocab, options.seed);
  SynthNoise noise(text_seed, "text", options.seed);
  std::vector<int32_t> ids;
  while (ids.size() < n_tokens) {
    const std::span<const uint32_t> words = tokens.words(noise.below(tokens.n_contexts()));
    size_t left = kShortestStretch + noise.below(kLongestStretch - kShortestStretch + 1);
    uint32_t word = words[noise.below(words.size())];
    for (; left > 0 && ids.size() < n_tokens; --left) {
      ids.push_back(int32_t(word));
      word = noise.uniform() < kSuccessorShare ? uint32_t(tokens.successor(word)) : words[noise.below(words.size())];
    }
  }
  return ids;
}

std::string synth_text(std::span<const int32_t> ids) {
  std::string text;
  for (int32_t id : ids) {
    if (!text.empty()) text += ' ';
    text += synth_word(size_t(id));
  }
  return text;
}

}  // namespace hunch
