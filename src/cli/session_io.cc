#include "cli/session_io.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/disk_text.h"
#include "cli/method_note.h"
#include "cli/parse.h"
#include "cli/ranks.h"
#include "cli/table.h"
#include "formats/format.h"
#include "io/printable.h"
#include "kernels/simd_target.h"
#include "linear/weight_disk.h"
#include "measure/density.h"
#include "measure/sidecar_price.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"
#include "select/prompt_pattern.h"

namespace hunch::cli {
namespace fs = std::filesystem;

fs::path resolve_model(const ModelFlags& flags) {
  std::error_code ec;
  const fs::path path = flags.model;
  return fs::exists(path, ec) ? path : fetch_model(flags);
}

namespace {
QuantisedAs quantised_as(const ModelFlags& flags) {
  return flags.quantised == "blocks"   ? QuantisedAs::kBlocks
         : flags.quantised == "floats" ? QuantisedAs::kFloats
                                       : QuantisedAs::kAuto;
}
}  // namespace

OpenedModel open_named(const ModelFlags& flags) {
  return open_model(resolve_model(flags), &interrupt_stop(), quantised_as(flags), flags.n_threads);
}

Tokenizer open_tokenizer(const ModelFlags& flags) {
  const Metadata meta = open_vocabulary(resolve_model(flags), &interrupt_stop());
  if (!meta.has("tokenizer.ggml.model"))
    fail(ErrorKind::kNotFound, "'{}' has no tokenizer", printable(flags.model, 300));
  Tokenizer tokenizer(tokenizer_spec_from_gguf(meta));
  if (!flags.quiet && !tokenizer.spec().note.empty()) note("note: " + printable(tokenizer.spec().note, 300));
  return tokenizer;
}

Engine open_engine(const ModelFlags& flags, std::shared_ptr<Compute> compute, const Stop* stop) {
  if (!flags.force_target.empty()) force_simd_target(flags.force_target);
  EngineOptions options;
  options.n_threads = flags.n_threads;
  options.pin_threads = flags.pin_threads;
  options.numa = numa_policy(flags.numa, are_several_ranks());
  options.precision = *precision_from_name(flags.precision);  // the grammar let only names pass
  options.reblock_down = flags.reblock_down;
  options.quantised = quantised_as(flags);
  options.sidecar = flags.sidecar;
  options.costs = flags.costs;
  if (!flags.rope.empty()) {
    options.rope = rope_choice_from(flags.rope);
    if (!options.rope)
      fail(ErrorKind::kUsage, "--rope: expected {}, found '{}'", rope_choice_help(), printable(flags.rope));
  }
  if (!flags.ram.empty()) options.weight_memory = uint64_t(parse_bytes(flags.ram, "--ram"));
  options.memory.path = flags.memory;
  options.memory.top = flags.memory_top;
  if (!flags.memory_gate.empty()) options.memory.gate = parse_share(flags.memory_gate, "--memory-gate", true);
  if (flags.memory.empty() && (flags.memory_top != 32 || !flags.memory_gate.empty()))
    fail(ErrorKind::kUsage, "--memory-top and --memory-gate go with --memory");
  options.device.name = flags.device;
  options.device.n_layers = flags.gpu_layers;
  if (!flags.gpu_neurons.empty())
    options.device.neurons = flags.gpu_neurons == "auto" ? 0 : parse_share(flags.gpu_neurons, "--gpu-neurons");
  if (!flags.gpu_memory.empty()) options.device.memory_bytes = uint64_t(parse_bytes(flags.gpu_memory, "--gpu-memory"));
  options.compute = std::move(compute);
  options.stop = stop ? stop : &interrupt_stop();
  options.ranks = divide_among_ranks(flags.ranks);
  for (const std::string& lora : flags.lora) options.adapters.push_back(parse_adapter(lora));
  return load_engine(resolve_model(flags), options);
}

ContextOptions context_options(const ContextFlags& flags) {
  ContextOptions options;
  options.n_ctx = flags.n_ctx;
  options.kv_type = *kv_type_from_name(flags.kv);
  options.mode = flags.mode;
  options.density = flags.density;
  if (flags.kv_policies.size() > 1)
    fail(ErrorKind::kUsage, "--kv-policy was given {} times, expected once (eval and bench compare several)",
         flags.kv_policies.size());
  if (!flags.kv_policies.empty() && flags.kv_policies[0] != "none")
    options.keys = key_policy_from(flags.kv_policies[0]);
  options.prefill = flags.prefill;
  if (!flags.prefill.empty() && flags.prefill != "sidecar") prompt_patterns_from(flags.prefill);  // may throw
  if (flags.experts.size() > 1)
    fail(ErrorKind::kUsage, "--experts was given {} times, expected once (eval compares several)",
         flags.experts.size());
  if (!flags.experts.empty()) options.experts = expert_policy_from(flags.experts[0]);
  options.oracle_density = flags.oracle_density;
  options.oracle_head_density = flags.oracle_head_density != 0 ? flags.oracle_head_density : flags.oracle_density;
  return options;
}

SamplerOptions sampler_options(const SamplerFlags& flags) {
  SamplerOptions options = flags.options;
  options.logit_bias = parse_logit_bias(flags.logit_bias);
  options.seed = flags.seed ? *flags.seed : std::random_device()();
  validate(options);
  return options;
}

std::vector<std::string> stop_texts(const std::vector<std::string>& texts) {
  if (std::ranges::find(texts, "") != texts.end())
    fail(ErrorKind::kUsage, "--stop: expected a text, found an empty one");
  return texts;
}

std::string display_name(const Engine& engine, const ModelFlags& flags) {
  std::string name = engine.config().name;
  if (name.empty()) name = fs::path(flags.model).lexically_normal().filename().string();
  if (name.empty() || name == ".") name = flags.model;
  return printable(name);
}

// What was calibrated on other types of the same weights costs something else on these.
std::string describe_price(const Engine& engine) {
  const std::string text = "note: the sidecar was made for these weights in another type";
  const std::optional<SidecarPrice> price = sidecar_price(engine);
  if (!price) return text + ", what it costs on this one was not measured: `hunch eval --compare dense,sparse` does";
  return text + fmt::format("; on this one its perplexity is {:.2f}, dense {:.2f} ({:+.1f} %, over {} tokens)",
                            price->perplexity_sparse, price->perplexity_dense,
                            100 * (price->perplexity_sparse / price->perplexity_dense - 1), price->n_tokens);
}

void print_first_line(const Engine& engine, const ModelFlags& flags, const ContextFlags& context, size_t n_ctx,
                      size_t kv_bytes) {
  if (flags.quiet) return;
  const ModelConfig& c = engine.config();
  const size_t n_threads = engine.compute->threads.n_threads();
  std::string line =
      fmt::format("{}: {}, {}, {} parameters; {} on {} thread{}", display_name(engine, flags), c.arch,
                  name_of(engine.model->main_dtype()), human_count(double(engine.model->weights().n_params)),
                  simd_target_name(), n_threads, n_threads == 1 ? "" : "s");
  if (const size_t n_nodes = engine.places.n_nodes(); n_nodes > 1) line += fmt::format(" of {} NUMA nodes", n_nodes);
  if (engine.device) line += "; " + engine.device->name();
  if (const Ranks* ranks = engine.model->ranks()) line += fmt::format(", {} ranks", ranks->shard().n);
  if (n_ctx) line += fmt::format("; context {}", n_ctx);
  if (kv_bytes && flags.verbose) line += fmt::format(", KV {:.1f} MB {}", double(kv_bytes) / 1e6, context.kv);
  note(whole_words(line, 2, stderr_columns()));
  if (engine.tokenizer && !engine.tokenizer->spec().note.empty())
    note("note: " + printable(engine.tokenizer->spec().note, 300));
  if (const std::string text = engine.quantised.text(); !text.empty()) note("note: " + text);
  if (!engine.unused.empty())
    note(fmt::format("note: {} tensor{} of the folder are not used: {}{}", engine.unused.size(),
                     engine.unused.size() == 1 ? "" : "s", printable(engine.unused[0]),
                     engine.unused.size() > 1 ? ", ..." : ""));
  if (const std::string text = describe_left_out(engine.left_out); !text.empty()) note("note: " + text);
  if (!engine.unread.empty()) note(describe_unread(engine.unread));
  if (const std::string held = describe(engine.model->weights().held); !held.empty()) note("note: " + held);
  if (const WeightDisk* disk = engine.model->weights().disk.get()) note(describe(*disk, engine.model->weights().bytes));
  if (engine.adapter)
    note(fmt::format("adapter {}: {} matrices, {}", engine.adapter->name, engine.adapter->parts.size(),
                     human_bytes(double(engine.adapter->bytes()))));
  const auto down_rows = [&] { return engine.model->weights().any_mlp().down->factor(Axis::kIn).rows(); };
  const bool keeps = engine.model->weights().down_layout == DownLayout::kKept;
  if (context.mode == "exact" && keeps && engine.model->weights().disk) {
    note("note: the down projection lies by output, and is read whole: exact mode skips nothing there");
  } else if (context.mode == "exact" && keeps && !down_rows()) {
    note(
        "note: the down projection is stored without its zeros, and is computed whole: exact mode skips nothing there");
  } else if (context.mode == "exact" && keeps) {
    note(fmt::format(
        "note: the down projection is {} in blocks along n_ff, and is computed whole: exact mode skips nothing there "
        "(--reblock-down re-encodes it as q8_0, row by neuron)",
        name_of(down_rows().dtype)));
  }
  if (context.mode == "sparse" && engine.sidecar)
    if (const std::string text = describe_method(engine); !text.empty()) note("note: " + text);
  if (context.mode == "sparse" && engine.sidecar && engine.sidecar_is_of_other_type) note(describe_price(engine));
  if (n_ctx > c.n_ctx_train && c.position == PositionKind::kRope && c.rope.scaling == RopeScaling::kNone &&
      c.rope.freq_factors.empty() && !c.rope.extend.on())
    note(
        fmt::format("warning: the context of {} is longer than the {} tokens that the model was trained with, and it "
                    "has no RoPE scaling: "
                    "expect nonsense beyond them",
                    n_ctx, c.n_ctx_train));
}

std::string describe_unread(const std::vector<std::string>& keys) {
  return fmt::format(
      "note: the model's configuration has {} that hunch does not read; where {} the computation, the answer differs: "
      "{}",
      keys.size() == 1 ? "a key" : "keys", keys.size() == 1 ? "it changes" : "they change",
      printable(fmt::format("{}", fmt::join(keys, ", ")), 300));
}

MachineSpeed machine_speed(Compute& compute, bool quiet, double seen_gb_per_s) {
  const auto cached = cached_machine_speed(compute.threads.n_threads());
  if (cached && cached->read_gb_per_s >= seen_gb_per_s) return *cached;
  if (!quiet)
    note(fmt::format("measuring this machine's memory bandwidth with {} threads{} ...", compute.threads.n_threads(),
                     cached ? " again, which was busy the last time" : ", once"));
  MachineSpeed speed = measure_machine(compute);
  if (cached) speed.read_gb_per_s = std::max(speed.read_gb_per_s, cached->read_gb_per_s);
  try {
    cache_machine_speed(speed);
  } catch (const Error& e) {
    if (!quiet) note(fmt::format("note: the measurement is not kept: {}", e.what()));
  }
  return speed;
}

MachineSpeed reading_speed(const Engine& engine, bool quiet, double seen_gb_per_s) {
  if (!engine.device) return machine_speed(*engine.compute, quiet, seen_gb_per_s);
  double gb_per_s = engine.device->read_gb_per_s();
  // Of a model that is divided no more than both together is read.
  if (engine.device->first_layer() > 0) gb_per_s += machine_speed(*engine.compute, quiet).read_gb_per_s;
  return {engine.compute->threads.n_threads(), gb_per_s};
}

double Speed::prompt_tokens_per_s() const { return prompt_seconds > 0 ? double(n_prompt) / prompt_seconds : 0; }
double Speed::tokens_per_s() const { return seconds > 0 ? double(n_decoded) / seconds : 0; }
double Speed::gb_per_s() const {
  const StepStats& s = main_stats();
  const double time = stats.n_tokens ? seconds : prompt_seconds;
  const uint64_t drafts = stats.n_tokens ? draft_bytes : 0;
  return time > 0 ? double(s.weight_bytes + s.kv_bytes + drafts) / time / 1e9 : 0;
}

Speed speed_of(const Generated& g) {
  return {g.n_prompt, g.ids.size(), g.n_decoded, g.prompt_seconds, g.seconds, g.prompt_stats, g.stats};
}

void print_last_line(const Engine& engine, const Speed& speed, const ModelFlags& flags, std::optional<uint64_t> seed) {
  if (flags.quiet) return;
  std::string line = fmt::format("{} tokens", speed.n_generated);
  if (speed.stats.n_tokens) line += fmt::format(", {:.1f} tokens/s", speed.tokens_per_s());
  line += fmt::format(" (prompt: {}, {:.1f})", speed.n_prompt, speed.prompt_tokens_per_s());
  const std::vector<double> density = density_per_layer(speed.main_stats());
  if (const double mean = mean_of(density); mean < 1) line += "; density " + share_text(mean);
  if (seed) line += fmt::format("; seed {}", *seed);
  note(line);
  if (const WeightDisk* disk = engine.model->weights().disk.get())
    note(describe(disk->stats(), speed.n_prompt + speed.n_decoded));
  if (!flags.verbose) return;
  line = fmt::format("{:.2f} GB/s", speed.gb_per_s());
  if (engine.device)
    line += " of the device";
  else if (const auto machine = cached_machine_speed(engine.compute->threads.n_threads()))
    line += fmt::format(", {:.0f} % of this machine's {:.1f}", 100 * speed.gb_per_s() / machine->read_gb_per_s,
                        machine->read_gb_per_s);
  else
    line += " (`hunch bench --machine` measures what this machine can)";
  if (const std::string layers = describe_density(density); !layers.empty()) line += "; " + layers;
  note(line);
}

std::vector<double> density_per_layer(const StepStats& stats) {
  std::vector<double> out;
  mean_density(stats.active_neurons, stats.all_neurons, &out);
  return out;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return values.empty() ? 1.0 : sum / double(values.size());
}

std::string describe_density(const std::vector<double>& per_layer) {
  if (std::ranges::all_of(per_layer, [](double d) { return d >= 1; })) return "";
  std::string layers;
  for (double d : per_layer) layers += fmt::format("{}{:.0f}", layers.empty() ? "" : " ", d * 100);
  return fmt::format("density {} (by layer {})", share_text(mean_of(per_layer)), layers);
}

nlohmann::ordered_json model_json(const Engine& engine, const ModelFlags& flags) {
  const ModelConfig& c = engine.config();
  nlohmann::ordered_json json = {{"name", c.name.empty() ? fs::path(flags.model).filename().string() : c.name},
                                 {"arch", c.arch},
                                 {"source", engine.source},
                                 {"dtype", name_of(engine.model->main_dtype())},
                                 {"n_params", engine.model->weights().n_params},
                                 {"simd_target", simd_target_name()},
                                 {"n_threads", engine.compute->threads.n_threads()}};
  if (engine.device) json["device"] = engine.device->name();
  if (const Ranks* ranks = engine.model->ranks()) json["n_ranks"] = ranks->shard().n;
  if (engine.adapter) json["adapter"] = engine.adapter->name;
  return json;
}

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text, bool add_special,
                                   bool parse_special) {
  std::vector<int32_t> ids = tokenizer.encode(text, {add_special, parse_special, &interrupt_stop()});
  if (!ids.empty()) return ids;
  if (!tokenizer.spec().bos)
    fail(ErrorKind::kUsage, "the prompt is empty, and this model has no token that begins a text; give it some text");
  return {*tokenizer.spec().bos};
}

}  // namespace hunch::cli
