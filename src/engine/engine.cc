#include "engine/engine.h"

#include <algorithm>

#include "base/bind_threads.h"
#include "base/error.h"
#include "base/timer.h"
#include "engine/context.h"
#include "engine/cost_file.h"
#include "engine/place_weights.h"
#include "engine/ranks.h"
#include "io/gguf.h"
#include "model/architecture.h"
#include "model/bind_adapter.h"
#include "model/bundles.h"
#include "model/open_model.h"

namespace hunch {

const Tokenizer& Engine::need_tokenizer() const {
  if (!tokenizer) fail(ErrorKind::kNotFound, "the model has no tokenizer; only token ids (ids) can be used with it");
  return *tokenizer;
}

std::vector<int32_t> Engine::encode(std::string_view text, EncodeOptions options) const {
  options.stop = compute->stop;
  return need_tokenizer().encode(text, options);
}

const Sidecar& Engine::need_sidecar() const {
  if (sidecar) return *sidecar;
  if (!sidecar_problem.empty()) fail(ErrorKind::kFormat, "{}", sidecar_problem);
  fail(ErrorKind::kNotFound, "sparse mode needs a sidecar: no '{}' (`hunch sparsify` makes it)", sidecar_path.string());
}

std::shared_ptr<const Sidecar> Engine::load_sidecar(const std::filesystem::path& path, bool* is_of_other_type) const {
  auto loaded = std::make_shared<Sidecar>(open_sidecar(path));
  try {
    const bool same = check_sidecar(*loaded, model->file(), model->whole_config());
    if (is_of_other_type) *is_of_other_type = !same;
    if (!model->ranks()) return loaded;
    *loaded = loaded->part(model->weights().parts);
    loaded->by_share = model->ranks()->division.by_share;
  } catch (const Error& e) {
    fail(e.kind(), "'{}': {}", path.string(), e.what());
  }
  return loaded;
}

namespace {

void use_sidecar(Engine& engine, const std::filesystem::path& model, const std::filesystem::path& named) {
  engine.sidecar_path = named.empty() ? find_sidecar(model) : named;
  std::error_code ec;
  if (named.empty() && !std::filesystem::exists(engine.sidecar_path, ec)) return;
  try {
    engine.sidecar = engine.load_sidecar(engine.sidecar_path, &engine.sidecar_is_of_other_type);
  } catch (const Error& e) {
    if (!named.empty()) throw;
    engine.sidecar_problem = e.what();
  }
}

// None: all weights are mapped.
std::optional<DiskOptions> disk_options(const std::filesystem::path& path, const OpenedModel& opened,
                                        const EngineOptions& options) {
  if (options.weight_memory == 0) return std::nullopt;
  if (options.device.name != "cpu")
    fail(ErrorKind::kUnsupported,
         "weights that are read on demand (ram) are computed with by the processor: no device");
  DiskOptions disk{.n_bytes = options.weight_memory};
  if (options.disk_reader) disk.reader = options.disk_reader;
  if (opened.source != "GGUF") return disk;
  disk.files = gguf_parts(path, opened.file.maps.size());
  std::error_code ec;
  if (std::filesystem::path bundles = bundles_path(path); std::filesystem::exists(bundles, ec))
    disk.bundles = std::move(bundles);
  return disk;
}

std::shared_ptr<const MemoryReader> load_memory(const Model& model, const MemoryChoice& choice) {
  if (choice.top == 0 || choice.gate > 1 || (choice.gate < 0 && choice.gate != -1))
    fail(ErrorKind::kUsage, "a memory of which {} keys are read, with a gate of {}: expected at least 1, and a share",
         choice.top, choice.gate);
  auto memory = std::make_shared<Memory>(open_memory(choice.path));
  try {
    check_memory(*memory, model.file(), model.whole_config());
    keep_part(*memory, model.weights().parts);
  } catch (const Error& e) {
    fail(e.kind(), "'{}': {}", choice.path.string(), e.what());
  }
  return std::make_shared<const MemoryReader>(MemoryReader{std::move(memory), choice.top, choice.gate});
}

// Those of a model that is divided.
void check_undivided(const EngineOptions& options) {
  if (options.device.name != "cpu")
    fail(ErrorKind::kUnsupported, "devices (device) are not divided among ranks; run it without mpirun");
}

void make_compute(Engine& engine, const EngineOptions& options) {
  if (options.numa == NumaPolicy::kOff) {
    engine.compute =
        std::make_shared<Compute>(options.n_threads ? options.n_threads : default_n_threads(), options.pin_threads);
    return;
  }
  const std::vector<NumaNode> nodes = numa_nodes(allowed_cpus());
  const NumaChoice choice{options.numa, options.ranks ? options.ranks->local_rank : 0};
  const int here = current_cpu();
  engine.places = place_threads(nodes, choice, options.n_threads, here);
  const size_t n = options.n_threads ? options.n_threads : std::min(engine.places.cpus.size(), default_n_threads());
  if (n < engine.places.cpus.size()) engine.places = place_threads(nodes, choice, n, here);
  const bool bound = !engine.places.ids.empty();
  engine.compute = std::make_shared<Compute>(n, options.pin_threads && !bound);
  if (bound) bind_threads(engine.compute->threads, engine.places, options.pin_threads);
  if (engine.places.n_nodes() > 1) engine.placed = std::make_shared<PlacedPages>();
}

Engine load_part(const std::filesystem::path& path, const EngineOptions& options) {
  const Timer timer;
  Engine engine;
  engine.compute = options.compute;
  if (!engine.compute) {
    make_compute(engine, options);
    engine.compute->precision = options.precision;
  }
  if (options.stop) engine.compute->stop = options.stop;
  OpenedModel opened = open_model(path, engine.compute->stop, options.quantised, engine.compute->threads.n_threads());
  engine.source = opened.source;
  engine.unused = std::move(opened.unused);
  engine.unread = std::move(opened.unread);
  engine.quantised = std::move(opened.quantised);
  engine.left_out = std::move(opened.left_out);
  if (options.rope) apply(*options.rope, opened.file);
  const std::optional<DiskOptions> disk = disk_options(path, opened, options);
  const WeightOptions weights{
      .reblock_down = options.reblock_down, .ranks = options.ranks, .disk = disk ? &*disk : nullptr};
  engine.model = std::make_unique<Model>(std::move(opened.file), weights, *engine.compute);
  if (options.rope && engine.config().position != PositionKind::kRope)
    fail(ErrorKind::kUnsupported, "the model does not rotate its keys: there is no RoPE to stretch (rope)");
  if (options.rope && engine.config().rope.extend.on() &&
      std::ranges::none_of(engine.config().layers, [](const LayerConfig& l) { return l.extend.on(); }))
    fail(ErrorKind::kUnsupported,
         "every layer of the model that rotates has a window: there are no far keys for Self-Extend (rope)");
  if (const Metadata& meta = engine.model->file().meta; meta.has("tokenizer.ggml.model")) {
    TokenizerSpec spec = tokenizer_spec_from_gguf(meta);
    if (!drop_added_tokens(spec, engine.config().n_vocab))
      fail(ErrorKind::kFormat, "the tokenizer has {} tokens, the embedding only {} rows", spec.pieces.size(),
           engine.config().n_vocab);
    pad_vocabulary(spec, engine.config().n_vocab);  // embeddings are often rounded up; such ids can be sampled
    engine.tokenizer.emplace(std::move(spec));
  }
  if (!options.costs.empty()) pin_costs(engine.model->layouts().costs(), options.costs);
  use_sidecar(engine, path, options.sidecar);
  if (!options.adapters.empty() && !options.ranks) engine.adapter = engine.load_adapter(options.adapters);
  if (!options.memory.path.empty()) engine.memory = load_memory(*engine.model, options.memory);
  std::vector<std::span<const float>> frequency;
  for (size_t l = 0; engine.sidecar && l < engine.sidecar->layers.size(); ++l)
    frequency.push_back(engine.sidecar->layers[l].frequency);
  engine.device =
      put_on_device(options.device, *engine.model, frequency, resolve_context(engine.config(), 0), *engine.compute);
  engine.load_ms = timer.ms();
  return engine;
}

LayerWork average_layer(const ModelFile& file, size_t n_layer) {
  LayerWork work;
  for (const Tensor& t : file.tensors) {
    if (!t.name.starts_with("blk.")) continue;
    work.bytes += t.data.size();
    work.weights += t.n_elems();
  }
  n_layer = std::max<size_t>(1, n_layer);
  return {work.bytes / n_layer, work.weights / n_layer};
}

}  // namespace

Engine load_engine(const std::filesystem::path& path, const EngineOptions& options) {
  if (!options.ranks) return load_part(path, options);
  check_undivided(options);
  if (!options.ranks->leads()) return load_part(path, options);
  if (options.ranks->division.by_speed) {
    const OpenedModel opened = open_model(path, options.stop, options.quantised);
    const ModelConfig config = config_from_gguf(opened.file);
    options.ranks->division.n_layers = layers_by_speed(measure_ranks(*options.ranks, options.n_threads), config.n_layer,
                                                       average_layer(opened.file, config.n_layer));
  }
  auto others = std::make_shared<OnOtherRanks>(*options.ranks, path, options);
  Engine engine;
  on_all_ranks(*options.ranks, [&] { engine = load_part(path, options); });
  engine.on_other_ranks = std::move(others);
  if (!options.adapters.empty()) engine.adapter = engine.load_adapter(options.adapters);
  return engine;
}

std::shared_ptr<const Adapter> Engine::load_adapter(std::span<const AdapterSource> sources) {
  Ranks* const ranks = model->ranks();
  if (ranks && ranks->leads()) {
    std::shared_ptr<const Adapter> loaded;
    const uint32_t number = ranks->new_adapter();
    send_adapter(*ranks, number, sources);
    on_all_ranks(*ranks, [&] { loaded = bind(sources); });
    ranks->name_adapter(loaded, number);
    return loaded;
  }
  return bind(sources);
}

std::shared_ptr<const Adapter> Engine::bind(std::span<const AdapterSource> sources) {
  std::vector<AdapterFile> files;
  for (const AdapterSource& source : sources) files.push_back(open_adapter(source.path, compute->stop));
  std::vector<AdapterChoice> chosen;
  for (size_t i = 0; i < files.size(); ++i) chosen.push_back({&files[i], sources[i].scale});
  std::shared_ptr<const Adapter> loaded = bind_adapters(*model, *compute, chosen);
  model->adapt(*loaded);
  return loaded;
}

std::shared_ptr<const Plan> Engine::plan_named(std::string_view name, double density) const {
  if (density != 0 && name != "sparse")
    fail(ErrorKind::kUsage, "a density of {} (density) goes with sparse mode only", density);
  const auto with_memory = [&](Plan plan) {
    plan.memory = memory;
    return std::make_shared<const Plan>(std::move(plan));
  };
  if (name == "dense") return with_memory({});
  if (name == "exact") return with_memory(Plan::exact(config()));
  if (name == "sparse") return with_memory(need_sidecar().plan(config(), density));
  fail(ErrorKind::kUsage, "unknown mode '{}', expected dense, exact or sparse", name);
}

}  // namespace hunch
