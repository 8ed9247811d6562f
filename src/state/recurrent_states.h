// What recurrent layers remember of sequences: a state of fixed size instead of something for each token.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/view.h"
#include "state/state_store.h"

namespace hunch {

// One layer's, in floats: its state, and what it is fed by one token. n_state 0: the layer is none.
struct RecurrentSize {
  size_t n_state = 0, n_input = 0;
};

// A state holds all of the past, so a token that it has seen cannot be taken out of it. Each layer of a sequence has
// its state twice therefore: after all tokens, and after some token `base` not long ago, with the inputs of the tokens
// since then. Who goes back to a token in between computes them again, from inputs, without the layer's matrices.
class RecurrentStates final : public StateStore {
 public:
  // The last kKept tokens at least can be taken back one by one, if they came in steps of at most kKept; of a longer
  // step, all of them or none.
  static constexpr size_t kKept = 16, kMostInputs = 2 * kKept;

  explicit RecurrentStates(std::vector<RecurrentSize> layers = {}) : layers_(std::move(layers)) {}

  static size_t bytes_per_sequence(std::span<const RecurrentSize> layers);

  SequenceId create() override;
  SequenceId fork(SequenceId parent) override;
  void release(SequenceId sequence) override;
  size_t n_tokens(SequenceId sequence) const override { return at(sequence).n_tokens; }
  void append(SequenceId sequence, size_t n) override;
  void commit(SequenceId) override {}  // what is kept is little
  void truncate(SequenceId sequence, size_t n_tokens) override;
  size_t back_to(SequenceId sequence, size_t n_tokens) const override;
  void keep(SequenceId, size_t, std::span<const Rows>) override {}
  void assign(SequenceId to, SequenceId from);  // gives a sequence the past of another

  // Remembers the state after all tokens so that truncate() can come back to it later. Of the kMostCheckpoints that a
  // sequence has, the oldest goes. Nothing where tokens were taken back since the last step.
  void checkpoint(SequenceId sequence);
  static constexpr size_t kMostCheckpoints = 4;

  // Where a copy of the sequence can go on from: its checkpoints, and the present where its states are known.
  // Ascending.
  std::vector<size_t> points(SequenceId sequence) const;
  // The states there, [points(), floats_per_point()].
  static size_t floats_per_point(std::span<const RecurrentSize> layers);
  std::vector<float> save(SequenceId sequence) const;
  // Gives an empty sequence these states as its checkpoints; it is at the last of them.
  void load(SequenceId sequence, std::span<const size_t> points, std::span<const float> states);

  // Advances a state by tokens' inputs [n, n_input], whose outputs nobody wants.
  using Advance = std::function<void(MatView<const float> inputs, std::span<float> state)>;
  struct Turn {
    std::span<float> state;  // after the tokens before the step's
    MatView<float> inputs;   // [n or 0, n_input], for copies of the step's inputs where there is room for any
  };
  // A layer's part of a step, whose n tokens were appended: the caller advances `state` by them, and then calls end().
  Turn begin(SequenceId sequence, size_t layer, size_t n, const Advance& advance);
  void end(SequenceId sequence, size_t layer);

 private:
  struct Layer {
    AlignedBuffer memory;  // base state, state, inputs
    size_t base = 0;       // tokens that the base state has seen
    size_t n_inputs = 0;   // kept, of tokens base, base + 1, ...
    size_t seen = 0;       // tokens that the state has seen
    bool valid = false;    // else it is to be made of the base state and the inputs

    bool can_go_to(size_t n) const { return (valid && n == seen) || (n >= base && n - base <= n_inputs); }
  };
  struct Checkpoint {
    size_t n_tokens;
    std::vector<std::vector<float>> states;  // [n_layer]
  };
  struct Sequence {
    bool alive = false;
    size_t n_tokens = 0;
    std::vector<Layer> layers;
    std::vector<Checkpoint> checkpoints;
  };
  const Sequence& at(SequenceId id) const;
  Sequence& at(SequenceId id) { return const_cast<Sequence&>(std::as_const(*this).at(id)); }
  std::span<float> base_state(const Layer& l, size_t layer) const;
  std::span<float> state(const Layer& l, size_t layer) const;
  MatView<float> inputs(const Layer& l, size_t layer) const;  // [kMostInputs, n_input]
  void make_room(Layer& l, size_t layer, size_t n_before, size_t n, const Advance& advance);
  bool can_go_to(const Sequence& sequence, size_t n_tokens) const;

  std::vector<RecurrentSize> layers_;
  std::vector<Sequence> sequences_;
  std::vector<SequenceId> free_;
};

}  // namespace hunch
