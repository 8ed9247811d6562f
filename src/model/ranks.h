// A model that several ranks compute together (docs/scale.md): what rank 0 tells the others, and how these obey.
//
// Rank 0 is the one that has a caller. Its Transformers tell the others of every step before they compute it, and its
// caches of what becomes of their sequences; the others do the same with their parts, and know no more.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "model/run.h"
#include "model/shard.h"
#include "parallel/communicator.h"
#include "parallel/message.h"

namespace hunch {

class Model;
class Transformer;

// What a message begins with: whom it is for, and what it says. Those before kOpenCache are for who opens models
// (engine/ranks.h).
enum class Order : uint8_t {
  kEnd,
  kMeasure,
  kLoad,
  kUnload,
  kOpenCache,
  kCloseCache,
  kCreate,
  kFork,
  kRelease,
  kTruncate,
  kCheckpoint,
  kStep,
};

// One rank's. Outlives the models that are divided so, and their caches. One caller at a time.
class Ranks {
 public:
  explicit Ranks(Communicator& communicator) : communicator_(communicator) {}

  Communicator& communicator() const { return communicator_; }
  bool leads() const { return communicator_.leads(); }
  Shard shard() const { return {communicator_.rank(), communicator_.n_ranks()}; }
  // Set before a model is opened: the same on all.
  Division division;
  bool by_layers() const { return division.by_layers; }
  bool is_last() const { return communicator_.rank() + 1 == communicator_.n_ranks(); }

  // Rank 0: what goes with the next message, and the message.
  Message& outbox() { return outbox_; }
  void send() { outbox_.send(communicator_); }
  // The others make a cache of their parts of the same tokens, and what is done to this one's sequences is done to
  // theirs. Again changes nothing.
  void lead(KvCache& cache);
  // They compute this step, whose tokens the cache has; so does the caller, at once. Throws Error{kUnsupported} naming
  // what of it the others cannot do, and has told them nothing then.
  void lead(const KvCache& cache, const StepInput& input);

  bool has_model = false;  // rank 0: that the others were told to open

 private:
  class Journal;
  Communicator& communicator_;
  Message outbox_;
  std::map<const KvCache*, uint32_t> caches_;
  uint32_t n_caches_ = 0;
};

// The others: does what it is told with its part of a model.
class Follower {
 public:
  // `prepare`: called before the first step with a plan. All outlive this.
  Follower(const Model& model, Compute& compute, std::function<void(const Plan&)> prepare = {});
  ~Follower();

  // Everything from kOpenCache on. Throws what computing throws.
  void obey(Order order, Message& message);

 private:
  struct Cache;
  void open(Message& message);
  void step(Cache& cache, Message& message);
  const Plan* plan(uint8_t kind);

  const Model& model_;
  Compute& compute_;
  const std::function<void(const Plan&)> prepare_;
  std::map<uint32_t, std::unique_ptr<Cache>> caches_;
  std::map<uint8_t, std::unique_ptr<const Plan>> plans_;
};

}  // namespace hunch
