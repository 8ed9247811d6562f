// Every option of every verb as plain structs. verbs_*.cc says how they are written on the command line.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace hunch::cli {

// Options that every verb which opens a model has.
struct ModelFlags {
  std::string model;     // GGUF file, HF folder, llama2.c .bin, hub id or short name
  size_t n_threads = 0;  // 0: one per physical core
  bool pin_threads = false;
  std::string numa = "off";       // off | auto | distribute | isolate | numactl | ranks
  std::string precision = "f32";  // of prompts' products with plain weights: f32 | bf16
  bool reblock_down = false;
  std::string quantised = "auto";  // auto | blocks | floats
  std::string sidecar;             // empty: MODEL.hunch beside it
  std::string rope;                // "yarn:4"; empty: as the file says
  std::string ranks;               // "pipeline:12,10": how mpirun's processes divide it; empty: tensors
  std::vector<std::string> lora;   // adapters, "PATH" or "PATH:SCALE"
  std::string ram;                 // that weights may take, "4G"; empty: all are mapped
  std::string memory;              // a file of `hunch memory`; empty: none
  size_t memory_top = 32;
  std::string memory_gate;  // a share; empty: one softmax
  std::string device = "cpu";
  std::optional<uint64_t> gpu_layers;  // the last ones that the device computes; none: all, of auto as many as fit
  std::string gpu_neurons;             // a share of their neurons, or "auto"; empty: all
  std::string gpu_memory;              // of the device's, "8G"; empty: what is free
  std::string costs;                   // a file of row costs to pin; empty: they are measured
  std::string force_target;            // a Highway target name, for bug reports: "scalar", "avx2", ...
  bool json = false;
  bool quiet = false;    // no first and last line, no progress, no notes
  bool verbose = false;  // also what was read, by layer, and how fast
};

struct ContextFlags {
  size_t n_ctx = 0;
  std::string kv = "f16";                // of verbs that measure: f32
  std::string mode = "exact";            // dense | exact | sparse
  std::vector<std::string> kv_policies;  // "h2o:128"; eval compares several
  std::string prefill;                   // "a-shape:1024": what queries of prompts read; empty: everything
  std::vector<std::string> experts;      // "capacity:1.25"; eval compares several
  double density = 0;                    // of sparse mode; 0: as calibrated
  double oracle_density = 1.0;
  double oracle_head_density = 0.0;  // 0: the same as oracle_density
};

struct SamplerFlags {
  // The command line's defaults: a little calmer than the model's own distribution, which the
  // defaults of SamplerOptions are.
  SamplerOptions options = [] {
    SamplerOptions o;
    o.temperature = 0.8f;
    o.top_p = 0.95f;
    return o;
  }();
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  std::optional<uint64_t> seed;         // none: a new one each time, printed
};

// Who drafts tokens that the model then verifies.
struct DraftFlags {
  bool lossless = false, ngram = false, no_ngram = false;
  std::string draft, draft_tokens = "auto";
  bool any() const { return lossless || ngram || !draft.empty(); }
};

struct RunFlags {
  ModelFlags model;
  ContextFlags context;
  SamplerFlags sampler;
  std::optional<std::string> prompt, prompt_file, ids;  // at most one; none: standard input
  bool special = false;                                 // parse special tokens in the prompt
  bool no_bos = false;
  size_t n_tokens = 128;
  std::vector<std::string> stop;
  bool ignore_end = false;
  std::optional<std::string> grammar_file, json_schema, regex;  // at most one: what the text must be
  std::optional<uint64_t> top_log_probs;
  DraftFlags drafting;
};

struct ChatFlags {
  ModelFlags model;
  ContextFlags context;
  SamplerFlags sampler;
  std::string system, template_file;
  std::vector<std::string> variables;  // of the template: JSON, KEY=VALUE or a file
  bool hide_thinking = false;
  size_t n_tokens = 1024;
  std::vector<std::string> stop;
  DraftFlags drafting;
};

struct TemplateFlags {
  ModelFlags model;
  std::string messages_file, template_file, tools_file;
  std::vector<std::string> variables;
  std::string flavor = "huggingface";  // huggingface | llama.cpp
  bool no_generation_prompt = false;
};

