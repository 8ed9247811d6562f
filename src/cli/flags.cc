// The command line's grammar, and the one catch that turns an Error into words and an exit code.
// The only file that includes the parser.
#include "cli/flags.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/dtype.h"
#include "base/error.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "hunch/version.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

// An option is added with its help line, which states the unit; the default is shown after it.
// Every value is parsed by cli/parse.h, so that all messages are of one kind.
class Grammar {
 public:
  explicit Grammar(CLI::App& app) : app_(app) {}

  void section(std::string name) { section_ = std::move(name); }

  void text(const std::string& name, std::string& target, const char* value, const char* help) {
    add(name, value, help, target, [&target](const std::string& s) { target = s; });
  }
  void text(const std::string& name, std::optional<std::string>& target, const char* value, const char* help) {
    add(name, value, help, "", [&target](const std::string& s) { target = s; });
  }
  void texts(const std::string& name, std::vector<std::string>& target, const char* value, const char* help) {
    app_.add_option(name, target, help)
        ->type_name(value)
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false)
        ->group(section_);
  }
  void choice(const std::string& name, std::string& target, std::vector<std::string> allowed, const char* help) {
    const std::string values = fmt::format("{}", fmt::join(allowed, "|"));
    add(name, values, help, target, [&target, allowed, what = last_name(name)](const std::string& s) {
      if (std::ranges::find(allowed, s) == allowed.end())
        fail(ErrorKind::kUsage, "{}: expected {}, found '{}'{}", what, fmt::join(allowed, ", "), printable(s),
             suggestion(s, allowed));
      target = s;
    });
  }
  // `shown` replaces the default's number where that only stands for something, as 0 for "the model's own".
  void count(const std::string& name, size_t& target, const char* value, const char* help,
             const char* shown = nullptr) {
    add(name, value, help, shown ? shown : std::to_string(target),
        [&target, what = last_name(name)](const std::string& s) { target = parse_count(s, what); });
  }
  void count(const std::string& name, std::optional<uint64_t>& target, const char* value, const char* help) {
    add(name, value, help, "",
        [&target, what = last_name(name)](const std::string& s) { target = parse_count(s, what); });
  }
  void counts(const std::string& name, std::vector<size_t>& target, const char* value, const char* help) {
    add(name, value, help, fmt::format("{}", fmt::join(target, ",")),
        [&target, what = last_name(name)](const std::string& s) { target = parse_counts(s, what); });
  }
  void integer(const std::string& name, int32_t& target, const char* value, const char* help,
               const char* shown = nullptr) {
    add(name, value, help, shown ? shown : std::to_string(target),
        [&target, what = last_name(name)](const std::string& s) {
          const int64_t n = parse_integer(s, what);
          if (n < INT32_MIN || n > INT32_MAX) fail(ErrorKind::kUsage, "{}: '{}' is too large", what, s);
          target = int32_t(n);
        });
  }
  template <class Real>
  void real(const std::string& name, Real& target, const char* value, const char* help, const char* shown = nullptr) {
    add(name, value, help, shown ? shown : fmt::format("{:g}", target),
        [&target, what = last_name(name)](const std::string& s) { target = Real(parse_real(s, what)); });
  }
  void flag(const std::string& name, bool& target, const char* help) {
    auto* option = app_.add_flag(name, target, help)->group(section_);
    if (section_ == "Engine") option->envname(env_name(name));
  }

 private:
  void add(const std::string& name, const std::string& value, const char* help, const std::string& shown_default,
           std::function<void(const std::string&)> set) {
    auto* option = app_.add_option_function<std::string>(name, std::move(set), help);
    option->type_name(value)
        ->default_str(shown_default)
        ->group(section_)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (section_ == "Engine") option->envname(env_name(name));
  }
  // "-t,--threads" -> "--threads"
  static std::string last_name(const std::string& name) { return name.substr(name.rfind(',') + 1); }
  static std::string env_name(const std::string& name) {
    std::string out = "HUNCH_";
    for (char c : last_name(name).substr(2)) out += c == '-' ? '_' : char(std::toupper(c));
    return out;
  }

  CLI::App& app_;
  std::string section_ = "Options";
};

void add_output(Grammar& g, bool& json, bool& quiet) {
  g.section("Output");
  g.flag("--json", json, "print one JSON object on standard output and nothing else there");
  g.flag("--quiet", quiet, "print results and errors only");
}

