#include "engine/batch.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "engine/answer.h"

namespace hunch {
namespace {

// Prompts go on, by so many tokens a step, however many sequences decode.
constexpr size_t kLeastPromptTokens = 32;

std::shared_ptr<KvCache> make_cache(const Engine& engine, const BatchOptions& options) {
  const KvShape shape = Transformer::kv_shape(engine.config(), options.kv_type);
  if (shape.type.grouped() && !engine.config().causal)
    fail(ErrorKind::kUnsupported,
         "the KV cache cannot be {}: every token of this model sees those after it, which are in no group yet; use f16 "
         "or f32",
         name_of(shape.type));
  if (shape.type.grouped() && engine.config().rope.extend.on())
    fail(ErrorKind::kUnsupported,
         "the KV cache cannot be {}: Self-Extend (rope) turns near keys on, which this type has in codes by channel; "
         "use f32, f16 or a type of blocks",
         name_of(shape.type));
  if (shape.type.grouped() && engine.config().relative.on)
    fail(ErrorKind::kUnsupported,
         "the KV cache cannot be {}: this model's scores depend on how far a key is behind, which is not computed of "
         "codes by channel; use f32, f16 or a type of blocks",
         name_of(shape.type));
  const auto keys = checked_mul(KvCache::bytes_per_token(shape), options.n_tokens);
  const auto states = checked_mul(KvCache::bytes_per_sequence(shape), options.n_sequences);
  const auto needed = keys && states ? checked_add(*keys, *states) : std::nullopt;
  require_memory(needed ? *needed : UINT64_MAX,
                 options.n_sequences > 1
                     ? fmt::format("the KV cache of {} tokens for {} sequences", options.n_tokens, options.n_sequences)
                     : fmt::format("the KV cache of a context of {} tokens", options.n_tokens),
                 options.n_sequences > 1 ? "try fewer sequences, or f16 as the type of the cache (kv)"
                                         : "try a smaller context (n_ctx), or f16 as the type of the cache (kv)");
  auto cache = std::make_shared<KvCache>(shape, options.n_tokens);
  if (engine.places.n_nodes() > 1) cache->interleave(engine.places.ids);
  return cache;
}

BatchOptions resolved(const Engine& engine, BatchOptions options) {
  if (options.n_tokens == 0) options.n_tokens = resolve_context(engine.config(), 0);
  return options;
}

}  // namespace

Batch::Batch(const Engine& engine, const BatchOptions& options)
    : engine_(engine),
      options_(resolved(engine, options)),
      cache_(make_cache(engine, options_)),
      transformer_(*engine.model, *cache_, *engine.compute) {
  if (engine.device) transformer_.compute_on(engine.device->steps(cache_));
}

Batch::Batch(const Engine& engine, std::shared_ptr<KvCache> cache)
    : engine_(engine), cache_(std::move(cache)), transformer_(*engine.model, *cache_, *engine.compute) {
  if (engine.device) transformer_.compute_on(engine.device->steps(cache_));
}

Batch::~Batch() = default;

std::unique_ptr<Sequence> Batch::new_sequence(const SequenceOptions& options) {
  auto sequence = std::make_unique<Sequence>(engine_, cache_, options);
  for (size_t n = 2; n <= batch_size_class(options_.n_sequences); n = batch_size_class(n + 1))
    engine_.model->measure_costs(*engine_.compute, sequence->plan(), n);
  return sequence;
}

MatView<const float> Batch::compute(std::span<const SequenceRun> wanted) {
  ids_.clear();
  runs_.clear();
  rows_.clear();
  for (const SequenceRun& w : wanted)
    w.sequence->renew(transformer_, std::max(w.n_text, w.sequence->n_tokens() + w.ids.size()));
  for (const SequenceRun& w : wanted) {
    Run run = w.sequence->prepare(transformer_, w.ids, w.phase);
    run.as_alone = w.as_alone;
    run.only_best = w.only_best;
    run.n_best = w.n_best;
    run.n_text = w.n_text;
    run.second_begins = w.second_begins;
    run.trace = w.trace;
    runs_.push_back(run);
    ids_.insert(ids_.end(), w.ids.begin(), w.ids.end());
    for (size_t i = ids_.size() - w.n_logits; i < ids_.size(); ++i) rows_.push_back(uint32_t(i));
  }
  const MatView<const float> logits = transformer_.run({ids_, runs_, rows_});
  for (const SequenceRun& w : wanted) w.sequence->extend(w.ids, w.phase);
  return logits;
}

// Pages that n more tokens take from the cache.
size_t Batch::n_pages(const Sequence& sequence, size_t n_more) const {
  return cache_->n_new_pages(sequence.id(), sequence.most_cached(n_more) - sequence.n_cached());
}

std::shared_ptr<Answer> Batch::admit(Sequence& sequence, std::vector<int32_t> prompt, const GenerateOptions& options,
                                     std::function<bool(const GeneratedToken&)> on_token) {
  sequence.require_room(prompt.size());
  size_t n_promised = 0;
  for (const auto& other : answers_) n_promised += n_pages(other->sequence(), other->n_unread());
  const size_t page = cache_->shape().page_tokens;
  if (n_pages(sequence, prompt.size()) + n_promised > cache_->n_free_tokens() / page)
    fail(ErrorKind::kLimit, "no room for a prompt of {} tokens: the cache has {} left, of which {} are promised",
         prompt.size(), cache_->n_free_tokens(), n_promised * page);
  for (const int32_t id : prompt)
    if (id < 0 || size_t(id) >= engine_.config().n_vocab)
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}, expected 0 to {}", id,
           engine_.config().n_vocab, engine_.config().n_vocab - 1);
  answers_.push_back(
      std::make_shared<Answer>(engine_, sequence, transformer_, std::move(prompt), options, std::move(on_token)));
  return answers_.back();
}

