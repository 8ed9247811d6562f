#include "engine/session.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory_info.h"
#include "base/timer.h"
#include "engine/oracle.h"
#include "model/open_model.h"

namespace hunch {

const Tokenizer& Engine::need_tokenizer() const {
  if (!tokenizer) fail(ErrorKind::kNotFound, "the model has no tokenizer; only token ids (--ids) can be used with it");
  return *tokenizer;
}

const Sidecar& Engine::need_sidecar() const {
  if (sidecar) return *sidecar;
  if (!sidecar_problem.empty()) fail(ErrorKind::kFormat, "{}", sidecar_problem);
  fail(ErrorKind::kNotFound, "sparse mode needs a sidecar: no '{}' (`hunch sparsify MODEL --text FILE` makes it)",
       sidecar_path.string());
}

namespace {

void find_sidecar(Engine& engine, const std::filesystem::path& model, const std::filesystem::path& named) {
  engine.sidecar_path = named.empty() ? sidecar_path(model) : named;
  std::error_code ec;
  if (named.empty() && !std::filesystem::exists(engine.sidecar_path, ec)) return;
  try {
    auto sidecar = std::make_shared<Sidecar>(open_sidecar(engine.sidecar_path));
    try {
      check_sidecar(*sidecar, engine.model->file(), engine.config());
    } catch (const Error& e) {
      fail(e.kind(), "'{}': {}", engine.sidecar_path.string(), e.what());
    }
    engine.sidecar = std::move(sidecar);
  } catch (const Error& e) {
    if (!named.empty()) throw;
    engine.sidecar_problem = e.what();
  }
}

}  // namespace

Engine load_engine(const std::filesystem::path& path, const EngineOptions& options) {
  const Timer timer;
  Engine engine;
  engine.compute = options.compute;
  if (!engine.compute)
    engine.compute =
        std::make_shared<Compute>(options.n_threads ? options.n_threads : default_n_threads(), options.pin_threads);
  OpenedModel opened = open_model(path);
  engine.source = opened.source;
  engine.unused = std::move(opened.unused);
  engine.model = std::make_unique<Model>(std::move(opened.file), WeightOptions{options.reblock_down}, *engine.compute);
  if (const Metadata& meta = engine.model->file().meta; meta.has("tokenizer.ggml.model")) {
    TokenizerSpec spec = tokenizer_spec_from_gguf(meta);
    if (spec.pieces.size() > engine.config().n_vocab)
      fail(ErrorKind::kFormat, "the tokenizer has {} tokens, the embedding only {} rows", spec.pieces.size(),
           engine.config().n_vocab);
    pad_vocabulary(spec, engine.config().n_vocab);  // embeddings are often rounded up; such ids can be sampled
    engine.tokenizer.emplace(std::move(spec));
  }
  engine.columns = std::make_shared<ColumnStore>();
  find_sidecar(engine, path, options.sidecar);
  engine.load_ms = timer.ms();
  return engine;
}

size_t resolve_context(const ModelConfig& config, size_t n_ctx) {
  if (n_ctx == 0) return std::min(config.n_ctx_train, kDefaultMaxContext);
  const bool table = config.position == PositionKind::kLearned || config.position == PositionKind::kSinusoidal;
  if (table && n_ctx > config.n_ctx_train)
    fail(ErrorKind::kLimit, "--ctx {} is more than the {} positions that this model has learned", n_ctx,
         config.n_ctx_train);
  return n_ctx;
}

namespace {

std::unique_ptr<KvCache> make_cache(const ModelConfig& config, const ContextOptions& options, size_t n_ctx) {
  const KvShape shape = Forward::kv_shape(config, options.kv_dtype);
  const auto needed = checked_mul(KvCache::bytes_per_token(shape), n_ctx);
  require_memory(needed ? *needed : UINT64_MAX, fmt::format("the KV cache of a context of {} tokens", n_ctx),
                 "try a smaller --ctx or --kv f16");
  return std::make_unique<KvCache>(shape, n_ctx);
}

}  // namespace

Context::Context(const Engine& engine, const ContextOptions& options)
    : engine_(engine),
      options_(options),
      n_ctx_(resolve_context(engine.config(), options.n_ctx)),
      sequence_(std::make_shared<Sequence>(Sequence{make_cache(engine.config(), options, n_ctx_)})),
      forward_(std::make_unique<Forward>(*engine.model, *sequence_->cache, *engine.compute)) {
  sequence_->id = sequence_->cache->create();
  begin();
}

Context::Context(const Engine& engine, const ContextOptions& options, const Context& host)
    : engine_(engine),
      options_(options),
      n_ctx_(host.n_ctx_),
      sequence_(host.sequence_),
      forward_(std::make_unique<Forward>(*engine.model, *sequence_->cache, *engine.compute)) {
  HUNCH_CHECK(&engine == &host.engine_, "a sequence is shared by contexts of one model");
  begin();
}

void Context::begin() {
  for (double density : {options_.oracle_density, options_.oracle_head_density})
    if (!(density > 0 && density <= 1))
      fail(ErrorKind::kUsage, "oracle density is {}, expected more than 0 and at most 1", density);
  if (options_.has_oracle() && engine_.config().moe.n_expert > 0)
    fail(ErrorKind::kUnsupported, "the oracle needs a dense MLP; this model has {} experts",
         engine_.config().moe.n_expert);
  if (options_.density != 0 && options_.mode != Mode::kSparse)
    fail(ErrorKind::kUsage, "--density {} goes with --mode sparse", options_.density);
  if (options_.mode == Mode::kSparse) {
    if (options_.has_oracle()) fail(ErrorKind::kUsage, "sparse mode predicts what the oracle knows: give one of them");
    plan_ = options_.plan ? *options_.plan : engine_.need_sidecar().plan(options_.density);
    engine_.head_columns->attach(*engine_.model, *engine_.compute, plan_);
    forward_->plan = &plan_;
    if (plan_.uses(SmoothMethod::kGriffin) && !sequence_->prompt_neurons)
      sequence_->prompt_neurons = std::make_unique<PromptNeurons>(engine_.config().n_layer);
    const bool teal = plan_.uses(SmoothMethod::kTeal);
    if (teal || plan_.uses(SmoothMethod::kCats))
      columns_ =
          engine_.columns->get(engine_.model->weights(), teal ? ColumnParts::kAll : ColumnParts::kDown, *engine_.compute);
    forward_->columns = columns_.get();
  }
  n_prompt_ = n_ctx_ / 2;
  forward_->predict_every_token = options_.predict_every_token;
  forward_->mode = options_.mode;
  if (options_.has_oracle())
    oracle_ = std::make_unique<OracleRecorder>(*engine_.model, options_.oracle_density, options_.oracle_head_density);
}

Context::~Context() = default;

size_t Context::kv_bytes() const { return KvCache::bytes_per_token(sequence_->cache->shape()) * n_ctx_; }

void Context::truncate(size_t n_tokens) {
  sequence_->cache->truncate(sequence_->id, n_tokens);
  sequence_->ids.resize(n_tokens);
  if (sequence_->prompt_neurons) sequence_->prompt_neurons->truncated(n_tokens);
}

// Prompts are what GRIFFIN chooses by: passes of more tokens than decoding computes, or what was declared to be one.
bool Context::is_prompt(size_t n, bool as_alone) const {
  return options_.predict_every_token ? n_tokens() < n_prompt_ : !as_alone && n > Forward::kMaxGatheredTokens;
}

void Context::check_room(size_t n) const {
  if (n_tokens() + n > n_ctx_)
    fail(ErrorKind::kLimit, "{} tokens do not fit: {} of the context of {} are used; raise --ctx", n, n_tokens(),
         n_ctx_);
}

std::span<const uint32_t> Context::all_rows(size_t n) {
  all_rows_.resize(n);
  for (uint32_t i = 0; i < n; ++i) all_rows_[i] = i;
  return all_rows_;
}

MatView<const float> Context::run(std::span<const int32_t> ids, std::span<const uint32_t> rows, bool as_alone) {
  SequenceRun sequence_run{sequence_->id, ids.size()};
  PromptNeurons* const chosen = sequence_->prompt_neurons.get();
  const bool observed = chosen && is_prompt(ids.size(), as_alone);
  if (observed) {
    sequence_run.observed = chosen->statistics();
  } else if (chosen && chooses_by_prompt()) {
    sequence_run.packed = chosen->packed(*engine_.model, plan_, *engine_.compute);
  }
  ForwardInput input{ids, {&sequence_run, 1}, rows, {}, as_alone, only_best_};
  if (oracle_) {
    // First pass: dense, watched, then forgotten. Its cost is not counted: an oracle has none.
    const ForwardStats before = forward_->stats;
    const size_t n_before = n_tokens();
    {
      struct Restore {  // also when Ctrl-C ends the pass
        Forward& forward;
        ForwardObserver* observer = forward.observer;
        Mode mode = forward.mode;
        ~Restore() {
          forward.observer = observer;
          forward.mode = mode;
        }
      } const restore{*forward_};
      forward_->observer = oracle_.get();
      forward_->mode = Mode::kDense;
      oracle_->begin(ids.size());
      forward_->run({ids, {&sequence_run, 1}, {}, {}, as_alone});
    }
    forward_->stats = before;
    sequence_->cache->truncate(sequence_->id, n_before);  // its ids were not noted yet
    input.selections = oracle_->selections();
  }
  MatView<const float> logits;
  try {
    logits = forward_->run(input);
  } catch (...) {  // some layers have seen the tokens, others not
    if (observed) chosen->reset();
    throw;
  }
  sequence_->ids.insert(sequence_->ids.end(), ids.begin(), ids.end());
  if (observed) chosen->observed(n_tokens());
  return logits;
}

void Context::append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each) {
  check_room(ids.size());
  for (size_t begin = 0; begin < ids.size();) {
    throw_if_interrupted();
    size_t n = std::min(kBatchTokens, ids.size() - begin);
    if (chooses_by_prompt() && n_tokens() < n_prompt_) n = std::min(n, n_prompt_ - n_tokens());
    const auto batch = ids.subspan(begin, n);
    each(begin, run(batch, all_rows(batch.size())));
    begin += n;
  }
}

MatView<const float> Context::append_as_alone(std::span<const int32_t> ids) {
  check_room(ids.size());
  return run(ids, all_rows(ids.size()), true);
}

std::span<const float> Context::append(std::span<const int32_t> ids, const Progress& progress) {
  if (ids.empty()) fail(ErrorKind::kUsage, "nothing to compute: the prompt has no tokens");
  check_room(ids.size());
  MatView<const float> logits;
  for (size_t begin = 0; begin < ids.size(); begin += kBatchTokens) {
    if (begin) throw_if_interrupted();
    const auto batch = ids.subspan(begin, std::min(kBatchTokens, ids.size() - begin));
    const uint32_t last = uint32_t(batch.size() - 1);
    const bool wanted = begin + batch.size() == ids.size();
    logits = run(batch, wanted ? std::span(&last, 1) : std::span<const uint32_t>());
    if (progress) progress("prompt", begin + batch.size(), ids.size());
  }
  // Packing is part of the prompt's time.
  if (chooses_by_prompt()) sequence_->prompt_neurons->packed(*engine_.model, plan_, *engine_.compute);
  return logits.row(0);
}

}  // namespace hunch
