// One block of a model at a time, on sample text: what leaving things out of it costs, measured at its output.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "compress/block_walk.h"
#include "model/selector_family.h"

namespace hunch {

// Walks through the layers: each is entered by what the dense layers before it made of the sample. The first half of a
// window may be a prompt that selectors choose by.
class BlockProbe {
 public:
  // `engine` must outlive it. Throws Error{kMemory} as KvCache, Error{kUsage} for a text shorter than a window.
  BlockProbe(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample);
  ~BlockProbe();

  // Computes the next layer densely; the first call the first. Throws Error{kFormat} naming the layer and the token
  // where a value is not finite.
  void next();
  size_t layer() const;

  // |x| of every entry of a part's input, over the sample, ascending (at most some 200,000 of them, evenly taken). Of a
  // mixture: of what each of its experts read, a token's input as often as it has experts.
  std::span<const float> magnitudes(InputPart part) const;
  // The same of |act(gate)|, or |act(up)| where there is no gate; of a mixture: of all that its experts computed.
  std::span<const float> gate_magnitudes() const;

  // ||Y' - Y||^2 / ||Y - X||^2 where X enters the layer, Y leaves it densely and Y' restricted to the family's
  // selectors of `point`, a curve's first. `by_prompt`: over the second halves of the windows, each restricted to what
  // its first half chose. Throws Error{kInterrupted}.
  double error(const SelectorFamily& family, const CurvePoint& point, bool by_prompt = false);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The magnitude that a share `below` of ascending `magnitudes` does not exceed; -1 where that is none of them.
float magnitude_quantile(std::span<const float> magnitudes, double below);

}  // namespace hunch