void Batch::remove(const Answer& answer) {
  std::erase_if(answers_, [&](const auto& other) { return other.get() == &answer; });
}

void Batch::drop_done() {
  std::erase_if(answers_, [](const auto& answer) { return answer->is_done(); });
}

void Batch::resume(std::shared_ptr<Answer> answer) { answers_.push_back(std::move(answer)); }

size_t Batch::n_pages_due() const {
  size_t n = 0;
  for (const auto& answer : answers_) n += n_pages(answer->sequence(), std::max<size_t>(answer->n_unread(), 1));
  return n;
}

// Takes the answer into the step, with n_prompt tokens of its prompt where it may be cut there. Whether it has a part
// in it.
bool Batch::collect(Answer& answer, size_t n_prompt) {
  const Sequence& sequence = answer.sequence();
  const auto n_room = [&](size_t n_pages_of_others) {
    return cache_->n_room(sequence.id(), n_pages_left_ - std::min(n_pages_left_, n_pages_of_others));
  };
  size_t& n_own = answer.is_reading() ? n_pages_promised_ : n_pages_due_;
  n_own -= n_pages(sequence, std::max<size_t>(answer.n_unread(), 1));
  size_t n_most = n_room(n_pages_promised_ + n_pages_due_);
  try {
    if (n_most == 0 && !answer.is_reading()) {  // the others that decode come after it
      n_most = std::min<size_t>(1, n_room(n_pages_promised_));
      if (n_most == 0)
        fail(ErrorKind::kLimit, "the cache is full: {} tokens of this sequence, none left for another one",
             sequence.n_cached());
    }
    const SequenceRun run = answer.next(n_prompt, n_most);
    if (!run.ids.empty()) {
      wanted_.push_back(run);
      wanting_.push_back(&answer);
    }
    const size_t n_pages_taken = n_pages(sequence, run.ids.size());
    n_pages_left_ -= n_pages_taken;
    if (answer.n_unread()) n_pages_promised_ += n_pages(sequence, answer.n_unread()) - n_pages_taken;
    return !run.ids.empty();
  } catch (...) {
    answer.fail(std::current_exception());
    return false;
  }
}

