// The options of hunch train.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

struct TrainFlags {
  ModelFlags model;
  std::string text, task, file, examples, eval, out, method = "lora", only, optimizer = "adamw";
  std::optional<uint64_t> rank, n_warmup, n_virtual_tokens;
  std::optional<std::string> alpha;
  size_t n_ctx = 0, n_batch = 8, n_steps = 0, seed = 1, eval_every = 50, checkpoint_every = 100;
  double learning_rate = 0, last_rate = 0.1, n_epochs = 1, clip = 1;  // a rate of 0: by method and optimiser
  float weight_decay = 0, distill_temperature = 1;
  std::string teacher, divergence = "forward", loftq, prompts, teacher_model;
  size_t n_answer_tokens = 128;
  float answer_temperature = 0;
  double distill_share = 1;
  std::string type = "auto", activation = "auto";
  float activation_threshold = 0;
  double l1 = 0;
  size_t l1_stages = 1;
  std::string precision = "f32";
  bool learns_clipping = false, keep_zeros = false;
  double prune = 0;
  std::vector<size_t> only_layers;
  bool is_new = false, grows = false;  // --method full is meant then
  std::optional<uint64_t> n_layer, n_embd, n_ff, n_head, n_kv_head;
  std::string init = "fan-in";
  bool restart = false, force = false;
};

int train(const TrainFlags& flags);

}  // namespace hunch::cli
