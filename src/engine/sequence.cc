#include "engine/sequence.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/oracle.h"
#include "select/reread_keys.h"

namespace hunch {

bool has_position_table(const ModelConfig& c) {
  return c.position == PositionKind::kLearned || c.position == PositionKind::kSinusoidal;
}

size_t resolve_context(const ModelConfig& config, size_t n_ctx) {
  if (n_ctx == 0) return std::min(config.n_ctx_train, kDefaultMaxContext);
  if (has_position_table(config) && n_ctx > config.n_ctx_train)
    fail(ErrorKind::kLimit, "a context (n_ctx) of {} tokens is more than the {} positions that this model has learned",
         n_ctx, config.n_ctx_train);
  return n_ctx;
}

std::string room_for(const ModelConfig& config, size_t n_tokens) {
  if (has_position_table(config) && n_tokens > config.n_ctx_train)
    return fmt::format("this model has learned {} positions and no more, so that only a shorter text fits",
                       config.n_ctx_train);
  return fmt::format("a context (n_ctx) of {} has room", n_tokens);
}

Sequence::Sequence(const Engine& engine, std::shared_ptr<KvCache> cache, const SequenceOptions& options)
    : Sequence(engine, cache, cache->create(), options) {}

Sequence::Sequence(const Engine& engine, std::shared_ptr<KvCache> cache, KvCache::SequenceId id,
                   const SequenceOptions& options)
    : engine_(engine),
      text_(std::make_shared<Text>(std::move(cache), id)),
      n_ctx_(resolve_context(engine.config(), options.n_ctx)) {
  begin(options, false);
}

Sequence::Sequence(const Sequence& host, const SequenceOptions& options)
    : engine_(host.engine_), text_(host.text_), n_ctx_(host.n_ctx_) {
  begin(options, true);
}

std::unique_ptr<Sequence> Sequence::fork(size_t n_tokens) const {
  HUNCH_CHECK(
      n_tokens <= this->n_tokens() && n_tokens >= text_->cache->n_fixed(id()) && !learns_from_prompts() && !oracle_,
      "fork at {} of {} tokens, of which some were dropped at {}", n_tokens, this->n_tokens(),
      text_->cache->n_fixed(id()));
  std::unique_ptr<Sequence> other(
      new Sequence(engine_, text_->cache, text_->cache->fork(id()),
                   {.plan = plan_, .adapter = adapter_, .n_ctx = n_ctx_ + text_->n_virtual}));
  other->text_->ids = text_->ids;
  other->text_->prompt_begin = text_->prompt_begin;
  other->text_->keys_of = text_->keys_of;
  other->text_->keys_wait = text_->keys_wait;
  if (plan_->keys) text_->states.copy_to(other->text_->states, *plan_->keys);
  if (n_tokens < this->n_tokens()) other->truncate(n_tokens);  // else what was seen of the newest pass still counts
  return other;
}

void Sequence::restore(std::span<const int32_t> ids, std::span<const std::byte> keys) {
  text_->cache->load(id(), ids.size(), keys);
  ids = ids.first(text_->cache->n_tokens(id()));
  text_->ids.assign(ids.begin(), ids.end());
  text_->prompt_begin = text_->keys_of = ids.size();
}

Sequence::~Sequence() {
  if (packed_name_) engine_.model->layouts().unpack(packed_name_);
}

void Sequence::begin(const SequenceOptions& options, bool is_guest) {
  for (double density : {options.oracle_density, options.oracle_head_density})
    if (!(density > 0 && density <= 1))
      fail(ErrorKind::kUsage, "oracle density is {}, expected more than 0 and at most 1", density);
  if (options.has_oracle() && engine_.config().moe.n_expert > 0)
    fail(ErrorKind::kUnsupported, "the oracle needs a dense MLP; this model has {} experts",
         engine_.config().moe.n_expert);
  plan_ = options.plan ? options.plan : std::make_shared<const Plan>();
  adapter_ = options.adapter;
  if (options.has_oracle() && plan_->name == "sparse")
    fail(ErrorKind::kUsage, "sparse mode predicts what the oracle knows: give one of them");
  HUNCH_CHECK(plan_->n_layer() <= engine_.config().n_layer, "a plan of {} layers", plan_->n_layer());
  if (const size_t most = plan_->drops_keys() ? plan_->keys->most_slots() : SIZE_MAX;
      most >= n_ctx_ && most != SIZE_MAX)
    fail(ErrorKind::kUsage, "the key policy (kv_policy) keeps up to {} tokens, expected fewer than the context of {}",
         plan_->keys->most_slots(), n_ctx_);
  if (const KvType& type = text_->cache->shape().type; plan_->drops_keys() && type.grouped())
    fail(ErrorKind::kUnsupported,
         "the key policy (kv_policy) '{}' drops single tokens, and the cache as {} holds them in groups of {}; use one "
         "of "
         "q8_0, q4_0 and q4_0-rot with it, or a policy that drops nothing, as quest",
         plan_->keys->kind(), name_of(type), kKvGroup);
  if (plan_->prompts && plan_->keys && plan_->keys->attends_prompts())
    fail(ErrorKind::kUnsupported,
         "the key policy (kv_policy) '{}' says itself what prompts read: it goes with no pattern of them (prefill)",
         plan_->keys->kind());
  for (const LayerConfig& l : engine_.config().layers)
    if (plan_->memory && !plan_->memory->at(l.index).empty() && (l.extend.on() || l.relative.on))
      fail(ErrorKind::kUnsupported,
           "layer {} attends by Self-Extend or relative positions, where no memory (memory) can be looked into",
           l.index);
  if (plan_->memory && plan_->keys && plan_->keys->attends())
    fail(ErrorKind::kUnsupported, "the key policy (kv_policy) '{}' attends by itself and looks into no memory (memory)",
         plan_->keys->kind());
  prepare_layouts(engine_, *plan_);
  begin_with_virtual_tokens(is_guest);
  if (std::ranges::find(text_->plans, plan_) == text_->plans.end()) text_->plans.push_back(plan_);
  if (options.has_oracle())
    oracle_ = std::make_unique<OracleRecorder>(*engine_.compute, *engine_.model, options.oracle_density,
                                               options.oracle_head_density);
}

bool Sequence::learns_from_prompts() const {
  for (size_t l = 0; l < plan_->n_layer(); ++l)
    if (const auto& selector = plan_->at(l, Point::kNeurons).selector; selector && text_->states.of(*selector))
      return true;
  return false;
}

size_t Sequence::n_left() const {
  if (plan_->keys && plan_->keys->streams()) return SIZE_MAX / 2;
  return n_ctx_ - std::min(n_ctx_, n_tokens());
}

size_t Sequence::chunk_tokens() const {
  if (plan_->keys && plan_->keys->streams()) return std::min(kChunkTokens, n_ctx_ - plan_->keys->most_slots());
  const bool depends = (plan_->prompts && plan_->prompts->chooses()) ||
                       (plan_->drops_keys() && !plan_->keys->keeps_prompts()) || plan_->uses(Point::kExperts) ||
                       (engine_.config().position == PositionKind::kRope &&
                        std::ranges::any_of(engine_.model->ropes(),
                                            [&](const RopeTable& rope) { return rope.depends_on_length(n_ctx_); }));
  return depends ? kChunkTokens : 0;
}

size_t Sequence::n_together(size_t n_unread, size_t most) const {
  if (!engine_.config().causal) return n_unread;  // its tokens see those after them
  const size_t chunk = chunk_tokens();
  return std::min(n_unread, chunk ? chunk - (n_tokens() - text_->prompt_begin) % chunk : most);
}

size_t Sequence::most_cached(size_t n_more) const {
  const size_t n = n_cached();
  return plan_->drops_keys() && plan_->keys->most_slots() != SIZE_MAX
             ? std::min(n + n_more, std::max(n, plan_->keys->most_slots() + chunk_tokens()))
             : n + n_more;
}

void Sequence::require_room(size_t n) const {
  if (n > n_left())
    fail(ErrorKind::kLimit, "{} tokens do not fit: {} of the context of {} are used; {}", n, n_tokens(), n_ctx_,
         room_for(engine_.config(), n_tokens() + n));
}

void Sequence::truncate(size_t n_tokens) {
  if (const size_t n_fixed = text_->cache->n_fixed(id()); n_tokens > 0 && n_tokens < n_fixed)
    fail(ErrorKind::kUnsupported,
         "the text cannot go back to {} tokens: at {} the key policy (kv_policy) dropped some for good", n_tokens,
         n_fixed);
  const size_t n_left = n_tokens + text_->n_virtual;
  if (const size_t n = text_->cache->back_to(id(), n_left); n != n_left)
    fail(ErrorKind::kUnsupported, "the text cannot go back to {} tokens: {}", n_tokens,
         text_->cache->is_recurrent() ? fmt::format("the model is recurrent, and its states were kept at {}", n)
                                      : fmt::format("as {} its cache holds groups, of which one begins at {}",
                                                    name_of(text_->cache->shape().type), n));
  text_->cache->truncate(id(), n_left);
  text_->ids.resize(n_tokens);
  text_->prompt_begin = std::min(text_->prompt_begin, n_tokens);
  text_->keys_wait = text_->keys_wait && n_tokens > 0;
  text_->states.truncate(n_tokens);
}

size_t Sequence::go_back(size_t n_tokens) {
  n_tokens = text_->cache->back_to(id(), n_tokens + text_->n_virtual) - text_->n_virtual;
  truncate(n_tokens);
  return n_tokens;
}

void Sequence::checkpoint() { text_->cache->checkpoint(id()); }

size_t Sequence::n_until_renewal() const {
  size_t n = SIZE_MAX;
  for (const RopeTable& rope : engine_.model->ropes())
    if (const size_t limit = rope.turns_anew_beyond(); n_tokens() <= limit) n = std::min(n, limit - n_tokens());
  return n;
}

void Sequence::renew(Transformer& transformer, size_t n_text) {
  const size_t keys_of = std::exchange(text_->keys_of, n_text);
  const bool is_other = std::ranges::any_of(engine_.model->ropes(), [&](const RopeTable& rope) {
    return (keys_of > rope.turns_anew_beyond()) != (n_text > rope.turns_anew_beyond());
  });
  if (!is_other || n_tokens() == 0 || plan_->drops_keys()) return;  // what a policy dropped does not come back
  const std::vector<int32_t> ids = std::move(text_->ids);
  truncate(0);
  for (size_t first = 0; first < ids.size(); first += kChunkTokens) {
    engine_.compute->throw_if_stopped();
    const auto chunk = std::span(ids).subspan(first, std::min(kChunkTokens, ids.size() - first));
    Run run = prepare(transformer, chunk, Phase::kPrompt);
    run.n_text = n_text;
    transformer.run({chunk, {&run, 1}, {}});
    extend(chunk, Phase::kPrompt);
  }
  text_->prompt_begin = n_tokens();
}

void Sequence::extend(std::span<const int32_t> ids, Phase phase) {
  text_->ids.insert(text_->ids.end(), ids.begin(), ids.end());
  if (phase != Phase::kPrompt) text_->prompt_begin = n_tokens();
  if (plan_->drops_keys()) {
    const size_t n_read = n_tokens() - text_->prompt_begin;
    text_->keys_wait = plan_->keys->keeps_prompts() ? n_read > 0 : n_read % chunk_tokens() != 0;
  }
}

// What is computed behind the text is forgotten again, also when a stop ends it.
void Sequence::reread(Transformer& transformer) {
  const size_t n = n_tokens(), most_chunk = plan_->keys->rereads(n_cached());
  KvCache& cache = *text_->cache;
  constexpr size_t kLeadIn = RereadKeys::kLeadIn;
  const size_t n_room = std::min(n_left(), cache.n_room(id(), cache.n_free_tokens() / cache.shape().page_tokens));
  if (n_room < 2 * kLeadIn)
    fail(ErrorKind::kLimit,
         "the key policy (kv_policy) '{}' computes the text once more behind itself, at least {} tokens at a time: {} "
         "fit "
         "beside its {}; a larger context (n_ctx) has room",
         plan_->keys->kind(), 2 * kLeadIn, n_room, n);
  if (cache.is_recurrent())
    fail(ErrorKind::kUnsupported,
         "the key policy (kv_policy) '{}' computes the text once more behind itself, from where a recurrent model does "
         "not "
         "come back",
         plan_->keys->kind());
  struct Restore {
    Sequence& sequence;
    Transformer& transformer;
    KeyState& state;
    const size_t n;
    Observer* const observer = transformer.observer;
    const StepStats stats = transformer.stats;
    ~Restore() {
      state.end_rereading();
      transformer.observer = observer;
      transformer.stats = stats;
      sequence.text_->cache->truncate(sequence.id(), n);
    }
  } const restore{*this, transformer, static_cast<KeyState&>(*text_->states.of(*plan_->keys)), n};
  restore.state.begin_rereading();
  transformer.observer = nullptr;
  Plan whole = *plan_;
  whole.prompts = nullptr;
  const size_t n_chunk = std::min(n_room, most_chunk) - kLeadIn;
  for (size_t first = 0; first < n; first += n_chunk) {
    engine_.compute->throw_if_stopped();
    const size_t begin = first - std::min(first, kLeadIn);
    const std::span<const int32_t> ids =
        std::span<const int32_t>(text_->ids).subspan(begin, std::min(first + n_chunk, n) - begin);
    Run run{id(), ids.size(), Phase::kPrompt, &whole};
    run.goes_on = true;
    run.adapter = adapter_.get();
    run.states = &text_->states;
    transformer.run({ids, {&run, 1}, {}});
    cache.truncate(id(), n);
  }
}

void Sequence::settle_keys(Transformer& transformer) {
  if (!text_->keys_wait) return;
  if (plan_->keys->rereads(n_cached())) reread(transformer);
  Run run{id(), 0, Phase::kPrompt, plan_.get()};
  run.states = &text_->states;
  transformer.settle_keys({&run, 1});
  text_->keys_wait = false;
}

Run Sequence::prepare(Transformer& transformer, std::span<const int32_t> ids, Phase phase) {
  HUNCH_CHECK(!plan_->drops_keys() || phase != Phase::kVerify, "drafts beside {}", plan_->keys->kind());
  if (phase != Phase::kPrompt) {
    pack_settled();
    settle_keys(transformer);
  }
  Run run{id(), ids.size(), phase, plan_.get()};
  run.goes_on = phase == Phase::kPrompt && plan_->drops_keys() &&
                (plan_->keys->keeps_prompts() || ids.size() < n_together(SIZE_MAX, SIZE_MAX));
  run.adapter = adapter_.get();
  run.states = &text_->states;
  run.watching = text_->plans;
  if (oracle_) take_oracle_pass(transformer, ids, run);
  return run;
}

// The first pass: dense, watched, then forgotten. Its cost is not counted: an oracle has none.
void Sequence::take_oracle_pass(Transformer& transformer, std::span<const int32_t> ids, Run& run) {
  struct Restore {  // also when a stop ends the pass
    Transformer& transformer;
    Observer* const observer = transformer.observer;
    const StepStats stats = transformer.stats;
    ~Restore() {
      transformer.observer = observer;
      transformer.stats = stats;
    }
  } const restore{transformer};
  Run dense = run;
  dense.plan = nullptr;
  transformer.observer = oracle_.get();
  oracle_->begin(ids.size());
  transformer.run({ids, {&dense, 1}, {}});
  text_->cache->truncate(id(), n_in_cache());  // its ids were not noted yet
  run.plan = &oracle_->plan();
  run.phase = Phase::kDecode;
}

void Sequence::pack_settled() {
  std::vector<Layouts::PackRequest> requests;
  std::vector<Rows*> settled;
  for (const Layer& l : engine_.model->weights().layers) {
    const auto& selector = plan_->at(l.config.index, Point::kNeurons).selector;
    SelectorState* state = selector && l.mlp.n_ff ? text_->states.of(*selector) : nullptr;
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

}  // namespace hunch
