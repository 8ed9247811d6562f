// Which cached tokens stay: what every policy of the key/value cache has in common. A policy is the state of one
// (layer, kv head); it sees slots of the cache and sums of attention weights, never keys or values.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace hunch {

// Slots are places in the cache, ascending by age: after a compaction slot i is the i-th oldest token that stayed,
// whatever its position in the text was. Copyable, so that a sequence can fork; not thread safe.
//
// One step: tokens were appended, attention ran, and the cache holds n_slots.
//   policy.observe(column_sums);               // where the policy needs evidence
//   policy.keep(n_slots, budget, kept);        // budget - n_coming to make room for n_coming tokens beforehand
//   cache.keep(kept);  policy.compact(kept);
class KeyPolicy {
 public:
  virtual ~KeyPolicy() = default;
  virtual std::unique_ptr<KeyPolicy> clone() const = 0;

  // Whether it needs evidence.
  virtual bool learns() const = 0;

  // Adds one step's evidence.
  //
  //   column_sums [n_slots]  for each slot, the step's own tokens included, the attention weights (after softmax) that
  //   the
  //                          step's queries gave it, summed; where query heads share a kv head, over these too
  virtual void observe(std::span<const float> column_sums) = 0;

  // Fills `kept` with the min(n_slots, budget) slots that stay, ascending. All slots have been observed.
  // Allocates only where `kept` must grow.
  virtual void keep(size_t n_slots, size_t budget, std::vector<uint32_t>& kept) const = 0;

  // Slot i is from now on what slot kept[i] was; the others are forgotten. `kept` ascending.
  virtual void compact(std::span<const uint32_t> kept) = 0;
  // The last n observed slots are gone (a rollback).
  virtual void forget_last(size_t n) = 0;
};

// What every policy says in the same words.
template <class Policy>
class ClonedPolicy : public KeyPolicy {
 public:
  std::unique_ptr<KeyPolicy> clone() const override {
    return std::make_unique<Policy>(static_cast<const Policy&>(*this));
  }
};

// What the heavy-hitter policies remember: evidence added up per slot.
class SlotScores {
 public:
  // Adds sums to the slots' scores; slots beyond those known begin at zero. sums.size() >= size().
  void add(std::span<const float> sums);
  void compact(std::span<const uint32_t> kept);
  void forget_last(size_t n) { values_.resize(values_.size() - std::min(n, values_.size())); }
  std::span<const float> values() const { return values_; }

 private:
  std::vector<float> values_;
};

// Reorders `ids` so that the n with the largest score[id] come first, ascending by id; among equals the lower ids, NaN
// last. Every id < score.size(); returns the first n (all, if there are fewer).
std::span<uint32_t> keep_heaviest(std::span<const float> score, size_t n, std::span<uint32_t> ids);

// Appends the ids in [begin, end) to `kept`.
void append_range(size_t begin, size_t end, std::vector<uint32_t>& kept);

// Appends, ascending, the n heaviest of the slots in [begin, end).
void append_heaviest(std::span<const float> score, size_t begin, size_t end, size_t n, std::vector<uint32_t>& kept);

}  // namespace hunch
