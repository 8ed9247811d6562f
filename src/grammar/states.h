// Where in a grammar a text may be: sets of places, and the bytes that lead from one set to the next.
//
// A place is a state of the automaton and a frame, what follows when its rule ends. A frame is told by what is in it, a
// set of (state, frame) to return to, so that equal ones are one, whatever way a text came there. This is Earley's
// algorithm (1970) with its item sets made canonical: sets are few and are met again, what was found out of them is
// kept, and an ambiguous grammar takes polynomial time. Rules that begin with themselves, whose frames would hold
// themselves, are refused by Automaton.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"

namespace hunch::grammar {

class States {
 public:
  struct Place {
    uint32_t state, frame;
    auto operator<=>(const Place&) const = default;
  };
  using Id = int32_t;
  static constexpr Id kDead = -1;
  static constexpr uint32_t kOutside = 0;  // the frame of the places it began with: when their rule ends, all does
  static constexpr size_t kMostPlaces = 4'000'000;

  // The automaton outlives it.
  explicit States(const Automaton& automaton) : automaton_(automaton) { frames_.emplace_back(); }

  // The beginning of a text of the whole grammar.
  Id start();
  // These states of the automaton, with the frame kOutside.
  Id of(std::span<const uint32_t> states);
  // After one more byte; kDead where none is allowed. Throws Error{kLimit} beyond kMostPlaces.
  Id step(Id id, uint8_t byte) {
    Set& set = sets_[size_t(id)];
    if (!set.next) expand(id);
    const int32_t to = (*sets_[size_t(id)].next)[byte];
    return to != kUnknown ? to : find_next(id, byte);
  }
  // What follows when a rule with this frame ends; kDead: nothing does (kOutside).
  Id after(uint32_t frame);
  bool is_complete(Id id) const { return sets_[size_t(id)].complete; }  // the rule that was begun with may end here
  bool is_over(Id id) const { return sets_[size_t(id)].places.empty(); }
  // Ascending by frame, then state. Not those of rules that begin here: they follow from these.
  std::span<const Place> places(Id id) const { return sets_[size_t(id)].places; }
  size_t size() const { return sets_.size(); }
  // Forgets what it found out of bytes, where that is more than `n` tables of 1 KB.
  void forget_bytes(size_t n);

 private:
  static constexpr Id kUnknown = -2;
  struct Set {
    std::vector<Place> places;
    bool complete = false;
    std::vector<Place> expanded = {};  // with those of rules that begin here
    std::unique_ptr<std::array<Id, 256>> next = {};
  };
  Id intern(std::vector<Place>& places, bool complete);
  uint32_t frame_of(std::vector<Place>& returns);
  void expand(Id id);
  Id find_next(Id id, uint8_t byte);
  // Adds what q is with this frame: its places, and, where its rule may end, what follows that.
  void add(uint32_t q, uint32_t frame, std::vector<Place>& places, bool& complete);

  const Automaton& automaton_;
  std::vector<Set> sets_;
  std::vector<std::vector<Place>> frames_;
  std::unordered_multimap<uint64_t, Id> set_ids_;
  std::unordered_multimap<uint64_t, uint32_t> frame_ids_;
  std::unordered_map<uint32_t, Id> after_;
  size_t n_places_ = 0, n_tables_ = 0;
  // Of the present step.
  std::vector<uint32_t> ended_;
  std::vector<std::pair<uint32_t, uint32_t>> todo_;
  std::vector<std::vector<Place>> callers_;  // by rule
};

}  // namespace hunch::grammar
