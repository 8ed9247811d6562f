// From logits to the next token.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace hunch {

// The steps run in the order of the fields, each on what the former left:
//   logit bias -> repetition, frequency and presence penalties -> temperature -> top-k -> typical
//   -> top-p -> min-p -> draw.
// The defaults change nothing: they sample from the model's own distribution. temperature 0 is greedy.
struct SamplerOptions {
  std::map<int32_t, float> logit_bias;  // added to the logits; -inf forbids a token
  // Keskar et al. 2019 (CTRL), section 4.1: logits of tokens among the last `penalty_last_n` are
  // divided (if positive) or multiplied by this. 1 = off.
  float repeat_penalty = 1.0f;
  float frequency_penalty = 0.0f;  // subtracted once per earlier occurrence (OpenAI's definition)
  float presence_penalty = 0.0f;   // subtracted once if the token has occurred
  int32_t penalty_last_n = 64;     // how far back penalties look, tokens; -1 = the whole text
  float temperature = 1.0f;
  int32_t top_k = 0;       // keep the k most probable; 0 = all
  float typical_p = 1.0f;  // Meister et al. 2022: keep the tokens nearest the entropy; 1 = off
  float top_p = 1.0f;      // Holtzman et al. 2020: smallest set with this much probability; 1 = off
  float min_p = 0.0f;      // keep tokens with at least this share of the best one's probability
  uint64_t seed = 0;
};

// Throws Error{kUsage} naming the field, its range and the value.
void validate(const SamplerOptions& options);

// Whether these choose the largest logit, whatever the others are.
bool is_argmax(const SamplerOptions& options);

// Of how many of the largest logits these choose, of equals those with the smaller ids, whatever the others are; 0: any
// may be chosen.
size_t n_deciding(const SamplerOptions& options);

struct TokenProbability {
  int32_t id;
  float log_prob;  // of the model's own distribution (temperature 1, no penalties)
};

class Sampler {
 public:
  explicit Sampler(SamplerOptions options);

  // The next token for these logits [n_vocab] after `history` (prompt and answer so far), which becomes token number
  // `position` of the text. What is random in it depends on seed, position and token id only: equal seeds and inputs
  // give equal tokens on every machine, in whatever order and however often positions are asked for. So a draft is
  // judged by drawing as without one, and a drafter with the same seed guesses what is drawn here as far as its
  // distribution is the same: with probability (1 - d) / (1 + d) at least, d being their total variation distance
  // (Daliri, Musco and Suresh 2024, arXiv:2408.07978). At least one token always remains.
  // `allowed` is Constraint::mask(): of other tokens none is drawn; empty: of all. -1: it allows none.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, size_t position,
                 std::span<const uint64_t> allowed = {});

  // Probabilities [n_vocab] that sample() draws from; 0 for tokens that were cut.
  std::vector<float> distribution(std::span<const float> logits, std::span<const int32_t> history);

  const SamplerOptions& options() const { return options_; }

 private:
  struct Candidate {
    int32_t id;
    float logit, p;
  };
  void prepare(std::span<const float> logits, std::span<const int32_t> history, std::span<const uint64_t> allowed);
  int32_t draw_candidate(size_t position) const;
  void sort_first(size_t n);

  SamplerOptions options_;
  std::vector<Candidate> candidates_;  // what is left
  size_t n_sorted_ = 0;  // so many of them are the most probable ones, the best first; the others follow as they are
  std::vector<float> adjusted_;
};

// log p of one token, and the n most probable tokens in descending order, under softmax(logits).
float log_prob(std::span<const float> logits, int32_t id);
std::vector<TokenProbability> top_log_probs(std::span<const float> logits, size_t n);

}  // namespace hunch
