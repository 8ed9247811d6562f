// What layers remember of sequences, asked of all kinds in the same words.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/rows.h"

namespace hunch {

// Keys and values of every token (KvCache), their latent form, or the state of a recurrence: who runs sequences makes
// room for tokens, takes back those that did not come to pass, and copies sequences, and need not know which it is. One
// caller at a time.
class StateStore {
 public:
  using SequenceId = uint32_t;

  virtual ~StateStore() = default;

  virtual SequenceId create() = 0;  // an empty sequence
  // Another sequence with the same past. One that nobody continues is a checkpoint. Throws Error{kLimit} when there is
  // no room.
  virtual SequenceId fork(SequenceId parent) = 0;
  virtual void release(SequenceId sequence) = 0;
  virtual size_t n_tokens(SequenceId sequence) const = 0;  // seen: the position of the next

  // Makes room for n more tokens. Throws Error{kLimit} when there is none; the sequence is then unchanged.
  virtual void append(SequenceId sequence, size_t n) = 0;
  // The tokens so far will not be taken back one by one: what is kept only for that may go.
  virtual void commit(SequenceId sequence) = 0;
  // Forgets all tokens from n_tokens on: a rejected draft, a step that failed. Only to what back_to() returns.
  virtual void truncate(SequenceId sequence, size_t n_tokens) = 0;
  // The most tokens, n_tokens or fewer, that truncate() goes back to; perhaps none.
  virtual size_t back_to(SequenceId sequence, size_t n_tokens) const = 0;

  // Keeps of a layer only these of what it holds for each head, in the same order. A store that holds nothing by token
  // has nothing to choose from.
  virtual void keep(SequenceId sequence, size_t layer, std::span<const Rows> slots) = 0;
};

}  // namespace hunch
