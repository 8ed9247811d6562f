#include "model/ranks.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "linear/adapter.h"
#include "model/transformer.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"

namespace hunch {

// A Run as it travels; the plans that watch it follow.
struct Ranks::SentRun {
  uint64_t n_tokens, n_text, second_begins;
  uint32_t sequence, plan, adapter, n_watching;  // numbers; 0: none
  Phase phase;
  bool as_alone, only_best, goes_on;
};

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

// Plans that the others do not have yet are told with the next message.
uint32_t Ranks::plan_number(const Model& model, const Plan* plan) {
  if (!plan) return 0;
  PlanOrder order = PlanOrder::of(*plan, model);
  if (plan->keys) {
    const auto at = size_t(std::ranges::find(keys_, plan->keys) - keys_.begin());
    if (at == keys_.size()) keys_.push_back(plan->keys);
    order.n_keys = uint32_t(at + 1);
  }
  const auto [found, is_new] = plans_.try_emplace(std::move(order), uint32_t(plans_.size()) + 1);
  if (is_new) {
    outbox_.put(Order::kPlan);
    outbox_.put(found->second);
    found->first.put(outbox_);
  }
  return found->second;
}

uint32_t Ranks::adapter_number(const Adapter* adapter) const {
  if (!adapter) return 0;
  const auto found = adapters_.find(adapter);
  if (found == adapters_.end() || found->second.adapter.expired())
    fail(ErrorKind::kUnsupported, "several ranks do not compute with adapter '{}' (lora), which only one of them has",
         adapter->name);
  return found->second.number;
}

void Ranks::name_adapter(const std::shared_ptr<const Adapter>& adapter, uint32_t number) {
  drop_adapters();
  adapters_[adapter.get()] = {adapter, number};
}

// Those that nobody has any more.
void Ranks::drop_adapters() {
  std::erase_if(adapters_, [&](const auto& known) {
    if (!known.second.adapter.expired()) return false;
    outbox_.put(Order::kDropAdapter);
    outbox_.put(known.second.number);
    return true;
  });
}

void Ranks::close_model() {
  outbox_.put(Order::kUnload);
  has_model_ = false;
  plans_.clear();
  keys_.clear();
  adapters_.clear();
}

void Ranks::lead(const Model& model, const KvCache& cache, const StepInput& input) {
  std::vector<SentRun> runs;
  std::vector<uint32_t> watching;
  for (const Run& run : input.runs) {
    if (run.trace)
      fail(ErrorKind::kUnsupported,
           "what a token used (trace) is divided among ranks: nobody sees all of it; run it without mpirun");
    SentRun& sent = runs.emplace_back();
    sent = {run.n_tokens,
            run.n_text,
            run.second_begins,
            run.sequence,
            plan_number(model, run.plan),
            adapter_number(run.adapter),
            0,
            run.phase,
            run.as_alone,
            run.only_best,
            run.goes_on};
    if (run.phase != Phase::kPrompt || !by_layers()) continue;  // what learns from prompts is divided by layers alone
    for (const auto& plan : run.watching) {
      if (!plan->uses(Point::kNeurons)) continue;
      watching.push_back(plan_number(model, plan.get()));
      ++sent.n_watching;
    }
  }
  outbox_.put(Order::kStep);
  outbox_.put(caches_.at(&cache));
  outbox_.put_list(input.ids);
  outbox_.put_list(std::span<const SentRun>(runs));
  outbox_.put_list(std::span<const uint32_t>(watching));
  outbox_.put_list(input.logit_rows);
  send();
}

void Ranks::settle(const Model& model, const KvCache& cache, const Run& run) {
  const uint32_t plan = plan_number(model, run.plan);
  outbox_.put(Order::kSettle);
  outbox_.put(caches_.at(&cache));
  outbox_.put(run.sequence);
  outbox_.put(plan);
}

namespace {

// Whole numbers as gather() carries them: as bits.
std::vector<float> packed(const StepStats& s, size_t n_layer) {
  std::vector<uint64_t> numbers = {s.n_tokens, s.weight_bytes, s.kv_bytes, s.predictor_bytes};
  for (const auto* counts : {&s.active_neurons, &s.all_neurons, &s.active_heads, &s.all_heads})
    for (size_t layer = 0; layer < n_layer; ++layer) numbers.push_back(layer < counts->size() ? (*counts)[layer] : 0);
  std::vector<float> bits(2 * numbers.size());
  std::memcpy(bits.data(), numbers.data(), numbers.size() * sizeof(uint64_t));
  return bits;
}

StepStats unpacked(std::span<const float> bits, size_t n_layer) {
  std::vector<uint64_t> numbers(bits.size() / 2);
  std::memcpy(numbers.data(), bits.data(), numbers.size() * sizeof(uint64_t));
  StepStats s;
  s.n_tokens = numbers[0], s.weight_bytes = numbers[1], s.kv_bytes = numbers[2], s.predictor_bytes = numbers[3];
  auto next = numbers.begin() + 4;
  for (auto* counts : {&s.active_neurons, &s.all_neurons, &s.active_heads, &s.all_heads}) {
    counts->assign(next, next + ptrdiff_t(n_layer));
    next += ptrdiff_t(n_layer);
  }
  return s;
}

}  // namespace

std::vector<StepStats> Ranks::take_stats(const KvCache& cache, size_t n_layer) {
  outbox_.put(Order::kStats);
  outbox_.put(caches_.at(&cache));
  send();
  const std::vector<float> own = packed({}, n_layer);
  std::vector<float> all(own.size() * communicator_.n_ranks());
  communicator_.gather(own, std::vector<size_t>(communicator_.n_ranks(), own.size()), all);
  std::vector<StepStats> stats;
  for (size_t rank = 1; rank < communicator_.n_ranks(); ++rank)
    stats.push_back(unpacked(std::span(all).subspan(rank * own.size(), own.size()), n_layer));
  return stats;
}

struct Follower::Cache {
  Cache(const KvShape& shape, size_t n_tokens, const Model& model, Compute& compute)
      : cache(shape, n_tokens), transformer(model, cache, compute) {}
  KvCache cache;
  Transformer transformer;
  std::map<KvCache::SequenceId, SelectorStates> states;
};

Follower::Follower(const Model& model, Compute& compute, FollowerHooks hooks)
    : model_(model), compute_(compute), hooks_(std::move(hooks)) {}
Follower::~Follower() = default;

void Follower::obey(Order order, Message& message) {
  if (order == Order::kPlan) return make_plan(message);
  if (order == Order::kOpenCache) return open(message);
  const auto number = message.get<uint32_t>();
  if (order == Order::kCloseCache) return void(caches_.erase(number));
  Cache& own = *caches_.at(number);
  const auto sequence = [&] { return message.get<KvCache::SequenceId>(); };
  switch (order) {
    case Order::kCreate: own.cache.create(); return;
    case Order::kFork: {
      const KvCache::SequenceId parent = sequence(), branch = own.cache.fork(parent);
      own.states[parent].copy_to(own.states[branch]);
      return;
    }
    case Order::kRelease: {
      const KvCache::SequenceId which = sequence();
      own.states.erase(which);
      return own.cache.release(which);
    }
    case Order::kTruncate: {
      const KvCache::SequenceId which = sequence();
      const auto n_tokens = message.get<uint64_t>();
      own.states[which].truncate(n_tokens);
      return own.cache.truncate(which, n_tokens);
    }
    case Order::kCheckpoint: return own.cache.checkpoint(sequence());
    case Order::kSettle: {
      Run run{sequence(), 0, Phase::kPrompt};
      run.plan = plan(message.get<uint32_t>());
      run.states = &own.states[run.sequence];
      return own.transformer.settle_keys({&run, 1});
    }
    case Order::kStats: {
      const std::vector<float> counted = packed(std::exchange(own.transformer.stats, {}), model_.config().n_layer);
      Communicator& ranks = model_.ranks()->communicator();
      return ranks.gather(counted, std::vector<size_t>(ranks.n_ranks(), counted.size()), {});
    }
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

void Follower::make_plan(Message& message) {
  const auto number = message.get<uint32_t>();
  const PlanOrder order = PlanOrder::take(message);
  Plan made;
  if (hooks_.base_plan) {
    made = hooks_.base_plan(order);
  } else if (order.name == "exact") {
    made = Plan::exact(model_.config());
  }
  if (order.n_keys > 0) {
    std::shared_ptr<const KeySelector>& keys = keys_[order.n_keys];
    if (!keys) keys = key_policy_from(order.keys);
    made.set_keys(model_.config(), keys);
  }
  if (!order.experts.empty()) made.set_experts(model_.config(), expert_policy_from(order.experts));
  if (hooks_.prepare) hooks_.prepare(made);
  plans_[number] = std::make_shared<const Plan>(std::move(made));
}

void Follower::step(Cache& own, Message& message) {
  const auto ids = message.get_list<int32_t>();
  const auto sent_runs = message.get_list<Ranks::SentRun>();
  const auto watching = message.get_list<uint32_t>();
  const auto logit_rows = message.get_list<uint32_t>();
  std::vector<std::shared_ptr<const Plan>> watchers;
  for (const uint32_t number : watching) watchers.push_back(plans_.at(number));
  std::vector<Run> runs;
  size_t n_watchers = 0;
  for (const Ranks::SentRun& sent : sent_runs) {
    Run run{sent.sequence, sent.n_tokens, sent.phase, plan(sent.plan)};
    run.as_alone = sent.as_alone;
    run.only_best = sent.only_best;
    run.n_text = sent.n_text;
    run.goes_on = sent.goes_on;
    run.second_begins = sent.second_begins;
    if (sent.adapter) run.adapter = hooks_.adapter(sent.adapter);
    run.states = &own.states[sent.sequence];
    run.watching = std::span(watchers).subspan(n_watchers, sent.n_watching);
    n_watchers += sent.n_watching;
    runs.push_back(run);
  }
  own.transformer.run({ids, runs, logit_rows});
}

}  // namespace hunch
