#include "cli/foreign_options.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

enum class Fate {
  kSame,      // `text` is hunch's option
  kModel,     // the value is MODEL
  kDrop,      // the answer is the same without it; `text` says why
  kDropFlag,  // the same, of an option that has no value
  kRefuse,    // the answer would be another; `text` says what to do
};

struct Foreign {
  std::vector<std::string_view> names;
  Fate fate;
  const char* text;
  std::vector<std::string_view> values = {};  // what alone is a value; none: anything
};

constexpr const char* kNoGpu = "hunch computes on the CPU";
constexpr const char* kBatches = "hunch cuts prompts itself";
constexpr const char* kMapped = "files are mapped, and weights stay where the system keeps files";
constexpr const char* kFlash = "attention never writes its whole matrix";
constexpr const char* kInFile = "RoPE and its scaling are read from the model; a longer text needs --ctx only";
constexpr const char* kNoMirostat =
    "hunch has no such sampler; --top-p, --min-p and --typical-p cut the distribution (docs/sampling.md)";

// https://github.com/ggml-org/llama.cpp, tools/main/README.md.
const std::vector<Foreign>& options_of_llama_cpp() {
  static const std::vector<Foreign> all = {
      {{"-m", "--model"}, Fate::kModel, ""},
      {{"-hf", "-hfr", "--hf-repo"}, Fate::kModel, ""},
      {{"-c", "--ctx-size"}, Fate::kSame, "--ctx"},
      {{"--predict", "--n-predict"}, Fate::kSame, "--tokens"},
      {{"--temp"}, Fate::kSame, "--temperature"},
      {{"-s"}, Fate::kSame, "--seed"},
      {{"-f"}, Fate::kSame, "--prompt-file"},
      {{"-sys", "--system-prompt"}, Fate::kSame, "--system"},
      {{"-r", "--reverse-prompt"}, Fate::kSame, "--stop"},
      {{"--repeat-last-n"}, Fate::kSame, "--penalty-last-n"},
      {{"--typical"}, Fate::kSame, "--typical-p"},
      {{"--ignore-eos"}, Fate::kSame, "--ignore-end"},
      {{"-l"}, Fate::kSame, "--logit-bias"},
      {{"-ctk", "-ctv", "--cache-type-k", "--cache-type-v"}, Fate::kSame, "--kv"},
      {{"-md", "--model-draft"}, Fate::kSame, "--draft"},
      {{"--draft-max", "--draft-n"}, Fate::kSame, "--draft-tokens"},
      {{"--chat-template-file"}, Fate::kSame, "--template-file"},
      {{"--chat-template-kwargs"}, Fate::kSame, "--variables"},
      {{"-jf", "--json-schema", "-j", "--grammar", "--grammar-file"},
       Fate::kRefuse,
       "answers held to a grammar are not made yet"},
      {{"-ngl", "--gpu-layers", "--n-gpu-layers", "-sm", "--split-mode", "-ts", "--tensor-split", "-mg", "--main-gpu",
        "-dev", "--device", "-ngld", "--gpu-layers-draft", "-ot", "--override-tensor", "-ncmoe", "--n-cpu-moe"},
       Fate::kDrop,
       kNoGpu},
      {{"-cmoe", "--cpu-moe", "-nkvo", "--no-kv-offload"}, Fate::kDropFlag, kNoGpu},
      {{"-b", "--batch-size", "-ub", "--ubatch-size", "-np", "--parallel"}, Fate::kDrop, kBatches},
      {{"-tb", "--threads-batch", "-td", "--threads-draft"}, Fate::kDrop, "prompts use the threads of --threads"},
      {{"-fa", "--flash-attn"}, Fate::kDrop, kFlash, {"on", "off", "auto", "0", "1"}},
      {{"--mlock", "--no-mmap", "--mmap"}, Fate::kDropFlag, kMapped},
      {{"--no-warmup", "--warmup"}, Fate::kDropFlag, "nothing is computed before the prompt"},
      {{"--jinja"}, Fate::kDropFlag, "templates are always read as Jinja"},
      {{"-co", "--color"}, Fate::kDropFlag, "a terminal is coloured by itself"},
      {{"-cnv", "--conversation", "-i", "--interactive", "-if", "--interactive-first"},
       Fate::kRefuse,
       "a conversation is a verb of its own: hunch chat MODEL"},
      {{"-no-cnv", "--no-conversation", "-st", "--single-turn"}, Fate::kDropFlag, "`run` continues one text and ends"},
      {{"--no-display-prompt", "--simple-io", "--no-perf", "--perf", "--verbose-prompt"},
       Fate::kDropFlag,
       "a terminal shows the prompt, a pipe the answer alone, and speed is the last line"},
      {{"-e", "--escape"}, Fate::kRefuse, "texts are taken as they are; $'a\\nb' writes a line end in most shells"},
      {{"--log-disable"}, Fate::kSame, "--quiet"},
      {{"--numa"}, Fate::kDrop, "--pin binds threads, and memory stays near the one that first touched it"},
      {{"--rope-scaling", "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-orig-ctx",
        "--yarn-ext-factor"},
       Fate::kRefuse,
       kInFile},
      {{"--chat-template"},
       Fate::kRefuse,
       "the model's own template is used; another is given as a file: --template-file"},
      {{"--lora-scaled"}, Fate::kRefuse, "a scale stands behind the adapter: --lora PATH:SCALE"},
      {{"--override-kv"}, Fate::kRefuse, "metadata are taken from the file; `hunch convert` writes one that is right"},
      {{"--prompt-cache"},
       Fate::kRefuse,
       "a prompt's state is not kept between runs yet; `hunch chat` keeps it while it runs"},
      {{"--mirostat", "--samplers", "--sampling-seq", "--dynatemp-range", "--xtc-probability", "--xtc-threshold",
        "--dry-multiplier", "--top-n-sigma"},
       Fate::kRefuse,
       kNoMirostat},
      {{"--host", "--port"}, Fate::kRefuse, "hunch has no server yet"},
      {{"--perplexity"},
       Fate::kRefuse,
       "perplexity is a verb of its own: hunch eval MODEL --text FILE --protocol llama.cpp"},
  };
  return all;
}

