// A run of training: steps over a text, the loss on a text that is held out, checkpoints.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "train/checkpoint.h"
#include "train/losses.h"
#include "train/network.h"
#include "train/optimizer.h"
#include "train/pruning_schedule.h"
#include "train/token_source.h"

namespace hunch {

// Tokens that are computed together: enough for the products to be fast, and few enough for their values to fit.
constexpr size_t kTokensTogether = 2048;

// How a step changes the parameters.
enum class Update : uint8_t {
  kGradients,  // gradients of the whole batch, clipped, through the optimiser
  kFused,      // LOMO (Lv et al. 2023, arXiv:2306.09782): each block's as soon as they are there, one block in memory
  kMezo,       // along a random direction, forward passes only
};

struct TrainerOptions {
  Update update = Update::kGradients;
  OptimizerOptions optimizer;
  double learning_rate = 1e-3, last_rate = 0.1;  // the peak, and its share at the end
  size_t n_steps = 100, n_warmup = 10;
  size_t n_ctx = 256, n_batch = 8;  // tokens of a window, windows of a step
  double clip = 1.0;                // largest norm of the gradients; 0: any
  float mezo_eps = 1e-3f;
  double l1 = 0;  // Network::set_l1() at its height, which it rises to along sines over three quarters of the steps
  size_t l1_stages = 1;  // equal parts of that time, each of which rises by as much and ends level
  // Of a model that became one with ReLUs: its threshold at last, which rises along a line from kThresholdBegins to
  // kThresholdEnds of the steps. The others get used to it.
  float threshold = 0;
  static constexpr double kThresholdBegins = 0.75, kThresholdEnds = 0.9;
  std::optional<PruningSchedule> prune;  // of the blocks' matrices, while they are trained
  uint64_t seed = 1;
  size_t eval_every = 50, most_eval_windows = 64;  // steps between held-out losses, and windows that they look at
  size_t checkpoint_every = 100;                   // steps; 0: only when the run is interrupted
  std::filesystem::path checkpoint;                // empty: none
  DistillOptions distill;                          // where there is a teacher
  TrainSettings settings;                          // what else the run depends on: the model, the text, the method
};

// What is told after every step.
struct TrainProgress {
  size_t step = 0, n_steps = 0;
  double loss = 0, held_out = -1;  // of the newest step; the newest that was measured, negative before
  double learning_rate = 0, tokens_per_s = 0, seconds_left = 0;
};

struct TrainerReport {
  std::vector<LossPoint> curve;                                 // every step's
  double held_out_before = -1, held_out_after = -1;             // negative: nothing is held out
  size_t n_parameters = 0, n_steps = 0, first_step = 0;         // where this call began
  double seconds = 0, seconds_measuring = 0, tokens_per_s = 0;  // without the first held-out loss; on held-out losses
};

class Trainer {
 public:
  // `network` has its parameters; `held_out` may be empty. `teacher` of the same vocabulary, or none. All outlive this.
  // Throws Error{kUsage} for options that contradict each other or the model, and for a text that is too short.
  Trainer(Network& network, std::span<const int32_t> ids, std::span<const int32_t> held_out, TrainerOptions options,
          Network* teacher = nullptr);

  // The same from batches of any kind, whose windows have at most options.n_ctx tokens.
  Trainer(Network& network, std::unique_ptr<BatchSource> source, std::vector<TokenBatch> held_out,
          TrainerOptions options, Network* teacher = nullptr);

  // Goes on from options.checkpoint where there is one, to the last step.
  //
  // Throws Error{kInterrupted} when the Compute's stop asks for it, after a checkpoint has been written; Error{kFormat}
  // for a loss or gradient that is no number, naming step and parameter: then the last checkpoint stays as it is; and
  // what read_checkpoint() and write_checkpoint() throw.
  TrainerReport run(const std::function<void(const TrainProgress&)>& progress = {});
  // The same until `ends` says so after a step.
  TrainerReport run_until(const std::function<bool(const TrainProgress&)>& ends);

  // One step: the loss of its batch, before it. For tests.
  double step();
  double held_out_loss();

 private:
  TrainSettings settings_of_run() const;
  LossOfRows loss_of(const TokenBatch& batch, double weight);
  double loss_value(const TokenBatch& batch, double weight);
  double l1_now() const;
  float threshold_now() const;
  double gradients_of(const std::vector<TokenBatch>& parts);
  double gradient_step(const std::vector<TokenBatch>& parts, double rate);
  double fused_step(const std::vector<TokenBatch>& parts, double rate);
  double mezo_step(const std::vector<TokenBatch>& parts, double rate);
  std::vector<TokenBatch> next_batch();
  void save();

  Network& network_;
  Compute& compute_;
  Network* const teacher_;
  const TrainerOptions options_;
  const std::unique_ptr<BatchSource> source_;
  std::vector<TokenBatch> held_out_;
  std::unique_ptr<Optimizer> optimizer_;  // none: MeZO
  Schedule schedule_;
  TrainState state_;
  size_t n_tokens_done_ = 0;  // by this call of run()
};

}  // namespace hunch