struct LogitsFlags {
  ModelFlags model;
  ContextFlags context{.kv = "f32"};
  std::optional<std::string> ids, prompt;
  std::string out, trace_out;
  bool force = false;  // write over a file that is there already, here and in the other verbs
};

struct TokenizeFlags {
  ModelFlags model;
  std::optional<std::string> text, file;  // at most one; none: standard input
  bool special = false, no_bos = false, pieces = false;
};

struct DetokenizeFlags {
  ModelFlags model;
  std::optional<std::string> ids, file;
  bool skip_special = false;
};

// Several texts: arguments, or the lines of a file; neither: the lines of standard input.
struct TextsFlags {
  std::vector<std::string> texts;
  std::optional<std::string> file;
};

struct EmbedFlags {
  ModelFlags model;
  TextsFlags texts;
  std::optional<std::string> ids;  // of one text, instead of words
  std::string pooling = "auto";    // auto | mean | cls | last | none
  std::string out;                 // a .npy file
  size_t n_ctx = 0;
  bool no_normalise = false, similarity = false, force = false;
};

struct RerankFlags {
  ModelFlags model;
  TextsFlags documents;
  std::optional<std::string> query, instruction;
  bool yes_no = false;
  size_t n_shown = 0, n_ctx = 0;  // n_shown 0: all
};

// What `inspect --workload` counts, and against what.
struct WorkloadFlags {
  size_t n_prompt = 512, n_sequences = 1;
  std::string kv = "f16", devices = "8G,16G,24G,80G";
  std::optional<std::string> bandwidth, peak;  // GB/s, GFLOP/s; none: measured
};

struct InspectFlags {
  ModelFlags model;
  bool tensors = false, metadata = false, wants_workload = false, wants_weights = false;
  WorkloadFlags workload;
  std::string text, html, svg, heads, against;  // heads: "LAYER:HEAD,..."; against: another model
  bool force = false;
  size_t n_tokens = 2048, n_ctx = 0, oracle_tokens = 1024;
};

struct ConvertFlags {
  ModelFlags model;
  std::string out, type = "auto", layout = "auto";  // layout: auto | rows | neuron
  std::string name;                                 // general.name; empty: as it is
  std::string imatrix;                              // an importance matrix; empty: none
  bool sparse = false;                              // without the zeros of pruned matrices
  bool force = false;
};

struct ImatrixFlags {
  ModelFlags model;
  std::string text, out;
  size_t n_ctx = 0, max_tokens = 0;
  bool force = false;
};

struct MergeFlags {
  ModelFlags model;
  std::string out;
  bool force = false;
};

struct MemoryFlags {
  ModelFlags model;
  std::string text, out, layers;
  size_t n_ctx = 0, max_tokens = 0;
  bool force = false;
};

struct SparsifyFlags {
  ModelFlags model;
  std::string text, out, method = "auto", predictor = "auto", look_ahead = "none", heads = "auto",
                         head_look_ahead = "none", screen = "auto";
  std::optional<std::string> max_ppl_increase, density, prefill_recall, prefill_neurons;
  size_t max_tokens = 50000, rank = 0, n_epochs = 6;
  size_t prefill = 0;  // keys of a prompt's query: patterns are fitted, and nothing else
  bool force = false;
};

struct CompressFlags {
  ModelFlags model;
  std::optional<std::string> low_rank;  // the ratio
  std::optional<std::string> method;    // "wanda,gptq"
  std::string text, out, type = "auto", only;
  size_t max_tokens = 16384;
  bool plain = false, force = false;
  // Of a method.
  std::optional<std::string> bits;  // a number of bits, or with a point a mean over the matrices
  std::optional<uint64_t> group;
  std::optional<std::string> sparsity, pattern, max_ppl_increase;
  double damping = 0.01;
  std::string inputs = "auto", eval, rotate_inputs;
  bool symmetric = false, act_order = false, dense_blocks = false;
  std::string layout = "auto";  // of a folder: --export
  // Of a method that rounds inputs too.
  std::string scales = "auto", activations = "auto", range = "auto";
  std::optional<std::string> alpha, threshold;
  std::optional<std::string> rank;  // of a method of low rank: the share of the parameters that stays; of loftq: a rank
  std::optional<uint64_t> rounds;   // of loftq
  // Of structured pruning.
  std::optional<uint64_t> n_dropped, multiple;
  std::string scope = "auto";
  bool no_bias = false;
};

