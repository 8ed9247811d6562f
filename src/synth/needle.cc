#include "synth/needle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "synth/noise.h"
#include "synth/vocab.h"
#include "synth/write_tensors.h"

namespace hunch {
namespace {

using L = NeedleLayout;

constexpr size_t kNff = 32;         // of MLPs that do nothing
constexpr double kRopeBase = 7;     // frequencies from 1 down to 1/7: a neighbour is told from the next one
constexpr double kStepScore = 160;  // of the token before; its neighbours are 20 less, all others 70 or more
constexpr double kMatchScore =
    60;  // of a token whose predecessor is the same word; of other words 36 at most, of 2,000
constexpr double kBeginScore = 43;  // of the text's beginning, where nothing matches
constexpr double kLogit = 30;       // of what was found
const double kRootHead = std::sqrt(double(L::kHead));

// A stream of squared length n, normalised, is multiplied by this.
double norm_factor(double n) { return std::sqrt(double(L::kWidth) / n); }

double frequency(size_t pair) { return std::pow(kRopeBase, -2.0 * double(pair) / double(L::kRotated)); }

// Of length 1. The token that begins texts has none.
void code_of(uint64_t seed, size_t token, std::span<float> out) {
  SynthNoise(seed, "needle code", token).normal(1, out);
  double sum = 0;
  for (const float v : out) sum += double(v) * v;
  for (float& v : out) v = float(v / std::sqrt(sum));
}

constexpr size_t kBos = 1;

// The first layer: query and key are the same for all tokens, and turned against each other by one position.
double step_factor() {  // twice in a score, and each time the norm's
  return std::sqrt(kStepScore * kRootHead / double(L::kRotated / 2)) / norm_factor(2);
}
void step_query(size_t row, std::span<float> out) {
  if (row >= L::kRotated) return;
  const double angle = -frequency(row / 2);
  out[L::kOne] = float(step_factor() * (row % 2 ? std::sin(angle) : std::cos(angle)));
}
void step_key(size_t row, std::span<float> out) {
  if (row < L::kRotated && row % 2 == 0) out[L::kOne] = float(step_factor());
}

// The second layer: what is not rotated meets by content; its last value is that of the beginning.
double match_factor() { return std::sqrt(kMatchScore * kRootHead) / norm_factor(3); }
double begin_factor() { return std::sqrt(kBeginScore * kRootHead); }
void match_query(size_t row, std::span<float> out) {
  if (row < L::kRotated) return;
  const size_t i = row - L::kRotated;
  if (i < L::kCode) out[L::kOwn + i] = float(match_factor());
  if (i == L::kCode) out[L::kOne] = float(begin_factor() / norm_factor(3));
}
void match_key(size_t row, std::span<float> out) {
  if (row < L::kRotated) return;
  const size_t i = row - L::kRotated;
  if (i < L::kCode) out[L::kBefore + i] = float(match_factor());
  if (i == L::kCode) out[L::kBegin] = float(begin_factor() / norm_factor(2));  // it has no predecessor
}

// Both layers carry codes, as they are.
void value(size_t layer, size_t row, std::span<float> out) {
  if (row < L::kCode) out[L::kOwn + row] = float(1 / norm_factor(layer ? 3 : 2));
}
void carry(size_t layer, size_t row, std::span<float> out) {
  const size_t first = layer ? L::kFound : L::kBefore;
  if (row >= first && row < first + L::kCode) out[row - first] = 1;
}

using Fill = std::function<void(size_t row, std::span<float> out)>;

SynthTensor tensor(std::string name, std::vector<uint64_t> shape, Fill fill) {
  return {std::move(name), std::move(shape), [fill = std::move(fill)](size_t row, std::span<float> out) {
            std::ranges::fill(out, 0.0f);
            fill(row, out);
          }};
}

SynthTensor ones(std::string name) {
  return tensor(std::move(name), {L::kWidth}, [](size_t, std::span<float> out) { std::ranges::fill(out, 1.0f); });
}

Metadata metadata(const NeedleOptions& options) {
  Metadata meta;
  const auto count = [&](const char* key, size_t value) { meta.set(std::string("llama.") + key, uint32_t(value)); };
  meta.set("general.architecture", std::string("llama"));
  meta.set("general.name", fmt::format("synth needle (constructed weights, seed {})", options.seed));
  meta.set("general.file_type", info(options.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  count("block_count", 2);
  count("context_length", options.n_ctx);
  count("embedding_length", L::kWidth);
  count("feed_forward_length", kNff);
  count("attention.head_count", 1);
  count("attention.head_count_kv", 1);
  count("attention.key_length", L::kHead);
  count("attention.value_length", L::kHead);
  count("rope.dimension_count", L::kRotated);
  count("vocab_size", options.n_vocab);
  meta.set("llama.rope.freq_base", float(kRopeBase));
  meta.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  write_tokenizer_to_gguf(synth_tokenizer(options.n_vocab), meta);
  return meta;
}

void check(const char* what, size_t value, size_t low, size_t high) {
  if (value < low || value > high) fail(ErrorKind::kUsage, "{} is {}, expected {} to {}", what, value, low, high);
}

}  // namespace

std::vector<SynthTensor> needle_tensors(const NeedleOptions& options) {
  check("n_vocab", options.n_vocab, kMinSynthVocab, 1u << 16);  // of more, some codes are too much alike
  check("n_ctx", options.n_ctx, 16, 1u << 20);
  const uint64_t n_vocab = options.n_vocab, seed = options.seed;
  std::vector<SynthTensor> t;
  t.push_back(tensor("token_embd.weight", {n_vocab, L::kWidth}, [seed](size_t token, std::span<float> out) {
    out[L::kOne] = 1;
    if (token == kBos) {
      out[L::kBegin] = 1;
    } else {
      code_of(seed, token, out.subspan(L::kOwn, L::kCode));
    }
  }));
  for (size_t layer = 0; layer < 2; ++layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    t.push_back(ones(blk + "attn_norm.weight"));
    t.push_back(tensor(blk + "attn_q.weight", {L::kHead, L::kWidth}, layer ? match_query : step_query));
    t.push_back(tensor(blk + "attn_k.weight", {L::kHead, L::kWidth}, layer ? match_key : step_key));
    t.push_back(tensor(blk + "attn_v.weight", {L::kHead, L::kWidth},
                       [layer](size_t row, std::span<float> out) { value(layer, row, out); }));
    t.push_back(tensor(blk + "attn_output.weight", {L::kWidth, L::kHead},
                       [layer](size_t row, std::span<float> out) { carry(layer, row, out); }));
    t.push_back(ones(blk + "ffn_norm.weight"));
    const auto zero = [](size_t, std::span<float>) {};
    t.push_back(tensor(blk + "ffn_gate.weight", {kNff, L::kWidth}, zero));
    t.push_back(tensor(blk + "ffn_up.weight", {kNff, L::kWidth}, zero));
    t.push_back(tensor(blk + "ffn_down.weight", {L::kWidth, kNff}, zero));
  }
  t.push_back(ones("output_norm.weight"));
  t.push_back(tensor("output.weight", {n_vocab, L::kWidth}, [seed](size_t token, std::span<float> out) {
    if (token == kBos) return;
    code_of(seed, token, out.subspan(L::kFound, L::kCode));
    for (float& v : out) v *= float(kLogit / norm_factor(4));
  }));
  return t;
}

SynthReport write_needle(const std::filesystem::path& output, const NeedleOptions& options, Compute& compute,
                         const Progress& progress) {
  const std::vector<SynthTensor> tensors = needle_tensors(options);
  return write_tensors(output, metadata(options), tensors, options.dtype, compute, progress);
}

}  // namespace hunch
