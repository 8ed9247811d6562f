// An opened model with its tokenizer, its threads, and what was learned about it.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/compute.h"
#include "base/disk_reader.h"
#include "base/numa.h"
#include "device/devices.h"
#include "engine/rope_choice.h"
#include "io/quantised_folder.h"
#include "linear/adapter.h"
#include "model/model.h"
#include "model/sidecar.h"
#include "text/tokenizer.h"

namespace hunch {

class OnOtherRanks;  // engine/ranks.h
class PlacedPages;   // engine/place_weights.h

// A LoRA adapter (docs/adapters.md): a PEFT folder or a GGUF file.
struct AdapterSource {
  std::filesystem::path path;
  float scale = 1;  // AdapterChoice::scale
};

// A memory (docs/memory.md) that every plan of the engine looks into; no path: none.
struct MemoryChoice {
  std::filesystem::path path = {};
  size_t top = 32;  // MemoryReader
  double gate = -1;
};

struct EngineOptions {
  size_t n_threads = 0;  // 0: default_n_threads()
  bool pin_threads = false;
  NumaPolicy numa = NumaPolicy::kOff;          // docs/scale.md
  Precision precision = Precision::kF32;       // of `compute`, where it is this engine's own
  bool reblock_down = false;                   // WeightOptions::reblock_down
  QuantisedAs quantised = QuantisedAs::kAuto;  // what the weights of a quantised folder are decoded as
  std::filesystem::path sidecar;               // empty: MODEL.hunch beside the model, where there is one
  std::filesystem::path costs = {};  // what rows cost to read, pinned (engine/cost_file.h); empty: as measured
  std::shared_ptr<Compute> compute;  // of another engine, with which this one takes turns; none: its own
  // That the weights may take; more are read on demand (docs/larger-than-memory.md). 0: all are mapped.
  uint64_t weight_memory = 0;
  std::function<std::unique_ptr<DiskReader>()> disk_reader = {};  // who reads these; empty: make_disk_reader()
  const Stop* stop = nullptr;                                     // Compute::stop from the beginning of loading on
  std::vector<AdapterSource> adapters = {};                       // added up: Engine::adapter
  std::optional<RopeChoice> rope = {};                            // instead of what the file says
  MemoryChoice memory = {};
  DeviceOptions device = {};  // put_on_device()
  Ranks* ranks = nullptr;     // among which the model is divided, and outlive it (engine/ranks.h); none: it is whole
};

// A model ready to run. Shared and immutable but for its thread compute, which one caller uses at a time.
struct Engine {
  std::shared_ptr<Compute> compute;
  ThreadPlaces places;                  // of its threads, where nodes of memory were asked for
  std::shared_ptr<PlacedPages> placed;  // there, of the weights; none: they lie where they lie
  std::string source;                   // "GGUF", "HF folder", "llama2.c"
  std::vector<std::string> unused;      // tensors of an HF folder that no mapping asked for
  std::vector<std::string> unread;      // OpenedModel::unread
  QuantisedReport quantised;            // OpenedModel::quantised
  std::vector<std::string> left_out;    // OpenedModel::left_out
  std::unique_ptr<Model> model;
  std::optional<Tokenizer> tokenizer;  // none: ids only
  double load_ms = 0;
  // What `hunch sparsify` learned about the model. A sidecar found beside the model that is broken or another
  // model's is not used: what is wrong with it is an error only when sparse mode asks for it.
  std::shared_ptr<const Sidecar> sidecar;
  std::filesystem::path sidecar_path;  // where it is, or is looked for
  std::string sidecar_problem;
  bool sidecar_is_of_other_type = false;   // made for the same weights in another type: see check_sidecar
  std::shared_ptr<const Adapter> adapter;  // of contexts that choose none themselves; none: the model as it is

  std::shared_ptr<const OnOtherRanks> on_other_ranks;  // what they have of it, while this has its part
  std::shared_ptr<const MemoryReader> memory;          // of plans that plan_named() makes; none: they have none

  // Where steps are computed; none: on the processor.
  std::shared_ptr<ModelDevice> device;

  const ModelConfig& config() const { return model->config(); }
  // Throws Error{kNotFound | kFormat} naming what is wrong where there is none that fits.
  const Sidecar& need_sidecar() const;
  // Another sidecar of this model, whose plans are used beside those of this one's own: ContextOptions::plan. Throws as
  // open_sidecar() and check_sidecar(), naming the path; `is_of_other_type` is told what check_sidecar() says.
  std::shared_ptr<const Sidecar> load_sidecar(const std::filesystem::path& path,
                                              bool* is_of_other_type = nullptr) const;
  // Throws Error{kNotFound} for a model without a tokenizer.
  const Tokenizer& need_tokenizer() const;
  // Its ids of a text; the engine's present call may be stopped there too.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  // The plans that every model has: dense reads everything, exact leaves out what ReLU made zero. What the sidecar says
  // is need_sidecar().plan(). By name: "dense", "exact", "sparse" (at `density`, see Sidecar::plan(); 0: as it was
  // calibrated); throws Error{kUsage} for another name, or for a density with one that has none.
  std::shared_ptr<const Plan> plan_named(std::string_view name, double density = 0) const;
  // Reads adapters of this model, added up, for ContextOptions::adapter and Run::adapter: several of these may be in
  // use, also in one step. Not while a step runs. Throws as open_adapter() and bind_adapters(), naming the path.
  std::shared_ptr<const Adapter> load_adapter(std::span<const AdapterSource> sources);

 private:
  std::shared_ptr<const Adapter> bind(std::span<const AdapterSource> sources);
};

// Opens a model path (not a hub id). Errors as open_model's and Model's.
Engine load_engine(const std::filesystem::path& path, const EngineOptions& options = {});

}  // namespace hunch
