#include "model/ranks.h"

#include "base/error.h"
#include "model/transformer.h"
#include "select/selectors.h"

namespace hunch {
namespace {

enum class PlanKind : uint8_t { kDense, kExact };

// A Run as it travels.
struct SentRun {
  uint64_t n_tokens, n_text, second_begins;
  uint32_t sequence;
  Phase phase;
  PlanKind plan;
  bool as_alone, only_best;
};

// The plans that every rank makes for itself.
std::optional<PlanKind> kind_of(const Plan* plan) {
  if (!plan) return PlanKind::kDense;
  if (plan->keys || plan->prompts || plan->memory || plan->lazy_keys) return std::nullopt;
  PlanKind kind = PlanKind::kDense;
  for (size_t layer = 0; layer < plan->n_layer(); ++layer)
    for (size_t i = 0; i < Plan::kSlots; ++i) {
      const Point point = i < kNInputParts ? Point::kInputs : Point(i - kNInputParts + 1);
      const Selector* selector = plan->at(layer, point, InputPart(i < kNInputParts ? i : 0)).selector.get();
      if (!selector) continue;
      if (point != Point::kLive || !dynamic_cast<const ReluZeros*>(selector)) return std::nullopt;
      kind = PlanKind::kExact;
    }
  return kind;
}

[[noreturn]] void refuse(std::string_view what) {
  fail(ErrorKind::kUnsupported, "several ranks compute dense and exact plans, and not {} yet; run it without mpirun",
       what);
}

SentRun sent(const Run& run) {
  if (run.adapter) refuse("adapters (lora)");
  const std::optional<PlanKind> kind = kind_of(run.plan);
  if (!kind && run.plan->keys) refuse(fmt::format("the key policy (kv_policy) '{}'", run.plan->keys->kind()));
  if (!kind && run.plan->prompts) refuse("patterns of prompts (prefill)");
  if (!kind && run.plan->memory) refuse("memories (memory)");
  if (!kind) refuse(fmt::format("this one ({})", run.plan->name));
  return {run.n_tokens, run.n_text, run.second_begins, run.sequence, run.phase, *kind, run.as_alone, run.only_best};
}

}  // namespace

class Ranks::Journal final : public CacheJournal {
 public:
  Journal(Ranks& ranks, const KvCache* cache, uint32_t number) : ranks_(ranks), cache_(cache), number_(number) {}
  ~Journal() override {
    note(Order::kCloseCache);
    ranks_.caches_.erase(cache_);
  }
  void created() override { note(Order::kCreate); }
  void forked(StateStore::SequenceId parent) override { note(Order::kFork).put(parent); }
  void released(StateStore::SequenceId sequence) override { note(Order::kRelease).put(sequence); }
  void truncated(StateStore::SequenceId sequence, size_t n_tokens) override {
    Message& message = note(Order::kTruncate);
    message.put(sequence);
    message.put(uint64_t{n_tokens});
  }
  void checkpointed(StateStore::SequenceId sequence) override { note(Order::kCheckpoint).put(sequence); }

 private:
  Message& note(Order order) {
    ranks_.outbox_.put(order);
    ranks_.outbox_.put(number_);
    return ranks_.outbox_;
  }

  Ranks& ranks_;
  const KvCache* const cache_;
  const uint32_t number_;
};

void Ranks::lead(KvCache& cache) {
  if (cache.has_journal()) return;
  const uint32_t number = n_caches_++;
  caches_[&cache] = number;
  outbox_.put(Order::kOpenCache);
  outbox_.put(number);
  outbox_.put(cache.shape().type);
  outbox_.put(uint64_t{cache.shape().page_tokens});
  outbox_.put(uint64_t{cache.n_free_tokens()});
  cache.keep_journal(std::make_unique<Journal>(*this, &cache, number));
}

void Ranks::lead(const KvCache& cache, const StepInput& input) {
  std::vector<SentRun> runs;
  for (const Run& run : input.runs) runs.push_back(sent(run));
  outbox_.put(Order::kStep);
  outbox_.put(caches_.at(&cache));
  outbox_.put_list(input.ids);
  outbox_.put_list(std::span<const SentRun>(runs));
  outbox_.put_list(input.logit_rows);
  send();
}

struct Follower::Cache {
  Cache(const KvShape& shape, size_t n_tokens, const Model& model, Compute& compute)
      : cache(shape, n_tokens), transformer(model, cache, compute) {}
  KvCache cache;
  Transformer transformer;
};

Follower::Follower(const Model& model, Compute& compute, std::function<void(const Plan&)> prepare)
    : model_(model), compute_(compute), prepare_(std::move(prepare)) {}
Follower::~Follower() = default;

void Follower::obey(Order order, Message& message) {
  if (order == Order::kOpenCache) return open(message);
  const auto number = message.get<uint32_t>();
  if (order == Order::kCloseCache) return void(caches_.erase(number));
  Cache& own = *caches_.at(number);
  const auto sequence = [&] { return message.get<KvCache::SequenceId>(); };
  switch (order) {
    case Order::kCreate: own.cache.create(); return;
    case Order::kFork: own.cache.fork(sequence()); return;
    case Order::kRelease: return own.cache.release(sequence());
    case Order::kTruncate: {
      const KvCache::SequenceId which = sequence();
      return own.cache.truncate(which, message.get<uint64_t>());
    }
    case Order::kCheckpoint: return own.cache.checkpoint(sequence());
    case Order::kStep: return step(own, message);
    default: HUNCH_CHECK(false, "an order of {}", int(order));
  }
}

void Follower::open(Message& message) {
  const auto number = message.get<uint32_t>();
  const auto type = message.get<KvType>();
  const auto page_tokens = message.get<uint64_t>(), n_tokens = message.get<uint64_t>();
  caches_[number] =
      std::make_unique<Cache>(Transformer::kv_shape(model_.config(), type, page_tokens), n_tokens, model_, compute_);
}

const Plan* Follower::plan(uint8_t kind) {
  std::unique_ptr<const Plan>& made = plans_[kind];
  if (!made) {
    made = std::make_unique<const Plan>(PlanKind(kind) == PlanKind::kExact ? Plan::exact(model_.config()) : Plan());
    if (prepare_) prepare_(*made);
  }
  return made.get();
}

void Follower::step(Cache& own, Message& message) {
  const auto ids = message.get_list<int32_t>();
  const auto sent_runs = message.get_list<SentRun>();
  const auto logit_rows = message.get_list<uint32_t>();
  std::vector<Run> runs;
  for (const SentRun& sent : sent_runs) {
    Run run{sent.sequence, sent.n_tokens, sent.phase, plan(uint8_t(sent.plan))};
    run.as_alone = sent.as_alone;
    run.only_best = sent.only_best;
    run.n_text = sent.n_text;
    run.second_begins = sent.second_begins;
    runs.push_back(run);
  }
  own.transformer.run({ids, runs, logit_rows});
}

}  // namespace hunch
