// A model that several ranks compute together (docs/scale.md): what rank 0 tells the others, and how these obey.
//
// Rank 0 is the one that has a caller. Its Transformers tell the others of every step before they compute it, and its
// caches of what becomes of their sequences; the others do the same with their parts, and know no more.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "model/plan_order.h"
#include "model/run.h"
#include "model/shard.h"
#include "model/step_stats.h"
#include "parallel/communicator.h"
#include "parallel/message.h"
#include "parallel/rounded_sums.h"

namespace hunch {

class Model;
class Transformer;

// What a message begins with: whom it is for, and what it says. Those before kPlan are for who opens models
// (engine/ranks.h).
enum class Order : uint8_t {
  kEnd,
  kMeasure,
  kLoad,
  kUnload,
  kLoadAdapter,
  kDropAdapter,
  kPlan,
  kOpenCache,
  kCloseCache,
  kCreate,
  kFork,
  kRelease,
  kTruncate,
  kCheckpoint,
  kSettle,
  kStats,
  kStep,
};

// One rank's. Outlives the models that are divided so, and their caches. One caller at a time.
class Ranks {
 public:
  explicit Ranks(Communicator& communicator) : communicator_(communicator), rounded_(communicator) {}

  Communicator& communicator() const { return communicator_; }
  // By which the parts of what heads and neurons give are added up.
  Communicator& sums() { return division.rounds_sums ? rounded_ : communicator_; }
  bool leads() const { return communicator_.leads(); }
  Shard shard() const { return {communicator_.rank(), communicator_.n_ranks()}; }
  // Set before a model is opened: the same on all.
  Division division;
  size_t local_rank = 0;  // which of the processes on this machine
  bool by_layers() const { return division.by_layers; }
  bool is_last() const { return communicator_.rank() + 1 == communicator_.n_ranks(); }

  // Rank 0: what goes with the next message, and the message.
  Message& outbox() { return outbox_; }
  void send() { outbox_.send(communicator_); }
  // The others make a cache of their parts of the same tokens, and what is done to this one's sequences is done to
  // theirs. Again changes nothing.
  void lead(KvCache& cache);
  // They compute this step of the model, whose tokens the cache has; so does the caller, at once. Throws
  // Error{kUnsupported} naming what of it the others cannot do, and has told them nothing then.
  void lead(const Model& model, const KvCache& cache, const StepInput& input);
  // They drop the keys of a text that waited for more of it (Transformer::settle_keys()).
  void settle(const Model& model, const KvCache& cache, const Run& run);
  // What each of the others counted with this cache since it was asked for the last time, [n_ranks - 1].
  std::vector<StepStats> take_stats(const KvCache& cache, size_t n_layer);

  // Rank 0 and the others load the same adapter under one number.
  uint32_t new_adapter() { return ++n_adapters_; }
  void name_adapter(const std::shared_ptr<const Adapter>& adapter, uint32_t number);

  // Rank 0: the others are told to open a model, and that they close it: with it go plans and adapters.
  void open_model() { has_model_ = true; }
  void close_model();
  bool has_model() const { return has_model_; }

 private:
  class Journal;
  struct SentRun;
  uint32_t plan_number(const Model& model, const Plan* plan);
  uint32_t adapter_number(const Adapter* adapter) const;
  void drop_adapters();

  Communicator& communicator_;
  RoundedSums rounded_;
  Message outbox_;
  std::map<const KvCache*, uint32_t> caches_;
  uint32_t n_caches_ = 0, n_adapters_ = 0;
  bool has_model_ = false;
  std::map<PlanOrder, uint32_t> plans_;                   // that the others have
  std::vector<std::shared_ptr<const KeySelector>> keys_;  // of these; number n is the n-th, from 1 on
  struct KnownAdapter {
    std::weak_ptr<const Adapter> adapter;
    uint32_t number;
  };
  std::map<const Adapter*, KnownAdapter> adapters_;
  friend class Follower;
};

// What a follower does not know of the model.
struct FollowerHooks {
  // The plan that an order names, without the keys and the router; none: dense and exact ones. Throws what making it
  // throws.
  std::function<Plan(const PlanOrder&)> base_plan = {};
  std::function<void(const Plan&)> prepare = {};         // before the first step with a plan
  std::function<const Adapter*(uint32_t)> adapter = {};  // of this number
};

// The others: does what it is told with its part of a model.
class Follower {
 public:
  // All outlive this.
  Follower(const Model& model, Compute& compute, FollowerHooks hooks = {});
  ~Follower();

  // Everything from kPlan on. Throws what computing throws.
  void obey(Order order, Message& message);

 private:
  struct Cache;
  void open(Message& message);
  void make_plan(Message& message);
  void step(Cache& cache, Message& message);
  const Plan* plan(uint32_t number) const { return number == 0 ? nullptr : plans_.at(number).get(); }

  const Model& model_;
  Compute& compute_;
  const FollowerHooks hooks_;
  std::map<uint32_t, std::unique_ptr<Cache>> caches_;
  std::map<uint32_t, std::shared_ptr<const Plan>> plans_;
  std::map<uint32_t, std::shared_ptr<const KeySelector>> keys_;
};

}  // namespace hunch
