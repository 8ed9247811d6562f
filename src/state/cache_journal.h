// What becomes of a cache's sequences, told to who keeps another one like it.
#pragma once
#include "state/state_store.h"

namespace hunch {

// Told of everything that is done to sequences but append(), store() and what follows from a pass. Sequences get the
// same ids in a cache of the same shape to which the same is done. Ends with the cache.
class CacheJournal {
 public:
  virtual ~CacheJournal() = default;
  virtual void created() = 0;
  virtual void forked(StateStore::SequenceId parent) = 0;
  virtual void released(StateStore::SequenceId sequence) = 0;
  virtual void truncated(StateStore::SequenceId sequence, size_t n_tokens) = 0;
  virtual void checkpointed(StateStore::SequenceId sequence) = 0;  // KvCache::checkpoint()
};

}  // namespace hunch