// What every verb that computes has. bench sizes its contexts itself.
void add_engine(Grammar& g, ModelFlags& model, ContextFlags* context, bool has_ctx = true) {
  g.section("Engine");
  if (context && has_ctx) g.count("--ctx", context->n_ctx, "N", "context length, tokens", "the model's, at most 4096");
  if (context) {
    g.choice("--mode", context->mode, {"dense", "exact"}, "dense reads every weight; exact skips what ReLU made zero");
    g.real("--oracle-density", context->oracle_density, "D",
           "keep only this share of the neurons and heads, chosen by a first, dense pass; 1 = off");
    g.real("--oracle-heads", context->oracle_head_density, "D",
           "share of the heads, where it is another than that of the neurons; 0 = the same");
    g.choice("--kv", context->kv, {"f32", "f16"}, "type of the KV cache; f16 halves it and rounds");
  }
  g.count("-t,--threads", model.n_threads, "N", "threads", "one per core");
  g.flag("--pin", model.pin_threads, "bind each thread to one core");
  if (context)
    g.flag("--reblock-down", model.reblock_down,
           "re-encode quantised down projections of ReLU models so that zeros can be skipped; prints what it costs");
  if (context)
    g.text("--force-target", model.force_target, "NAME", "use this SIMD target or a worse one (for bug reports)");
  add_output(g, model.json, model.quiet);
}

void add_sampling(Grammar& g, SamplerFlags& sampler) {
  SamplerOptions& o = sampler.options;
  g.section("Sampling, in this order");
  g.texts("--logit-bias", sampler.logit_bias, "ID=BIAS",
          "add BIAS to a token's logit (-inf forbids it); may be repeated");
  g.real("--repeat-penalty", o.repeat_penalty, "X", "divide the logits of recent tokens; 1 = off");
  g.real("--frequency-penalty", o.frequency_penalty, "X", "subtract X for every earlier occurrence; 0 = off");
  g.real("--presence-penalty", o.presence_penalty, "X", "subtract X from tokens that have occurred; 0 = off");
  g.integer("--penalty-last-n", o.penalty_last_n, "N", "how far back the penalties look, tokens; -1 = the whole text");
  g.real("--temperature", o.temperature, "T", "below 1 calmer, above 1 wilder; 0 = always the most probable token");
  g.integer("--top-k", o.top_k, "K", "keep the K most probable tokens; 0 = all");
  g.real("--typical-p", o.typical_p, "P", "keep the tokens nearest the entropy, up to P; 1 = off");
  g.real("--top-p", o.top_p, "P", "keep the most probable tokens, up to P together; 1 = off");
  g.real("--min-p", o.min_p, "P", "keep tokens at least P times as probable as the best; 0 = off");
  g.count("--seed", sampler.seed, "N", "the same seed gives the same text; without it, each run has its own");
}

struct Verb {
  const char* name;
  const char* group;
  const char* summary;
  const char* arguments;  // after the verb, in the usage line
  const char* examples;   // lines, may be ""
  // Adds the options; the result runs the verb. `json` is where --json is stored.
  std::function<std::function<int()>(CLI::App&, bool*& json)> add;
};

void add_model(CLI::App& app, ModelFlags& model) {
  app.add_option("MODEL", model.model, "GGUF file, Hugging Face folder, llama2.c .bin, or hub id")->group("");
}

template <class Flags>
std::function<int()> bind(std::shared_ptr<Flags> flags, int (*verb)(const Flags&)) {
  return [flags, verb] {
    if (flags->model.model.empty())
      fail(ErrorKind::kUsage, "which model? expected a GGUF file, a Hugging Face folder or a hub id after the verb");
    return verb(*flags);
  };
}

