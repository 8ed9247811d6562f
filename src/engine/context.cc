#include "engine/context.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "engine/oracle.h"

namespace hunch {

size_t resolve_context(const ModelConfig& config, size_t n_ctx) {
  if (n_ctx == 0) return std::min(config.n_ctx_train, kDefaultMaxContext);
  const bool table = config.position == PositionKind::kLearned || config.position == PositionKind::kSinusoidal;
  if (table && n_ctx > config.n_ctx_train)
    fail(ErrorKind::kLimit, "--ctx {} is more than the {} positions that this model has learned", n_ctx,
         config.n_ctx_train);
  return n_ctx;
}

void prepare_layouts(const Engine& engine, const Plan& plan) {
  const ModelWeights& w = engine.model->weights();
  std::vector<Linear*> by_input, by_group;
  for (const Layer& l : w.layers) {
    const size_t layer = l.config.index;
    const auto has = [&](Point point, InputPart part = InputPart::kAttention) {
      return bool(plan.at(layer, point, part).selector);
    };
    const bool gathers_neurons = has(Point::kLive) && !is_relu_family(l.config.activation);
    const_cast<Layer&>(l).for_each_linear([&](std::unique_ptr<Linear>& linear) {
      switch (linear->id.role) {
        case Role::kQuery:
        case Role::kKey:
        case Role::kValue:
          if (has(Point::kInputs, InputPart::kAttention)) by_input.push_back(linear.get());
          break;
        case Role::kHeads:
          if (has(Point::kHeads)) by_group.push_back(linear.get());
          if (has(Point::kInputs, InputPart::kHeads)) by_input.push_back(linear.get());
          break;
        case Role::kGate:
        case Role::kUp:
          if (has(Point::kInputs, InputPart::kMlp)) by_input.push_back(linear.get());
          break;
        case Role::kDown:
          if (gathers_neurons || has(Point::kInputs, InputPart::kNeurons)) by_input.push_back(linear.get());
          break;
        default: break;
      }
    });
  }
  Layouts& layouts = engine.model->layouts();
  layouts.store_by_input(*engine.compute, by_input,
                         plan.uses(Point::kInputs) ? "storing every projection by input, for TEAL,"
                                                   : "storing the down projections by neuron");
  if (!by_group.empty()) layouts.store_by_group(*engine.compute, by_group, w.layers[0].config.group_width());
}

namespace {

std::unique_ptr<KvCache> make_cache(const ModelConfig& config, const ContextOptions& options, size_t n_ctx) {
  const KvShape shape = Transformer::kv_shape(config, options.kv_dtype);
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
      adapter_(options.adapter.value_or(engine.adapter)),
      sequence_(std::make_shared<Sequence>(Sequence{make_cache(engine.config(), options, n_ctx_)})),
      transformer_(std::make_unique<Transformer>(*engine.model, *sequence_->cache, *engine.compute)) {
  sequence_->id = sequence_->cache->create();
  begin();
}

Context::Context(const Engine& engine, const ContextOptions& options, const Context& host)
    : engine_(engine),
      options_(options),
      n_ctx_(host.n_ctx_),
      adapter_(options.adapter.value_or(host.adapter_)),
      sequence_(host.sequence_),
      transformer_(std::make_unique<Transformer>(*engine.model, *sequence_->cache, *engine.compute)) {
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
  plan_ = options_.plan ? options_.plan : engine_.plan_named(options_.mode, options_.density);
  if (options_.has_oracle() && plan_->name == "sparse")
    fail(ErrorKind::kUsage, "sparse mode predicts what the oracle knows: give one of them");
  HUNCH_CHECK(plan_->n_layer() <= engine_.config().n_layer, "a plan of {} layers", plan_->n_layer());
  prepare_layouts(engine_, *plan_);
  sequence_->plans.push_back(plan_);
  n_prompt_ = n_ctx_ / 2;
  if (options_.has_oracle())
    oracle_ = std::make_unique<OracleRecorder>(*engine_.compute, *engine_.model, options_.oracle_density,
                                               options_.oracle_head_density);
}

Context::~Context() {
  if (packed_name_) engine_.model->layouts().unpack(packed_name_);
}

bool Context::learns_from_prompts() const {
  for (size_t l = 0; l < plan_->n_layer(); ++l)
    if (const auto& selector = plan_->at(l, Point::kNeurons).selector; selector && sequence_->states.of(*selector))
      return true;
  return false;
}

size_t Context::kv_bytes() const { return KvCache::bytes_per_token(sequence_->cache->shape()) * n_ctx_; }

void Context::truncate(size_t n_tokens) {
  sequence_->cache->truncate(sequence_->id, n_tokens);
  sequence_->ids.resize(n_tokens);
  sequence_->states.truncate(n_tokens);
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

// Copies together what a prompt chose for the rest of the sequence, where that is new.
void Context::pack_settled() {
  std::vector<Layouts::PackRequest> requests;
  std::vector<Rows*> settled;
  for (const Layer& l : engine_.model->weights().layers) {
    const auto& selector = plan_->at(l.config.index, Point::kNeurons).selector;
    SelectorState* state = selector && l.mlp.n_ff ? sequence_->states.of(*selector) : nullptr;
    Rows* rows = state ? selector->settled(state, l.mlp.n_ff) : nullptr;
    if (!rows || rows->is_all() || rows->name()) continue;
    settled.push_back(rows);
    for (const auto* first : {&l.mlp.gate, &l.mlp.up})
      if (*first) requests.push_back({first->get(), Axis::kOut, rows});
    requests.push_back({l.mlp.down.get(), Axis::kIn, rows});
  }
  if (settled.empty()) return;
  Layouts& layouts = engine_.model->layouts();
  if (packed_name_ == 0) packed_name_ = layouts.new_name();
  layouts.pack(*engine_.compute, packed_name_, requests);
  for (Rows* rows : settled) rows->set_name(packed_name_);
}

MatView<const float> Context::run(std::span<const int32_t> ids, std::span<const uint32_t> rows, Phase phase,
                                  bool as_alone) {
  if (phase != Phase::kPrompt) pack_settled();
  Run own{sequence_->id, ids.size(), phase, plan_.get(), as_alone, only_best_};
  own.adapter = adapter_.get();
  own.states = &sequence_->states;
  own.watching = sequence_->plans;
  if (oracle_) {
    // First pass: dense, watched, then forgotten. Its cost is not counted: an oracle has none.
    const StepStats before = transformer_->stats;
    const size_t n_before = n_tokens();
    Run dense = own;
    dense.plan = nullptr;
    {
      struct Restore {  // also when a stop ends the pass
        Transformer& transformer;
        Observer* observer = transformer.observer;
        ~Restore() { transformer.observer = observer; }
      } const restore{*transformer_};
      transformer_->observer = oracle_.get();
      oracle_->begin(ids.size());
      transformer_->run({ids, {&dense, 1}, {}});
    }
    transformer_->stats = before;
    sequence_->cache->truncate(sequence_->id, n_before);  // its ids were not noted yet
    own.plan = &oracle_->plan();
    own.phase = Phase::kDecode;
  }
  const MatView<const float> logits = transformer_->run({ids, {&own, 1}, rows});
  sequence_->ids.insert(sequence_->ids.end(), ids.begin(), ids.end());
  return logits;
}

void Context::append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each) {
  check_room(ids.size());
  const bool learns = options_.decodes_all && learns_from_prompts();
  for (size_t begin = 0; begin < ids.size();) {
    engine_.compute->throw_if_stopped();
    size_t n = std::min(kBatchTokens, ids.size() - begin);
    const bool in_prompt = learns && n_tokens() < n_prompt_;
    if (in_prompt) n = std::min(n, n_prompt_ - n_tokens());
    const auto batch = ids.subspan(begin, n);
    each(begin,
         run(batch, all_rows(batch.size()), options_.decodes_all && !in_prompt ? Phase::kDecode : Phase::kPrompt));
    begin += n;
  }
}

MatView<const float> Context::verify(std::span<const int32_t> ids) {
  check_room(ids.size());
  return run(ids, all_rows(ids.size()), ids.size() > 1 ? Phase::kVerify : Phase::kDecode, true);
}

std::span<const float> Context::decode(std::span<const int32_t> ids) {
  check_room(ids.size());
  const uint32_t last = uint32_t(ids.size() - 1);
  return run(ids, {&last, 1}, Phase::kDecode).row(0);
}

std::span<const float> Context::append(std::span<const int32_t> ids, const Progress& progress) {
  if (ids.empty()) fail(ErrorKind::kUsage, "nothing to compute: the prompt has no tokens");
  check_room(ids.size());
  MatView<const float> logits;
  for (size_t begin = 0; begin < ids.size(); begin += kBatchTokens) {
    if (begin) engine_.compute->throw_if_stopped();
    const auto batch = ids.subspan(begin, std::min(kBatchTokens, ids.size() - begin));
    const uint32_t last = uint32_t(batch.size() - 1);
    const bool wanted = begin + batch.size() == ids.size();
    logits = run(batch, wanted ? std::span(&last, 1) : std::span<const uint32_t>(), Phase::kPrompt);
    if (progress) progress("prompt", begin + batch.size(), ids.size());
  }
  pack_settled();  // part of the prompt's time
  return logits.row(0);
}

}  // namespace hunch
