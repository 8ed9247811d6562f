// Every option of every verb as plain structs. flags.cc is the only file that knows the parser.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace hunch::cli {

// Options that every verb which loads a model has.
struct ModelFlags {
  std::string model;           // GGUF file, HF folder, llama2.c .bin, or hub id
  size_t n_threads = 0;        // 0: one per physical core
  bool pin_threads = false;
  bool reblock_down = false;
  std::string force_target;    // a Highway target name, for bug reports: "scalar", "avx2", ...
  bool json = false;
  bool quiet = false;          // no first and last line, no progress
};

struct ContextFlags {
  size_t n_ctx = 0;
  std::string kv = "f32";        // f32 | f16
  std::string mode = "exact";    // dense | exact
  double oracle_density = 1.0;
};

struct SamplerFlags {
  SamplerOptions options;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  std::optional<uint64_t> seed;         // none: from the clock, and printed with --json
};

struct RunFlags {
  ModelFlags model;
  ContextFlags context;
  SamplerFlags sampler;
  std::string prompt, prompt_file, ids;
  bool special = false;          // parse special tokens in the prompt
  bool no_bos = false;
  size_t n_tokens = 128;
  std::vector<std::string> stop;
  bool ignore_end = false;
  size_t top_log_probs = 0;
};

struct ChatFlags {
  ModelFlags model;
  ContextFlags context;
  SamplerFlags sampler;
  std::string system, template_file;
  size_t n_tokens = 1024;
};

struct TemplateFlags {
  ModelFlags model;
  std::string messages_file, template_file, tools_file;
  bool no_generation_prompt = false;
};

struct LogitsFlags {
  ModelFlags model;
  ContextFlags context;
  std::string ids, prompt, out;
};

struct TokenizeFlags {
  ModelFlags model;
  std::string text, file;
  bool special = false, no_bos = false, pieces = false;
};

struct DetokenizeFlags {
  ModelFlags model;
  std::string ids, file;
  bool skip_special = false;
};

struct InspectFlags {
  ModelFlags model;
  bool tensors = false, metadata = false;
};

struct ConvertFlags {
  ModelFlags model;
  std::string out, type = "f16", layout = "auto";  // auto | rows | neuron
};

struct EvalFlags {
  ModelFlags model;
  ContextFlags context;
  std::string text, task, task_file, compare;
  size_t stride = 0, max_tokens = 0, max_items = 0;
};

struct BenchFlags {
  ModelFlags model;
  ContextFlags context;
  std::vector<size_t> prompt, generate;
  size_t n_repeats = 5, depth = 0;
  bool machine = false;  // measure the machine and nothing else
};

struct PullFlags {
  std::string id, revision = "main";
  size_t n_parallel = 4;
  bool offline = false, json = false, quiet = false;
};

// Parses the command line and calls the verb. Returns the exit code (0 ok, 1 failed, 2 bad usage);
// errors are printed here, by main's catch, and nowhere else.
int run_command_line(int argc, char** argv);

// The verbs, one file each.
int run(const RunFlags&);
int chat(const ChatFlags&);
int show_template(const TemplateFlags&);
int logits(const LogitsFlags&);
int tokenize(const TokenizeFlags&);
int detokenize(const DetokenizeFlags&);
int inspect(const InspectFlags&);
int convert(const ConvertFlags&);
int quantize(const ConvertFlags&);
int eval(const EvalFlags&);
int bench(const BenchFlags&);
int pull(const PullFlags&);

}  // namespace hunch::cli