std::vector<Verb> verbs() {
  std::vector<Verb> v;
  v.push_back({"run", "Generate", "continue a text", "MODEL [-p TEXT] [options]",
               "hunch run model.gguf -p \"Once upon a time\" -n 100\n"
               "cat chapter.txt | hunch run model.gguf --temperature 0\n"
               "hunch run model.gguf -p \"The old king\" --oracle-density 0.05\n",
               [](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<RunFlags>();
                 json = &f->model.json;
                 Grammar g(app);
                 add_model(app, f->model);
                 g.section("Prompt (a line end at its very end is dropped; \"\" begins a text from nothing)");
                 g.text("-p,--prompt", f->prompt, "TEXT", "the text to continue");
                 g.text("--prompt-file", f->prompt_file, "FILE",
                        "read it from a file; - is standard input, as is no prompt at all");
                 g.text("--ids", f->ids, "LIST", "token ids instead of text: 1,2,3");
                 g.flag("--special", f->special,
                        "special tokens written in the prompt, such as <|endoftext|>, count as such");
                 g.flag("--no-bos", f->no_bos, "do not add the tokens that begin or end a text in this family");
                 g.section("Generation");
                 g.count("-n,--tokens", f->n_tokens, "N", "generate at most N tokens");
                 g.texts("--stop", f->stop, "TEXT", "end before this text; may be repeated");
                 g.flag("--ignore-end", f->ignore_end, "go on when the model says that the text has ended");
                 g.count("--log-probs", f->top_log_probs, "K",
                         "with --json: log-probabilities of each token and of the K most probable ones");
                 add_sampling(g, f->sampler);
                 add_engine(g, f->model, &f->context);
                 return bind(f, run);
               }});
  v.push_back({"chat", "Generate", "talk with a model that was trained to", "MODEL [options]",
               "hunch chat Qwen/Qwen2.5-0.5B-Instruct --system \"Answer in rhymes.\"\n",
               [](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<ChatFlags>();
                 json = &f->model.json;
                 Grammar g(app);
                 add_model(app, f->model);
                 g.section("Conversation");
                 g.text("--system", f->system, "TEXT", "the system message");
                 g.text("--template-file", f->template_file, "FILE",
                        "a Jinja chat template instead of the model's own; \"plain\" is User: / Assistant:");
                 g.count("-n,--tokens", f->n_tokens, "N", "at most N tokens per answer");
                 add_sampling(g, f->sampler);
                 add_engine(g, f->model, &f->context);
                 return bind(f, chat);
               }});
  v.push_back(
      {"template", "Generate", "show a conversation as the model sees it", "MODEL --messages FILE [options]",
       "hunch template model.gguf --messages messages.json\n"
       "echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | hunch template model.gguf --messages -\n",
       [](CLI::App& app, bool*& json) {
         auto f = std::make_shared<TemplateFlags>();
         json = &f->model.json;
         Grammar g(app);
         add_model(app, f->model);
         g.section("Conversation");
         g.text("--messages", f->messages_file, "FILE", "JSON list of {\"role\", \"content\"}; - is standard input");
         g.text("--template-file", f->template_file, "FILE",
                "a Jinja chat template instead of the model's own (MODEL may then be left out)");
         g.text("--tools", f->tools_file, "FILE", "JSON list of tools, as in the OpenAI API");
         g.flag("--no-generation-prompt", f->no_generation_prompt, "do not open the assistant's answer at the end");
         add_output(g, f->model.json, f->model.quiet);
         return [f] {
           if (f->model.model.empty() && f->template_file.empty())
             fail(ErrorKind::kUsage, "which model? give MODEL, or --template-file");
           return show_template(*f);
         };
       }});
  v.push_back({"logits", "Look inside", "logits of every position", "MODEL (--ids LIST | -p TEXT) [options]",
               "hunch logits model.gguf --ids 2,100,200 --json\n"
               "hunch logits model.gguf -p \"Once upon a time\" --out logits.npy\n",
               [](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<LogitsFlags>();
                 json = &f->model.json;
                 Grammar g(app);
                 add_model(app, f->model);
                 g.section("Input and output");
                 g.text("--ids", f->ids, "LIST", "token ids: 1,2,3");
                 g.text("-p,--prompt", f->prompt, "TEXT", "a text");
                 g.text("-o,--out", f->out, "FILE.npy", "write float32 [n_tokens, n_vocab] for NumPy");
                 add_engine(g, f->model, &f->context);
                 return bind(f, logits);
               }});
  v.push_back(
      {"tokenize", "Look inside", "text to token ids", "MODEL [TEXT] [options]",
       "hunch tokenize model.gguf \"Once upon a time\"\n"
       "hunch tokenize model.gguf --file book.txt --json\n",
       [](CLI::App& app, bool*& json) {
         auto f = std::make_shared<TokenizeFlags>();
         json = &f->model.json;
         Grammar g(app);
         add_model(app, f->model);
         app.add_option_function<std::string>("TEXT", [f](const std::string& s) { f->text = s; })->group("");
         g.section("Input and output");
         g.text("--file", f->file, "FILE", "read the text from a file; - is standard input, as is no text at all");
         g.flag("--special", f->special, "special tokens written in the text, such as <|endoftext|>, count as such");
         g.flag("--no-bos", f->no_bos, "do not add the tokens that begin or end a text in this family");
         g.flag("--pieces", f->pieces, "show what each id stands for");
         add_output(g, f->model.json, f->model.quiet);
         return bind(f, tokenize);
       }});
  v.push_back({"detokenize", "Look inside", "token ids to text", "MODEL [IDS] [options]",
               "hunch detokenize model.gguf 2,100,200\n", [](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<DetokenizeFlags>();
                 json = &f->model.json;
                 Grammar g(app);
                 add_model(app, f->model);
                 app.add_option_function<std::string>("IDS", [f](const std::string& s) { f->ids = s; })->group("");
                 g.section("Input and output");
                 g.text("--file", f->file, "FILE",
                        "read the ids from a file; - is standard input, as are no ids at all");
                 g.flag("--skip-special", f->skip_special, "leave control tokens out of the text");
                 add_output(g, f->model.json, f->model.quiet);
                 return bind(f, detokenize);
               }});
  v.push_back({"inspect", "Look inside", "what is in a model file", "MODEL [options]",
               "hunch inspect model.gguf --tensors\n", [](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<InspectFlags>();
                 json = &f->model.json;
                 Grammar g(app);
                 add_model(app, f->model);
                 g.section("What to list");
                 g.flag("--tensors", f->tensors, "every tensor with its type, shape and size");
                 g.flag("--metadata", f->metadata, "every key of the metadata");
                 add_output(g, f->model.json, f->model.quiet);
                 return bind(f, inspect);
               }});
  v.push_back(
      {"eval", "Measure", "perplexity, comparisons, tasks", "MODEL (--text FILE | --task NAME --file FILE) [options]",
       "hunch eval model.gguf --text wiki.test.raw --ctx 2048 --stride 512\n"
       "hunch eval model.gguf --text story.txt --compare dense,exact,oracle:0.2\n"
       "hunch eval model.gguf --task hellaswag --file hellaswag_val.jsonl --max-items 500\n",
       [](CLI::App& app, bool*& json) {
         auto f = std::make_shared<EvalFlags>();
         json = &f->model.json;
         Grammar g(app);
         add_model(app, f->model);
         g.section("On a text");
         g.text("--text", f->text, "FILE",
                "perplexity of this text; --ctx is the window (default: the model's, at most 2048)");
         g.count("--stride", f->stride, "N",
                 "tokens from one window to the next; as long as the window: disjoint windows", "half the window");
         g.count("--max-tokens", f->max_tokens, "N", "only the text's first N tokens", "all");
         g.text("--compare", f->compare, "LIST",
                "modes side by side, the first is the reference: dense,exact,oracle:0.2 (neurons and heads) or "
                "oracle:0.2:1 (neurons only)");
         g.section("On a task");
         g.text("--task", f->task, "NAME",
                "lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande, boolq, copa, openbookqa or rte");
         g.text("--file", f->task_file, "FILE", "the task's questions");
         g.count("--max-items", f->max_items, "N", "only the first N questions", "all");
         add_engine(g, f->model, &f->context);
         return bind(f, eval);
       }});
  v.push_back(
      {"bench", "Measure", "speed of prompt and generation", "MODEL [options]   or   hunch bench --machine",
       "hunch bench model.gguf --prompt 128,512 --generate 64\n"
       "hunch bench --machine\n",
       [](CLI::App& app, bool*& json) {
         auto f = std::make_shared<BenchFlags>();
         json = &f->model.json;
         Grammar g(app);
         add_model(app, f->model);
         g.section("What to measure");
         g.counts("--prompt", f->prompt, "LIST", "rows pp: prompts of this many tokens");
         g.counts("--generate", f->generate, "LIST", "rows tg: this many tokens, one by one");
         g.count("--repeats", f->n_repeats, "N", "how often each row is measured, after one warm-up");
         g.count("--depth", f->depth, "N", "tokens in the context before each row");
         g.flag("--machine", f->machine, "measure the memory bandwidth of this machine, keep it, and nothing else");
         add_engine(g, f->model, &f->context, false);
         return [f, call = bind(f, bench)] { return f->machine && f->model.model.empty() ? bench(*f) : call(); };
       }});
  const auto add_convert = [](CLI::App& app, ConvertFlags& f) {
    Grammar g(app);
    add_model(app, f.model);
    g.section("Output file");
    g.text("-o,--out", f.out, "FILE", "the GGUF file to write");
    g.choice("--type", f.type, {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"},
             "type of the matrices; norms and biases stay f32");
    g.choice("--layout", f.layout, {"auto", "rows", "neuron"},
             "down projections of ReLU models: by neuron, so that zeros can be skipped, or as rows, which llama.cpp "
             "reads; auto: by neuron where "
             "the type is quantised and llama.cpp does not know the architecture");
    g.text("--name", f.name, "TEXT", "the model's name in the metadata (default: its own)");
    add_engine(g, f.model, nullptr);
  };
  v.push_back({"convert", "Change", "any model to GGUF", "MODEL -o FILE [options]",
               "hunch convert facebook/opt-1.3b -o opt-1.3b.gguf --type q8_0\n",
               [add_convert](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<ConvertFlags>();
                 json = &f->model.json;
                 add_convert(app, *f);
                 return bind(f, convert);
               }});
  v.push_back({"quantize", "Change", "a float model made small, by rounding to the nearest", "MODEL -o FILE [options]",
               "hunch quantize model-f16.gguf -o model-q4_k.gguf --type q4_k\n",
               [add_convert](CLI::App& app, bool*& json) {
                 auto f = std::make_shared<ConvertFlags>();
                 f->type = "q8_0";
                 json = &f->model.json;
                 add_convert(app, *f);
                 return bind(f, quantize);
               }});
  v.push_back(
      {"pull", "Fetch", "bring a model from the hub", "ID [options]",
       "hunch pull facebook/opt-125m\n"
       "hunch pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0\n",
       [](CLI::App& app, bool*& json) {
         auto f = std::make_shared<PullFlags>();
         json = &f->json;
         Grammar g(app);
         app.add_option("ID", f->id, "ORG/NAME, optionally with @REVISION and :FILE or :QUANTISATION")->group("");
         g.section("Download");
         g.text("--revision", f->revision, "NAME", "branch, tag or commit (default: main)");
         g.count("--parallel", f->n_parallel, "N", "files at a time");
         g.flag("--offline", f->offline, "use only what the cache has");
         add_output(g, f->json, f->quiet);
         return [f] {
           if (f->id.empty()) fail(ErrorKind::kUsage, "which model? expected a hub id such as facebook/opt-125m");
           return pull(*f);
         };
       }});
  return v;
}

std::string wrapped(const std::string& text, size_t indent, size_t width) {
  std::string out, line;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
      out += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    begin = end + 1;
  }
  return out + line;
}