// Tasks whose texts are made here.
struct RecallFlags {
  std::vector<size_t> lengths;  // empty: the context
  std::string depths = "0,0.25,0.5,0.75,1", form = "auto", asked = "after";
  size_t n_samples = 10, n_keys = 4, n_hops = 3;
  uint64_t seed = 1;
};

struct EvalFlags {
  ModelFlags model;
  ContextFlags context{.kv = "f32"};
  RecallFlags recall;
  std::string text, task, task_file, few_shot_file, compare, against, protocol;
  size_t stride = 0, max_tokens = 0, max_items = 0, n_few_shot = 0;
  bool by_position = false, force = false;
  size_t n_buckets = 16;
  std::string html;
  DraftFlags drafting;
};

struct BenchFlags {
  ModelFlags model;
  ContextFlags context;
  std::vector<size_t> prompt = {512}, generate = {128};
  std::vector<size_t> batch;  // sequences that decode together; empty: one, by itself
  size_t n_repeats = 5, depth = 0;
  bool machine = false;  // measure the machine and nothing else
  bool profile = false;  // where the time of each row goes
  std::string text;      // what is computed; what drafted rows continue
  std::string compare;   // modes measured side by side
  std::string costs;     // a file of row costs
  DraftFlags drafting;
};

struct SynthFlags {
  ModelFlags model;  // threads and output; there is no model to open
  std::string shape, out, type = "f16", layout = "auto", activation;
  std::optional<uint64_t> n_layer, n_embd, n_ff, n_head, n_kv_head, n_vocab, n_ctx;  // none: the shape's
  uint64_t seed = 1;
  double density = 0;  // 0: nothing planted, or the profile's own
  std::string density_profile;
  double head_density = 1;
  size_t n_contexts = 64;
  double next_token_margin = 1.5;
  size_t n_outliers = 0;
  bool sidecar = false, force = false, needle = false;
  std::string text;
  size_t n_text_tokens = 100000;
  uint64_t text_seed = 1;
};

struct PullFlags {
  std::string id;
  std::optional<std::string> revision;
  size_t n_parallel = 4;
  bool offline = false, json = false, quiet = false;
};

struct ListFlags {
  bool known = false;  // the short names there are, instead of what the cache holds
  bool names = false, json = false, quiet = false;
};

struct DevicesFlags {
  bool measure = false;  // how fast their memories are
  bool json = false, quiet = false;
};

struct RmFlags {
  std::string id;
  bool yes = false, json = false, quiet = false;
};

struct CompletionFlags {
  std::string shell;
};

// Parses the command line and calls the verb. Returns the exit code (0 ok, 1 failed, 2 bad usage,
// 130 interrupted); errors are caught and printed here and nowhere else.
int run_command_line(int argc, char** argv);

// The verbs, one file each. They return the exit code and throw Error.
int run(const RunFlags& flags);
int chat(const ChatFlags& flags);
int show_template(const TemplateFlags& flags);
int logits(const LogitsFlags& flags);
int tokenize(const TokenizeFlags& flags);
int detokenize(const DetokenizeFlags& flags);
int embed(const EmbedFlags& flags);
int rerank(const RerankFlags& flags);
int inspect(const InspectFlags& flags);
int convert(const ConvertFlags& flags);
int quantize(const ConvertFlags& flags);
int merge(const MergeFlags& flags);
int sparsify(const SparsifyFlags& flags);
int imatrix(const ImatrixFlags& flags);
int memory(const MemoryFlags& flags);
int compress(const CompressFlags& flags);
int compress_by_method(const CompressFlags& flags);  // where one is named
int compress_structured(const CompressFlags& flags);
int compress_loftq(const CompressFlags& flags);
int eval(const EvalFlags& flags);
int bench(const BenchFlags& flags);
int pull(const PullFlags& flags);
int list(const ListFlags& flags);
int devices(const DevicesFlags& flags);
int rm(const RmFlags& flags);
int completion(const CompletionFlags& flags);
int man();
int synth(const SynthFlags& flags);

}  // namespace hunch::cli
