// What every verb works with: an opened model with its tokenizer and threads, and a context in which
// text is generated.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/compute.h"
#include "engine/prompt_neurons.h"
#include "engine/sampler.h"
#include "model/forward.h"
#include "model/head_columns.h"
#include "model/model.h"
#include "model/sidecar.h"
#include "text/tokenizer.h"

namespace hunch {

struct EngineOptions {
  size_t n_threads = 0;  // 0: default_n_threads()
  bool pin_threads = false;
  bool reblock_down = false;         // WeightOptions::reblock_down
  std::filesystem::path sidecar;     // empty: MODEL.hunch beside the model, where there is one
  std::shared_ptr<Compute> compute;  // of another engine, with which this one takes turns; none: its own
};

// A model ready to run. Shared and immutable but for its thread compute, which one caller uses at a time.
struct Engine {
  std::shared_ptr<Compute> compute;
  std::string source;               // "GGUF", "HF folder", "llama2.c"
  std::vector<std::string> unused;  // tensors of an HF folder that no mapping asked for
  std::unique_ptr<Model> model;
  std::optional<Tokenizer> tokenizer;  // none: ids only
  double load_ms = 0;
  // What `hunch sparsify` learned about the model. A sidecar found beside the model that is broken or another
  // model's is not used: what is wrong with it is an error only when sparse mode asks for it.
  std::shared_ptr<const Sidecar> sidecar;
  std::shared_ptr<HeadColumns> head_columns = std::make_shared<HeadColumns>();  // made when a sparse context needs them
  std::filesystem::path sidecar_path;                                           // where it is, or is looked for
  std::string sidecar_problem;
  std::shared_ptr<ColumnStore> columns;  // copies of weights by input, made when a sparse mode first needs them

  const ModelConfig& config() const { return model->config(); }
  // Throws Error{kNotFound | kFormat} naming what is wrong where there is none that fits.
  const Sidecar& need_sidecar() const;
  // Throws Error{kNotFound} for a model without a tokenizer.
  const Tokenizer& need_tokenizer() const;
};

// Opens a model path (not a hub id). Errors as open_model's and Model's.
Engine load_engine(const std::filesystem::path& path, const EngineOptions& options = {});

struct ContextOptions {
  size_t n_ctx = 0;              // tokens; 0: the model's own, at most `kDefaultMaxContext`
  DType kv_dtype = DType::kF32;  // kF32 is exact; kF16 halves the cache and rounds
  Mode mode = Mode::kExact;
  // Two-pass oracle (Liu et al. 2023, section 3.1): each token is first computed densely, then again
  // with only this share of the neurons, and of the heads, those with the largest output norms. 1 = off.
  double oracle_density = 1.0, oracle_head_density = 1.0;
  // Mode::kSparse: mean share of the neurons that the sidecar's predictors may choose; 0: as it was calibrated.
  double density = 0;
  const SparsePlan* plan = nullptr;  // instead of the sidecar's; outlives the context
  // Forward::predict_every_token. With GRIFFIN: the first half of a full context is the prompt, computed densely, and
  // every token after it is restricted to what it chose (Context::set_prompt).
  bool predict_every_token = false;
  bool has_oracle() const { return oracle_density < 1 || oracle_head_density < 1; }
};

// Without --ctx, long-context models do not reserve their whole context.
constexpr size_t kDefaultMaxContext = 4096;

// The context that would be used: checks `n_ctx` against the model. Beyond the trained context a
// learned table throws Error{kLimit}; RoPE and ALiBi go on (the caller warns).
size_t resolve_context(const ModelConfig& config, size_t n_ctx);

// One sequence in its own KV cache: prompts go in, logits come out.
class Context {
 public:
  // Memory is checked before it is reserved: Error{kMemory} names what is needed and available.
  Context(const Engine& engine, const ContextOptions& options);
  // The sequence of `host`, which must outlive this, computed another way: what one appends or truncates, the
  // other sees. Length and type of the cache are the host's.
  Context(const Engine& engine, const ContextOptions& options, const Context& host);
  ~Context();

