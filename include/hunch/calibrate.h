// Learning which parts of a model a text needs: `hunch sparsify`. What is learned is kept in a file beside the model,
// its sidecar, and the plan "sparse" uses it.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::CalibrationOptions options;
//   options.max_ppl_increase = 0.01;
//   options.on_progress = [](std::string_view what, std::uint64_t done, std::uint64_t total) {
//     std::cout << what << ' ' << done << " of " << total << '\n';
//   };
//   const hunch::Calibration made = hunch::calibrate(model, "A long text. ...", options);
//   std::cout << made.sidecar.string() << ": perplexity " << made.perplexity_dense << " -> " << made.perplexity_sparse
//             << '\n';
//
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"
#include "hunch/progress.h"

namespace hunch {

struct CalibrationOptions {
  // "predict": fitted predictors of exact zeros; "cats", "griffin", "teal": thresholds for smooth activations; "auto":
  // predict where the activation has exact zeros, else cats
  std::string method = "auto";
  double max_ppl_increase = 0.01;  // the budget: a share of the dense perplexity
  double density = 0;              // above 0: a mean share of the neurons to keep instead of that budget
  std::size_t max_tokens = 50000;  // of the text that are used; at most 400,000
  bool heads = true;               // leave heads of attention out too, where it pays
  bool screen = true;              // compute only likely logits in greedy answers, where it pays
  // Of "predict". What predicts the neurons of a layer: "lowrank": trained two-layer classifiers, "lowrank_relu": with
  // a ReLU between the layers, "svd": their closed form, "signs": one bit per weight, "hot": the same neurons for every
  // token, "auto": whichever loses least for its bytes.
  std::string predictor = "auto";
  std::size_t rank = 0;                  // of "lowrank" and "svd"; 0: several, chosen likewise
  std::size_t n_epochs = 6;              // of training, at most
  std::string look_ahead = "none";       // "attention": neurons are predicted from attention's input, known earlier
  std::string head_look_ahead = "none";  // "previous": heads from attention's input of the layer before
  // Keys and values of heads that are left out: "write" them with their token, or compute them, "lazy", when a token
  // needs them; "auto": whichever is faster here.
  std::string head_keys = "auto";
  std::filesystem::path sidecar = {};  // the file to write; empty: MODEL.hunch beside the model
  OnProgress on_progress = {};
  // Ends the call with Error{kInterrupted}. Layers that were finished are kept in SIDECAR.partial: the same call goes
  // on from there.
  const Cancel* cancel = nullptr;
};

struct Calibration {
  std::filesystem::path sidecar;                       // the file that was written
  std::string method;                                  // "predict", "cats", "griffin" or "teal"
  bool met = true;                                     // whether the budget was
  double perplexity_dense = 0, perplexity_sparse = 0;  // on a part of the text that nothing was fitted to
  double kl = 0;                                       // mean KL divergence from the dense distribution, nats
  double top1 = 0;                                     // share of tokens whose most probable next token is the same
  double speed_up = 1;                                 // decoding, measured against dense
  std::vector<std::string> notes;
};

// Fits the model, without adapters, to a text of at least 1200 tokens like what it will read, writes the sidecar, and
// makes it the model's own: "sparse" means it from the next call on; sessions that began earlier keep their plan.
// Throws Error{kUsage} for a text that is too short, a budget or a name that makes no sense, Error{kUnsupported} for
// what cannot be predicted, Error{kInterrupted}, Error{kIo}.
Calibration calibrate(LanguageModel& model, std::string_view text, const CalibrationOptions& options = {});

}  // namespace hunch
