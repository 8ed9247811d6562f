// A language model from a file: load it, look at it, turn text into tokens.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   std::cout << model.info().architecture << ", " << model.info().n_params << " parameters\n";
//   std::vector<std::int32_t> ids = model.tokenize("Once upon a time");
//   std::cout << model.detokenize(ids) << '\n';
//
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/error.h"

namespace hunch {

class LanguageModel;

// How much of a model is computed.
struct PlanChoice {
  // "dense": everything. "exact": all but what ReLU set to zero; equal to dense up to rounding. "sparse": what the
  // sidecar says is needed (calibrate.h), an approximation with a known price.
  std::string name = "exact";
  double density = 0;  // of "sparse": mean share of the neurons to keep, in (0, 1]; 0: as it was calibrated
  std::filesystem::path sidecar = {};  // of "sparse"; empty: the model's own (LoadOptions::sidecar)
  bool operator==(const PlanChoice&) const = default;
};

// What a fine-tuning adds to the model's matrices: a PEFT folder or a GGUF file.
struct LoraAdapter {
  std::filesystem::path path = {};
  float scale = 1;  // how much of the difference between the base model and the adapted one: 0 none, 1 all of it
  bool operator==(const LoraAdapter&) const = default;
};

// Plan, key policy, router and adapters are those of calls that choose none themselves.
struct LoadOptions {
  std::size_t n_threads = 0;  // 0: one per physical core that the process may use
  std::size_t n_ctx = 0;      // tokens of context; 0: the model's own, at most 4096
  // Type of cached keys and values: "f32" is exact; "f16", whose price is below what eval can show, "q8_0", "q4_0-rot",
  // "kivi-2" and others are smaller, and rounded (docs/context.md). Vectors and hidden states are made in "f32".
  std::string kv = "f16";
  // Of products of many tokens (prompts, batches) with F32, F16, BF16, FP8, NF4, FP4 and I8_64 weights: "f32", or
  // "bf16", which rounds both factors to 8 bits, an error of 0.23 % (docs/kernels.md), and is faster on processors that
  // multiply bf16. Of the model's own threads; with threads_of it is that model's.
  std::string precision = "f32";
  PlanChoice plan = {};
  // Which cached tokens stay, "NAME:BUDGET": "streaming:256", "h2o:128", "spatten:128", an approximation
  // (docs/key-policies.md). Empty: all stay.
  std::string kv_policy = {};
  // Which experts the tokens of a mixture go to instead of its own choice, "NAME[:NUMBER]": "top:1", "capacity:1.25",
  // "prioritised:1.25", "choice:1", "balanced", "sinkhorn" (docs/experts.md). Empty: its own.
  std::string experts = {};
  std::vector<LoraAdapter> adapters = {};  // added up
  std::filesystem::path sidecar = {};      // empty: MODEL.hunch beside the model, where there is one
  // What rows cost to read each way, a file that `hunch bench --batch N --costs FILE` wrote, so that every process
  // chooses alike. Empty: measured where several sequences are computed together.
  std::filesystem::path costs = {};
  // Where it is computed: "cpu", "vulkan:0" and so on (`hunch devices` lists them), or "auto": a card that can, else
  // cpu (docs/devices.md). What a device does not compute is refused by name, Error{kUnsupported}.
  std::string device = "cpu";
  // Its last layers that the device computes, the others are the processor's. Empty: all, of "auto" as many as fit.
  std::optional<std::size_t> gpu_layers = {};
  // Of these layers' neurons so large a share, the busiest, the others are the processor's at the same time; 1: all. 0:
  // as many as have both ready together. The sidecar says which are busy.
  double gpu_neurons = 1;
  // Take turns with this model's threads (and leave n_threads unused): for a draft model beside its target.
  const LanguageModel* threads_of = nullptr;
  const Cancel* cancel = nullptr;  // ends the loading with Error{kInterrupted}
};

// What a model's file says of it.
struct ModelInfo {
  std::string architecture = {};   // as in GGUF: "opt", "llama", ...
  std::string name = {};           // empty where the file has none
  std::string dtype = {};          // of most weights: "f16", "q4_k", ...
  std::uint64_t n_params = 0;      // numbers in all tensors
  std::uint64_t weight_bytes = 0;  // that these take in the file
  std::size_t n_layer = 0;         // attention and MLP, one after the other
  std::size_t n_embd = 0;          // values of a token between the layers
  std::size_t n_head = 0;          // of queries, in each layer
  std::size_t n_kv_head = 0;       // of keys and values
  std::size_t n_ff = 0;            // neurons of each MLP that is no expert
  std::size_t n_vocab = 0;         // tokens that it can predict
  std::size_t n_ctx_train = 0;     // tokens of context that it was trained with
  std::size_t n_ctx = 0;           // that a call has room for: LoadOptions::n_ctx, or what that stands for
  std::string device = {};         // where it is computed: "cpu", "vulkan:0 (its name), 12 of 32 layers"
  std::int32_t bos = -1;           // token that begins a text; -1: it has none
  std::int32_t eos = -1;           // token that ends a text; -1: it has none
  bool has_tokenizer = false;      // without one, ids only
  bool has_chat_template = false;  // LanguageModel::apply_chat_template(), ChatSession
};

// Not for concurrent use: one call at a time per object and all that was made from it (sessions, batches). Models are
// independent of each other, unless they share threads.
class LanguageModel {
 public:
  // Opens a GGUF file, a Hugging Face model folder or a llama2.c .bin. Throws Error{kNotFound | kIo | kFormat |
  // kUnsupported} for what cannot be read, Error{kUsage} for options that cannot be meant, Error{kMemory},
  // Error{kInterrupted} when it is cancelled.
  explicit LanguageModel(const std::filesystem::path& path, const LoadOptions& options = {});
  ~LanguageModel();
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(LanguageModel&&) noexcept;

  // Valid as long as the model.
  const ModelInfo& info() const;

  // Token ids of a text. `add_special` adds BOS / EOS as the model's family wants them;
  // `parse_special` reads "<s>" and the like in the text as control tokens.
  std::vector<std::int32_t> tokenize(std::string_view text, bool add_special = true, bool parse_special = false) const;
  // Text of token ids. Throws Error{kUsage} for an id outside the vocabulary.
  std::string detokenize(std::span<const std::int32_t> ids, bool skip_special = true) const;

  // The model's chat template rendered for messages_json, a JSON list of {"role", "content"}.
  // Throws Error{kNotFound} for a model without one.
  std::string apply_chat_template(std::string_view messages_json, bool add_generation_prompt = true) const;

 private:
  struct Impl;
  friend struct Inside;  // the library's own functions
  std::shared_ptr<Impl> impl_;
};

}  // namespace hunch