const Foreign* find(std::string_view name) {
  for (const Foreign& f : options_of_llama_cpp())
    if (std::ranges::find(f.names, name) != f.names.end()) return &f;
  return nullptr;
}

bool is_value(const Foreign& option, const std::string& word) {
  if (!option.values.empty()) return std::ranges::find(option.values, word) != option.values.end();
  return word.empty() || word[0] != '-' || (word.size() > 1 && word[1] >= '0' && word[1] <= '9');
}

}  // namespace

Translation from_llama_cpp(const std::vector<std::string>& words, const Grammar& grammar) {
  Translation out;
  std::optional<std::string> model;
  std::map<std::string, std::string> translated;  // what was said under other names
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      out.words.insert(out.words.end(), words.begin() + ptrdiff_t(i), words.end());
      break;
    }
    const size_t equals = word.starts_with("--") ? word.find('=') : word.npos;
    const std::string name = word.substr(0, equals);
    const Foreign* foreign = name.starts_with('-') && !grammar.has(name) ? find(name) : nullptr;
    if (!foreign) {
      out.words.push_back(word);
      if (name.starts_with('-') && grammar.takes_value(name) && equals == word.npos && i + 1 < words.size())
        out.words.push_back(words[++i]);  // whatever it looks like
      continue;
    }
    if (foreign->fate == Fate::kRefuse) fail(ErrorKind::kUsage, "{}: {}", name, foreign->text);
    std::optional<std::string> value;
    if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (foreign->fate != Fate::kDropFlag &&
               (foreign->fate != Fate::kSame || grammar.takes_value(foreign->text)) && i + 1 < words.size() &&
               is_value(*foreign, words[i + 1])) {
      value = words[++i];
    }
    switch (foreign->fate) {
      case Fate::kSame: {
        const auto [said, is_new] = translated.try_emplace(foreign->text, value.value_or(""));
        if (!is_new && said->second != value.value_or(""))
          fail(ErrorKind::kUsage, "{} says '{}' where '{}' was said before: both are {} here", name,
               printable(value.value_or("")), printable(said->second), foreign->text);
        if (is_new) out.words.push_back(value ? fmt::format("{}={}", foreign->text, *value) : foreign->text);
        break;
      }
      case Fate::kModel:
        if (!value) fail(ErrorKind::kUsage, "{} names no model", name);
        model = value;
        break;
      case Fate::kDrop:
      case Fate::kDropFlag: out.notes.push_back(fmt::format("{} is left out: {}", name, foreign->text)); break;
      case Fate::kRefuse: break;
    }
  }
  if (model) out.words.insert(out.words.begin(), *model);
  return out;
}

}  // namespace hunch::cli
