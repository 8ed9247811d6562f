// What a training changes, in the words of who asks for it: what hunch train and hunch::train() share.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "train/example_source.h"
#include "train/new_model.h"
#include "train/trainer.h"

namespace hunch {

struct TrainingJob {
  std::string method = "lora";   // one of training_methods()
  size_t rank = 8;               // of adapters
  size_t n_virtual_tokens = 20;  // of "prompt" and "prefix"
  float alpha = 0;               // 0: twice the rank
  std::vector<Role> roles;       // of the matrices that get adapters; empty: all
  std::vector<size_t> only_layers;
  bool is_new = false, grows = false;  // all weights of another model than the one that is given
  ShapeChange shape;
  InitialWeights initial = InitialWeights::kFanIn;
  std::optional<DType> type;     // of new and grown models, and of quantisation-aware training
  bool learns_clipping = false;  // of what `type` rounds
  std::optional<float> relu;     // the MLPs get used to a ReLU, at last with this threshold
  bool keep_zeros = false;
  double prune = 0;                 // final share of zeros
  std::string optimizer = "adamw";  // optimizer_names(), "lomo", "mezo"
  double learning_rate = 0;         // 0: by method and optimiser
  Precision precision = Precision::kF32;

  bool trains_all() const { return method == "full" || is_new || grows; }
  bool has_virtual_tokens() const { return !trains_all() && (method == "prompt" || method == "prefix"); }
  bool has_low_rank() const { return !trains_all() && !has_virtual_tokens() && method != "ia3"; }
};

// "lora", "rslora", "dora", "ia3", "prompt", "prefix", "full".
const std::vector<std::string>& training_methods();
// Whether a GGUF adapter can hold what the job trains; a PEFT folder holds all that is no model.
bool fits_gguf_adapter(const TrainingJob& job);
// Whether an output of this name is a PEFT folder.
bool writes_folder(const TrainingJob& job, const std::filesystem::path& out);

// How the job's optimiser steps: update, optimiser and learning rate of `options`.
void set_optimizer(const TrainingJob& job, TrainerOptions& options);
// Steps and warm-up of so many passes over n_windows, where n_steps is 0; and the pruning's schedule.
void set_steps(const TrainingJob& job, size_t n_windows, double n_epochs, std::optional<size_t> n_warmup,
               TrainerOptions& options);

// The model that training begins with, where that is not `given`; named so.
std::unique_ptr<Model> first_model(const TrainingJob& job, const Model& given, Compute& compute, uint64_t seed,
                                   const std::string& name);
// Makes what the job trains the network's parameters. Throws as Network's functions.
void prepare(const TrainingJob& job, uint64_t seed, Network& network);
// What a checkpoint is of, beside what Trainer knows: the model and the job.
TrainSettings settings_of(const TrainingJob& job, const Model& model);
// Writes the model, the GGUF adapter or the PEFT folder that was trained.
void save_trained(const TrainingJob& job, Network& network, const std::filesystem::path& out,
                  const std::string& base_name, bool replace);

// Throws Error{kUnsupported} saying where a teacher's vocabulary is another than the model's.
void require_same_vocabulary(const Tokenizer& own, const Tokenizer& teachers);

// A prompt and its answer as a run would see them: with what the tokenizer puts before a text, and an end after the
// answer. Throws Error{kUsage} for an answer without tokens.
Example encode_example(const Tokenizer& tokenizer, const std::string& prompt, const std::string& answer);

// Windows of n_ctx tokens, and one to predict, that a text of so many has.
size_t windows_of_text(size_t n_tokens, size_t n_ctx);
// SHA-256 of what is trained on: a text, examples, or questions.
std::string hash_of(std::span<const int32_t> ids, std::span<const Example> examples,
                    std::span<const Question> questions);

// A part of a text's ids that is held out: the last 5 %, at least one window; none of a text too short to spare it.
std::vector<int32_t> hold_out(std::vector<int32_t>& ids, size_t n_ctx);
// The last tenth of examples, or questions.
template <class T>
std::vector<T> hold_out(std::vector<T>& all) {
  const size_t n = all.size() / 10;
  std::vector<T> out(all.end() - ptrdiff_t(n), all.end());
  all.resize(all.size() - n);
  return out;
}

}  // namespace hunch
