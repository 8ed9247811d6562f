// Fitting a model to a text, or to examples: `hunch train`. An adapter of some hundred kilobytes beside weights that
// stay as they are, or all weights.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::TrainingOptions options;
//   options.n_steps = 2;
//   options.n_ctx = 32;
//   options.n_batch = 2;
//   options.on_step = [](const hunch::TrainingStep& step) {
//     std::cout << step.step << " of " << step.n_steps << ": loss " << step.loss << '\n';
//     return true;  // false: stop here, with what was learned
//   };
//   std::string text;
//   for (int i = 0; i < 100; ++i) text += "The king looked at the goose, and the goose looked at the king. ";
//   const hunch::Training done = hunch::train(model, text, "tone.gguf", options);
//   std::cout << done.out.string() << ": " << done.held_out_before << " -> " << done.held_out_after << '\n';
//
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"

namespace hunch {

// What is told after a step.
struct TrainingStep {
  std::size_t step = 0, n_steps = 0;  // steps that were done
  double loss = 0;                    // of the step's windows before it, nats per token
  double held_out = -1;               // the newest that was measured; negative before
  double learning_rate = 0, tokens_per_s = 0, seconds_left = 0;
};

// A prompt, and the answer that is to be learned.
struct TrainingExample {
  std::string prompt, answer;
};

// docs/adaptation.md says what the methods are.
struct TrainingOptions {
  // "lora", "rslora", or, to folders only, "dora", "ia3", "prompt", "prefix"; "full": all weights.
  std::string method = "lora";
  std::size_t rank = 8;                  // of an adapter
  float alpha = 0;                       // of an adapter; 0: twice the rank
  std::size_t n_virtual_tokens = 20;     // of "prompt" and "prefix"
  std::vector<std::size_t> only_layers;  // train these alone; empty: all
  std::string optimizer = "adamw";       // "adamw", "adamw8", "lion", "muon", "sgd", "lomo", "mezo"
  double learning_rate = 0;              // the peak; 0: by method and optimiser
  double last_rate = 0.1;                // its share at the last step
  double weight_decay = 0, clip = 1;
  std::size_t n_steps = 0;        // 0: as many as the passes take
  double n_epochs = 1;            // passes
  std::size_t n_ctx = 0;          // tokens of a window; 0: 256, or the model's context; of examples the longest one's
  std::size_t n_batch = 8;        // windows of a step
  std::string precision = "f32";  // of matrix products: "f32", "bf16" (processors with AVX512_BF16)
  std::uint64_t seed = 1;         // the same seed gives the same bits, by any number of threads
  std::string held_out;           // text to measure the loss on; empty: the end of what is trained on
  std::size_t eval_every = 50;
  // A model of the same vocabulary, whose probabilities are learned, with this share of the loss; the rest is the
  // text's. It is not used by others meanwhile, and has no adapters (merge them first).
  LanguageModel* teacher = nullptr;
  double distill_share = 1, distill_temperature = 1;
  bool reverse_kl = false;  // KL(model || teacher) instead of KL(teacher || model)
  // With "full": the type that the blocks' matrices are rounded to in every step, and written in; empty: their own.
  std::string type;
  bool keep_zeros = false;  // with "full": weights that are 0 stay so
  double prune = 0;         // with "full": this share of each of the blocks' matrices becomes 0, little by little
  // Where to go on from, and what is written on the way: OUT.checkpoint. Empty: none.
  bool checkpoints = false;
  std::size_t checkpoint_every = 100;
  bool replace = false;  // an output that is there already
  std::function<bool(const TrainingStep&)> on_step = {};
  const Cancel* cancel = nullptr;  // ends the call with Error{kInterrupted}, after a checkpoint
};

// What came of it.
struct Training {
  std::filesystem::path out;
  std::size_t n_parameters = 0, n_steps = 0;
  double held_out_before = -1, held_out_after = -1;  // negative: nothing was held out
  std::vector<double> losses;                        // of every step
  double seconds = 0, tokens_per_s = 0;
};

// Trains `model`, which stays as it is, without adapters, and writes OUT: a GGUF adapter (NAME.gguf), a PEFT folder
// (another name), or the model of "full" (NAME.gguf). LoadOptions::adapters takes adapters at once. Throws
// Error{kUsage} for options that contradict each other, a text too short for a window, and an output that is there;
// Error{kUnsupported} for models that training does not cover; Error{kFormat} for a loss that is no number, naming the
// step; Error{kInterrupted}; Error{kIo}.
Training train(LanguageModel& model, std::string_view text, const std::filesystem::path& out,
               const TrainingOptions& options = {});
// The same from examples: the loss is of the answers alone.
Training train(LanguageModel& model, const std::vector<TrainingExample>& examples, const std::filesystem::path& out,
               const TrainingOptions& options = {});

}  // namespace hunch