std::string overview(const std::vector<Verb>& all) {
  std::string out = "hunch " HUNCH_VERSION
                    ": runs large language models by reading only the weights that matter\n\n"
                    "  hunch VERB MODEL [options]\n";
  std::string group;
  for (const Verb& verb : all) {
    if (verb.group != group) out += fmt::format("\n{}\n", group = verb.group);
    out += fmt::format("  {:<12} {}\n", verb.name, verb.summary);
  }
  out +=
      "\nMODEL is a GGUF file, a Hugging Face folder, a llama2.c .bin, or a hub id such as facebook/opt-1.3b.\n"
      "`hunch help VERB` shows a verb's options. `hunch --version` says which hunch this is.\n"
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\n"
      "Environment: HUNCH_HOME (cache), HF_ENDPOINT, HF_TOKEN, and twins of the engine's options such as "
      "HUNCH_THREADS.\n";
  return out;
}

std::string help(const Verb& verb, const CLI::App& app) {
  std::string out = fmt::format("hunch {}: {}\n\n  hunch {} {}\n", verb.name, verb.summary, verb.name, verb.arguments);
  std::string group;
  bool twins = false;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_group() != group) out += fmt::format("\n{}\n", group = option->get_group());
    const auto& shorts = option->get_snames();
    const std::string type = option->get_expected_max() == 0 ? "" : option->get_type_name();
    const std::string left = fmt::format("  {}--{}{}{}", shorts.empty() ? "    " : "-" + shorts[0] + ", ",
                                         option->get_lnames()[0], type.empty() ? "" : " ", type);
    std::string right = option->get_description();
    if (!option->get_default_str().empty() && !type.empty()) right += " (default: " + option->get_default_str() + ")";
    twins = twins || !option->get_envname().empty();
    constexpr size_t kColumn = 30, kWidth = 118;
    out += left.size() < kColumn - 1 ? left + std::string(kColumn - left.size(), ' ')
                                     : left + "\n" + std::string(kColumn, ' ');
    out += wrapped(right, kColumn, kWidth) + "\n";
  }
  if (twins)
    out +=
        "\nEach option of the engine has a twin in the environment: --ctx is HUNCH_CTX, --threads HUNCH_THREADS, and "
        "so on.\n";
  if (*verb.examples) {
    out += "\nExamples\n";
    std::string_view rest = verb.examples;
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1))
      out += fmt::format("  {}\n", rest.substr(0, end));
  }
  return out;
}

