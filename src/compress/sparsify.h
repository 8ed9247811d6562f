// From a model and a text to a sidecar: trace, fit predictors, choose among them, set their thresholds to a budget.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "compress/screen_fit.h"
#include "measure/compare.h"
#include "model/sidecar.h"

namespace hunch {

enum class HeadMode : uint8_t {
  kOff,  // every head is computed
  // Heads are left out where it pays.
  kWrite,  // keys and values of every head are computed with their token
  kLazy,   // those of heads that are left out when they are next needed
  kAuto,   // whichever of the two decodes faster here
};

struct SparsifyOptions {
  size_t max_tokens = 50000;  // of the text; at most 400,000
  // auto | predict | cats | griffin | teal; auto: predict where the activation has exact zeros, else cats
  std::string method = "auto";
  std::string predictor = "auto";  // auto | lowrank | lowrank_relu | svd | signs | hot
  Look input = Look::kHere;
  size_t rank = 0;                 // of lowrank and svd; 0: several, chosen by what they give for their bytes
  size_t n_epochs = 6;             // of training, at most
  double max_ppl_increase = 0.01;  // share; used where density is 0
  HeadMode heads = HeadMode::kAuto;
  Look head_input = Look::kHere;
  bool screen = true;  // screen the vocabulary where that saves bytes
  double density = 0;  // mean share of the neurons over all layers, instead of a limit on the perplexity
  // Of predict: a folder for layers that are finished, where an interrupted run is taken up again (FitStore). The
  // caller clears it when the result is safe. Empty: none.
  std::filesystem::path finished;
};

struct SparsifyLayer {
  std::string predictor;  // "lowrank 64 q8_0", "cats", "griffin", "teal", or "none"
  double active = 1;      // share of the neurons that are not zero
  // Predicted; share of the active ones among them; of the squared contributions not. Without predictors: as
  // SidecarLayer::curve has it; missed: the block's error (BlockProbe::error).
  double density = 1, recall = 1, missed = 0;
  size_t predictor_bytes = 0;
  double exact_bytes = 0, bytes = 0;  // of the MLP, per decoded token; predictor included
  std::string note;
  // Of attention, likewise; missed: mean share of a token's squared contributions; recall: of the groups of heads that
  // carry 90 % of them. Bytes are those of W_q, W_k, W_v, W_o and of the keys and values of kTypicalContext tokens.
  std::string head_predictor = "none";
  double head_density = 1, head_recall = 1, head_missed = 0;
  double attention_exact_bytes = 0, attention_bytes = 0;
};

struct SparsifyReport {
  std::string method;  // "predict", "cats", "griffin" or "teal"
  Sidecar sidecar;
  size_t n_train = 0, n_calibrate = 0, n_check = 0;  // tokens
  std::vector<SparsifyLayer> layers;
  std::vector<CompareRow>
      rows;          // dense, exact (not where exact mode skips nothing), sparse on the tokens kept for the check
  ScreenFit screen;  // of the vocabulary
  bool met = true;
  std::vector<std::string> notes;
};

// Least tokens that a text must have.
constexpr size_t kMinSparsifyTokens = 1200;

// The text's tokens are split by position: the first part is traced and fitted to, the next sets thresholds and chooses
// predictors, the last is only used to measure what came out. Throws Error{kUsage} for a text that is too short or a
// budget that makes no sense, Error{kUnsupported} for predictors of models without exact zeros and for models with
// experts, Error{kFormat} for activations that are not finite, Error{kInterrupted}.
SparsifyReport sparsify(const Engine& engine, std::span<const int32_t> ids, const SparsifyOptions& options,
                        const Progress& progress = {});

}  // namespace hunch