// Runs that want their bits share a reading of the weights with their like only: they stand side by side.
void Batch::group_alike() {
  const auto kind = [](const SequenceRun& run) {
    return std::tuple(run.as_alone, run.as_alone ? uintptr_t(&run.sequence->plan()) : 0,
                      run.as_alone ? run.phase : Phase());
  };
  for (size_t i = 1; i < wanted_.size(); ++i)
    for (size_t k = i; k > 0 && kind(wanted_[k]) < kind(wanted_[k - 1]); --k) {
      std::swap(wanted_[k], wanted_[k - 1]);
      std::swap(wanting_[k], wanting_[k - 1]);
    }
}

// Prompts wait for room, and nobody computes who could make some.
void Batch::fail_waiting() {
  for (const auto& answer : answers_)
    if (!answer->is_done())
      return answer->fail(std::make_exception_ptr(
          Error(ErrorKind::kLimit,
                fmt::format("the cache is full: {} tokens of this sequence, no room for those that follow: {} "
                            "of a prompt are unread, {} are free",
                            answer->sequence().n_cached(), answer->n_unread(), n_free_tokens()))));
}

size_t Batch::n_decoding() const {
  return size_t(std::ranges::count_if(answers_, [](const auto& a) { return !a->is_done() && !a->is_reading(); }));
}

// Takes at most n tokens of prompts into the step, in the order in which these came; but those of which little is left
// need not wait for a long one: they share up to half of the step. Returns how many.
size_t Batch::collect_prompts(size_t n) {
  constexpr size_t kTimesShorter = 4;
  reading_.clear();
  for (const auto& answer : answers_)
    if (answer->is_reading()) reading_.push_back(answer.get());
  if (reading_.empty()) return 0;
  size_t n_taken = 0;
  const auto take = [&](Answer* answer, size_t n_most) {
    if (n_taken < n_most && collect(*answer, n_most - n_taken)) n_taken += wanted_.back().ids.size();
  };
  const Answer& first = *reading_[0];
  const auto is_short = [&](const Answer* a) {
    return kTimesShorter * a->n_unread() <= first.n_unread() && a->sequence().chunk_tokens() == 0;
  };
  for (auto it = reading_.begin() + 1; it != reading_.end() && n_taken < n / 2; ++it)
    if (is_short(*it)) take(std::exchange(*it, nullptr), n / 2);
  for (Answer* answer : reading_)
    if (answer) take(answer, n);
  return n_taken;
}

bool Batch::step(size_t most_prompt) {
  drop_done();  // also of a step that threw
  if (std::ranges::any_of(answers_, [](const auto& answer) { return answer->is_reading() && answer->has_begun(); }))
    engine_.compute->throw_if_stopped();
  wanted_.clear();
  wanting_.clear();
  n_pages_left_ = cache_->n_free_tokens() / cache_->shape().page_tokens;
  n_pages_promised_ = n_pages_due_ = 0;
  for (const auto& answer : answers_)
    (answer->is_reading() ? n_pages_promised_ : n_pages_due_) +=
        n_pages(answer->sequence(), std::max<size_t>(answer->n_unread(), 1));
  size_t n_tokens = 0;
  for (const auto& answer : answers_)
    if (!answer->is_reading() && collect(*answer, 0)) n_tokens += wanted_.back().ids.size();
  last_step_ = {n_tokens, 0};
  size_t n_end = std::max(options_.step_tokens, n_tokens + kLeastPromptTokens);
  if (n_tokens > 0 && most_prompt < n_end) n_end = std::min(n_end, n_tokens + most_prompt);
  n_tokens += collect_prompts(n_end - std::min(n_end, n_tokens));
  last_step_.n_prompt = n_tokens - last_step_.n_decoding;
  if (!wanted_.empty()) {
    group_alike();
    const Timer timer;
    const MatView<const float> logits = compute(wanted_);
    const double seconds = timer.seconds();
    for (size_t i = 0, row = 0; i < wanted_.size(); row += wanted_[i++].n_logits)
      wanting_[i]->take(logits.row_range(row, wanted_[i].n_logits), seconds);
  } else {
    fail_waiting();
  }
  drop_done();
  return !answers_.empty();
}

}  // namespace hunch