// What CLI11 did not understand, in our words.
void refuse_extras(const CLI::App& app, const Verb& verb) {
  std::vector<std::string> extras = app.remaining();
  std::erase(extras, "--");  // CLI11 hands it back; what came after it has become an argument
  if (extras.empty()) return;
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const std::string& extra : extras)
    if (extra.size() > 1 && extra[0] == '-') {
      const std::string name = extra.substr(0, extra.find('='));
      fail(ErrorKind::kUsage, "{} has no option '{}'{} (hunch help {})", verb.name, printable(name),
           suggestion(name, names), verb.name);
    }
  fail(ErrorKind::kUsage, "'{}' was not expected after {}'s arguments; a text with spaces needs quotes",
       printable(extras[0]), verb.name);
}

int run_verb(const Verb& verb, std::vector<std::string> arguments, bool& json) {
  CLI::App app;
  app.allow_extras();
  app.set_help_flag();
  bool* json_flag = nullptr;
  const auto call = verb.add(app, json_flag);
  bool wants_help = false;
  app.add_flag("-h,--help", wants_help, "this text")->group("Output");
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& e) {
    fail(ErrorKind::kUsage, "{}", e.what());
  }
  json = *json_flag;
  if (wants_help) {
    print(help(verb, app));
    return 0;
  }
  refuse_extras(app, verb);
  return call();
}