  // Appends ids and returns the logits after the last one, [n_vocab], valid until the next call.
  // Prompts are computed in batches of kBatchTokens; Ctrl-C in a long one throws Error{kInterrupted}.
  // Error{kLimit} when the context is full: nothing is then appended.
  std::span<const float> append(std::span<const int32_t> ids, const Progress& progress = {});
  // As append(), but hands out the logits of every position, a batch at a time:
  // each(first index, logits [n, n_vocab]).
  void append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each);
  // Appends a few ids and returns the logits of each, [n, n_vocab], valid until the next call. Every row has the
  // bits that append() of one id after the other would give. Error{kLimit} as append().
  MatView<const float> append_as_alone(std::span<const int32_t> ids);
  void truncate(size_t n_tokens);
  // From now on only the largest logit of each position must be right (ForwardInput::only_best).
  void set_only_best(bool only_best) { only_best_ = only_best; }
  // Whether sparse mode computes the neurons that the prompt chose (GRIFFIN).
  bool chooses_by_prompt() const { return options_.mode == Mode::kSparse && plan_.uses(SmoothMethod::kGriffin); }
  // With predict_every_token and GRIFFIN: the first n tokens of the sequence are its prompt.
  void set_prompt(size_t n_tokens) { n_prompt_ = n_tokens; }
  size_t n_tokens() const { return sequence_->ids.size(); }
  std::span<const int32_t> ids() const { return sequence_->ids; }  // what was appended
  size_t n_vocab() const { return engine_.config().n_vocab; }
  Mode mode() const { return options_.mode; }
  size_t n_ctx() const { return n_ctx_; }
  size_t kv_bytes() const;

  Forward& forward() { return *forward_; }
  const ForwardStats& stats() const { return forward_->stats; }
  static constexpr size_t kBatchTokens = 512;

 private:
  struct Sequence {
    std::unique_ptr<KvCache> cache;
    KvCache::SequenceId id = 0;
    std::vector<int32_t> ids;
    std::unique_ptr<PromptNeurons> prompt_neurons{};  // where a context on it uses GRIFFIN
  };
  void begin();
  bool is_prompt(size_t n_tokens, bool as_alone) const;
  void check_room(size_t n_tokens) const;
  std::span<const uint32_t> all_rows(size_t n);
  MatView<const float> run(std::span<const int32_t> ids, std::span<const uint32_t> rows, bool as_alone = false);

  const Engine& engine_;
  ContextOptions options_;
  size_t n_ctx_;
  SparsePlan plan_;
  size_t n_prompt_ = 0;
  bool only_best_ = false;
  std::shared_ptr<const ColumnWeights> columns_;
  std::shared_ptr<Sequence> sequence_;
  std::unique_ptr<Forward> forward_;
  std::vector<uint32_t> all_rows_;
  std::unique_ptr<class OracleRecorder> oracle_;
};

enum class StopReason : uint8_t { kLength, kEndOfText, kStopString, kContextFull, kInterrupted };
const char* name_of(StopReason reason);

class Speculation;

struct GenerateOptions {
  size_t n_tokens = 128;  // at most this many new tokens
  SamplerOptions sampler;
  std::vector<std::string> stop;  // generation ends before the first of these; never shown
  bool ignore_end = false;        // go on past end-of-text tokens
  // Whether GeneratedToken::log_prob is wanted, else it is 0: decoding greedily, sparse mode may then guess most
  // logits.
  bool log_probs = true;
  size_t n_top_log_probs = 0;  // how many alternatives to report per token; more than 0 wants log_probs
  // Who drafts tokens (engine/speculate.h), or none. Changes the speed, not the answer's distribution.
  Speculation* speculation = nullptr;
};

struct GeneratedToken {
  int32_t id;
  std::string text;  // text that became complete with this token (whole characters)
  float log_prob;
  std::vector<TokenProbability> top;
};

struct Generated {
  std::string text;
  std::vector<int32_t> ids;  // new tokens, the end-of-text token not among them
  size_t n_prompt = 0;
  // Tokens that passes after the prompt's decided; its own pass gives the first. An end-of-text token counts.
  size_t n_decoded = 0;
  StopReason stop_reason = StopReason::kLength;
  double prompt_seconds = 0, seconds = 0;  // prompt processing; generation
  ForwardStats prompt_stats, stats;
};

// Generates after `prompt_ids` (appended to what the context holds). `on_token` sees each token as
// it is made; returning false stops. Text that might be the beginning of a stop string is held back
// until it is decided. Ctrl-C stops with StopReason::kInterrupted and keeps what is there.
Generated generate(const Engine& engine, Context& context, std::span<const int32_t> prompt_ids,
                   const GenerateOptions& options, const std::function<bool(const GeneratedToken&)>& on_token = {});

}  // namespace hunch
