// What the verbs that load a model share: from the name on the command line to an engine, the line
// that says what runs, and the line that says how fast it was.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/flags.h"
#include "engine/generate.h"
#include "measure/machine.h"
#include "model/open_model.h"

namespace hunch::cli {

// The file or folder of this name, else the model of this hub id, pulled into the cache. Says on stderr
// what it fetches. Throws as pull_model; Error{kNotFound} for a name that is neither.
std::filesystem::path resolve_model(const ModelFlags& flags);
// The second half of it.
std::filesystem::path fetch_model(const ModelFlags& flags);
// What of it is on this machine: the file or folder, else the snapshot of the hub id in the cache, else "".
std::filesystem::path local_model(const ModelFlags& flags);

// Metadata and tensor views only: nothing is computed or arranged. Applies no thread options.
OpenedModel open_named(const ModelFlags& flags);
// The tokenizer of a model, or Error{kNotFound}; says what was assumed where its files are silent.
Tokenizer open_tokenizer(const ModelFlags& flags);

// Honours --force-target, then resolves and loads. `compute`: of an engine with which this one takes turns; none: its
// own. `stop` ends it early; none: Ctrl-C does.
Engine open_engine(const ModelFlags& flags, std::shared_ptr<Compute> compute = nullptr, const Stop* stop = nullptr);

ContextOptions context_options(const ContextFlags& flags);

// Checked options with a seed chosen where none was given.
SamplerOptions sampler_options(const SamplerFlags& flags);

// The texts of --stop. Throws Error{kUsage} for an empty one.
std::vector<std::string> stop_texts(const std::vector<std::string>& texts);

// The model's name for people: its own, or the last part of the path; printable.
std::string display_name(const Engine& engine, const ModelFlags& flags);

// The first line of a run, and what is worth knowing beneath it (context beyond training, a down
// projection that stays dense). `kv_bytes` 0: no cache is mentioned. Nothing with --quiet.
void print_first_line(const Engine& engine, const ModelFlags& flags, const ContextFlags& context, size_t n_ctx,
                      size_t kv_bytes);

// "note: the model's configuration has a key that hunch does not read ..." (OpenedModel::unread).
std::string describe_unread(const std::vector<std::string>& keys);

// The machine's measured bandwidth: as cached, else measured now (one or two seconds) and cached; again, where memory
// was seen to give more than that.
MachineSpeed machine_speed(Compute& compute, bool quiet, double seen_gb_per_s = 0);
// The same of where the engine computes: this machine, or its device, whose memory is measured for each run.
MachineSpeed reading_speed(const Engine& engine, bool quiet, double seen_gb_per_s = 0);

struct Speed {
  size_t n_prompt = 0, n_generated = 0, n_decoded = 0;
  double prompt_seconds = 0, seconds = 0;
  StepStats prompt_stats, stats;
  uint64_t draft_bytes = 0;  // read for drafts, which `stats` leaves out

  double prompt_tokens_per_s() const;
  double tokens_per_s() const;  // decoded tokens; the first comes with the prompt
  double gb_per_s() const;      // of decoding; of the prompt where nothing was decoded
  const StepStats& main_stats() const { return stats.n_tokens ? stats : prompt_stats; }
};
Speed speed_of(const Generated& generated);

// The last line of a run: how much and how fast, and the seed where it was drawn. With --verbose a second one: bytes
// and layers. Nothing with --quiet.
void print_last_line(const Engine& engine, const Speed& speed, const ModelFlags& flags,
                     std::optional<uint64_t> seed = std::nullopt);

// Share of the neurons that were computed, per layer; empty where nothing was counted.
std::vector<double> density_per_layer(const StepStats& stats);
double mean_of(const std::vector<double>& values);
// "density 9.1 % (by layer 12 9 8 7)", or "" at full density.
std::string describe_density(const std::vector<double>& per_layer);

// What a JSON answer says of the model.
nlohmann::ordered_json model_json(const Engine& engine, const ModelFlags& flags);

// Ids of a prompt; an empty text becomes BOS. Throws Error{kUsage} where the family has no BOS.
std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text, bool add_special,
                                   bool parse_special);

}  // namespace hunch::cli
