// Calibrating a family of selectors: what it offers in one layer, from dense to sparse, and what that reads.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "compress/block_probe.h"
#include "model/selector_family.h"

namespace hunch {

struct Layer;
struct Mlp;

struct MethodFit {
  // In order of falling density, the first dense. Loss: the error at the block's output.
  DensityCurve curve;
  std::shared_ptr<const SelectorFamily> family;
};

// How the selectors of one kind are set by looking at a sample. Has no state.
class Method {
 public:
  virtual ~Method() = default;
  virtual std::string_view name() const = 0;  // the family's kind

  virtual size_t n_sample_tokens() const { return 512; }
  // Whether a window's first half is the prompt that it chooses by, so that only the second half counts.
  virtual bool chooses_by_prompt() const { return false; }
  // Densities from 1 down to about 0.05 (TEAL: 0.1), of the layer that the probe stands at.
  virtual MethodFit fit(BlockProbe& probe, const LayerConfig& config) const = 0;
  // Bytes that one token reads of `mlp`, the layer's or an expert; and of the layer's other projections, where the
  // method sees them.
  virtual double mlp_bytes(const Mlp& mlp, double density) const = 0;
  virtual double other_bytes(const Layer& layer, double density) const { return 0; }
};

// "cats", "griffin", "teal"; nullptr: none of these.
const Method* method_named(std::string_view name);
std::vector<std::string_view> method_names();

// The dense point, a curve's first, and those others that its lower hull has.
DensityCurve hull_with_dense(DensityCurve curve);

}  // namespace hunch
