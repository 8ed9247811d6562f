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
  fail(ErrorKind::kNotFound, "sparse mode needs predictors: no '{}' (`hunch sparsify MODEL --text FILE` makes it)", sidecar_path.string());
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
  engine.pool = std::make_unique<ThreadPool>(options.n_threads ? options.n_threads : default_n_threads(), options.pin_threads);
  OpenedModel opened = open_model(path);
  engine.source = opened.source;
  engine.unused = std::move(opened.unused);
  engine.model = std::make_unique<Model>(std::move(opened.file), WeightOptions{options.reblock_down}, *engine.pool);
  if (const Metadata& meta = engine.model->file().meta; meta.has("tokenizer.ggml.model")) {
    TokenizerSpec spec = tokenizer_spec_from_gguf(meta);
    if (spec.pieces.size() > engine.config().n_vocab)
      fail(ErrorKind::kFormat, "the tokenizer has {} tokens, the embedding only {} rows", spec.pieces.size(), engine.config().n_vocab);
    pad_vocabulary(spec, engine.config().n_vocab);  // embeddings are often rounded up; such ids can be sampled
    engine.tokenizer.emplace(std::move(spec));
  }
  find_sidecar(engine, path, options.sidecar);
  engine.load_ms = timer.ms();
  return engine;
}

size_t resolve_context(const ModelConfig& config, size_t n_ctx) {
  if (n_ctx == 0) return std::min(config.n_ctx_train, kDefaultMaxContext);
  const bool table = config.position == PositionKind::kLearned || config.position == PositionKind::kSinusoidal;
  if (table && n_ctx > config.n_ctx_train)
    fail(ErrorKind::kLimit, "--ctx {} is more than the {} positions that this model has learned", n_ctx, config.n_ctx_train);
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
      cache_(make_cache(engine.config(), options, n_ctx_)),
      forward_(std::make_unique<Forward>(*engine.model, *cache_, *engine.pool)) {
  for (double density : {options.oracle_density, options.oracle_head_density})
    if (!(density > 0 && density <= 1)) fail(ErrorKind::kUsage, "oracle density is {}, expected more than 0 and at most 1", density);
  if (options.has_oracle() && engine.config().moe.n_expert > 0)
    fail(ErrorKind::kUnsupported, "the oracle needs a dense MLP; this model has {} experts", engine.config().moe.n_expert);
  if (options.density != 0 && options.mode != Mode::kSparse)
    fail(ErrorKind::kUsage, "--density {} goes with --mode sparse", options.density);
  if (options.mode == Mode::kSparse) {
    if (options.has_oracle()) fail(ErrorKind::kUsage, "sparse mode predicts what the oracle knows: give one of them");
    plan_ = options.plan ? *options.plan : engine.need_sidecar().plan(options.density);
    forward_->plan = &plan_;
  }
  forward_->predict_every_token = options.predict_every_token;
  forward_->mode = options.mode;
  sequence_ = cache_->create();
  if (options.has_oracle())
    oracle_ = std::make_unique<OracleRecorder>(*engine.model, options.oracle_density, options.oracle_head_density);
}

Context::~Context() = default;

size_t Context::n_tokens() const { return cache_->n_tokens(sequence_); }
size_t Context::kv_bytes() const { return KvCache::bytes_per_token(cache_->shape()) * n_ctx_; }
void Context::truncate(size_t n_tokens) { cache_->truncate(sequence_, n_tokens); }

MatView<const float> Context::run(std::span<const int32_t> ids, std::span<const uint32_t> rows) {
  const SequenceRun sequence_run{sequence_, ids.size()};
  ForwardInput input{ids, {&sequence_run, 1}, rows, {}};
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
      forward_->run({ids, {&sequence_run, 1}, {}, {}});
    }
    forward_->stats = before;
    truncate(n_before);
    input.selections = oracle_->selections();
  }
  return forward_->run(input);
}

void Context::append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each) {
  if (n_tokens() + ids.size() > n_ctx_)
    fail(ErrorKind::kLimit, "{} tokens do not fit: {} of the context of {} are used; raise --ctx", ids.size(), n_tokens(), n_ctx_);
  for (size_t begin = 0; begin < ids.size(); begin += kBatchTokens) {
    throw_if_interrupted();
    const auto batch = ids.subspan(begin, std::min(kBatchTokens, ids.size() - begin));
    all_rows_.resize(batch.size());
    for (uint32_t i = 0; i < batch.size(); ++i) all_rows_[i] = i;
    each(begin, run(batch, all_rows_));
  }
}

std::span<const float> Context::append(std::span<const int32_t> ids, const Progress& progress) {
  if (ids.empty()) fail(ErrorKind::kUsage, "nothing to compute: the prompt has no tokens");
  if (n_tokens() + ids.size() > n_ctx_)
    fail(ErrorKind::kLimit, "{} tokens do not fit: {} of the context of {} are used; raise --ctx", ids.size(), n_tokens(), n_ctx_);
  MatView<const float> logits;
  for (size_t begin = 0; begin < ids.size(); begin += kBatchTokens) {
    if (begin) throw_if_interrupted();
    const auto batch = ids.subspan(begin, std::min(kBatchTokens, ids.size() - begin));
    const uint32_t last = uint32_t(batch.size() - 1);
    const bool wanted = begin + batch.size() == ids.size();
    logits = run(batch, wanted ? std::span(&last, 1) : std::span<const uint32_t>());
    if (progress) progress("prompt", begin + batch.size(), ids.size());
  }
  return logits.row(0);
}

}  // namespace hunch
