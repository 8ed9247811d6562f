// How recurrent mixers take a step: a sequence after the other, in whose states tokens may be missing.
#pragma once
#include <functional>

#include "model/recurrent.h"

namespace hunch {

// Of a state: the part for the convolution [n_taps - 1, n_conv], and that of a head [d_head, d_state].
MatView<float> conv_past(const LayerConfig& c, std::span<float> state);
MatView<float> head_state(const LayerConfig& c, std::span<float> state, size_t head);

// advance(inputs [n, n_input], state, y [n, width]) for the tokens of each run, whose results are wanted, and before
// that for those that were taken back and came again, whose are not. Its scratch memory is given back each time.
//
//   inputs [n_tokens of the step, n_input]   y [n_tokens of the step, width], written
template <class AdvanceState>
void advance_runs(Step& s, const LayerConfig& c, MatView<const float> inputs, MatView<float> y,
                  const AdvanceState& advance) {
  const StageScope stage(s.compute, Stage::kAttention);
  RecurrentStates& states = s.cache.states();
  const auto again = [&](MatView<const float> earlier, std::span<float> state) {
    const Arena::Scope scope(s.compute.arena);
    advance(earlier, state, s.take(earlier.rows, y.cols));
  };
  for (size_t r = 0; r < s.runs().size(); ++r) {
    const size_t first = s.first_token(r), n = s.runs()[r].n_tokens;
    const KvCache::SequenceId sequence = s.runs()[r].sequence;
    const RecurrentStates::Turn turn = states.begin(sequence, c.index, n, std::cref(again));
    copy_rows(inputs.row_range(first, turn.inputs.rows), turn.inputs);
    {
      const Arena::Scope scope(s.compute.arena);
      advance(inputs.row_range(first, n), turn.state, y.row_range(first, n));
    }
    states.end(sequence, c.index);
  }
}

// log(1 + e^x).
float softplus(float x);

}  // namespace hunch