int dispatch(const std::vector<std::string>& words, bool& json) {
  const std::vector<Verb> all = verbs();
  const auto find = [&](const std::string& name) -> const Verb& {
    std::vector<std::string> names;
    for (const Verb& verb : all) {
      if (name == verb.name) return verb;
      names.push_back(verb.name);
    }
    names.push_back("help");
    fail(ErrorKind::kUsage, "no verb '{}'{} (`hunch help` lists them)", printable(name), suggestion(name, names));
  };
  if (words.empty()) {
    note(overview(all));
    return 2;
  }
  const std::string& first = words[0];
  if (first == "--version" || first == "version") {
    print("hunch " HUNCH_VERSION "\n");
    return 0;
  }
  if (first == "help" || first == "--help" || first == "-h") {
    if (words.size() == 1) {
      print(overview(all));
      return 0;
    }
    return run_verb(find(words[1]), {"--help"}, json);
  }
  if (first.starts_with("-"))
    fail(ErrorKind::kUsage, "the verb comes first: hunch VERB MODEL [options] (`hunch help` lists the verbs)");
  return run_verb(find(first), {words.begin() + 1, words.end()}, json);
}

int report(ErrorKind kind, const std::string& message, bool json) {
  note("hunch: " + message);
  if (json) {
    try {
      print_json({{"error", {{"kind", name_of(kind)}, {"message", message}}}});
    } catch (const Error&) {
      // Standard output is gone; standard error has said it.
    }
  }
  return kind == ErrorKind::kUsage ? 2 : kind == ErrorKind::kInterrupted ? 130 : 1;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  bool json = std::ranges::find(words, "--json") != words.end();  // until the verb has parsed its own
  try {
    return dispatch(words, json);
  } catch (const Error& e) {
    return report(e.kind(), e.what(), json);
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::kMemory, "not enough memory", json);
  }
}

}  // namespace hunch::cli
