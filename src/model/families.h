// The families that there are, each a few lines: a new one is a class here and a line of load_family().
#pragma once
#include <array>
#include <vector>

#include "model/selector_family.h"

namespace hunch {

// Neurons whose activated gate is small (without a gate: whose activation is) are left out of up and down: a point's
// threshold is of |act(gate)| (Lee et al. 2024, arXiv:2404.08763).
class Cats final : public SelectorFamily {
 public:
  std::string_view kind() const override { return "cats"; }
  void set(Plan& plan, size_t layer, const CurvePoint& point, size_t i = 0) const override;
};

// The neurons that the prompt used most serve the whole answer: a point's density is their share, its threshold unused
// (Dong et al. 2024, arXiv:2404.01365).
class Griffin final : public SelectorFamily {
 public:
  std::string_view kind() const override { return "griffin"; }
  std::string describe() const override;
  bool speaks_of_parts() const override { return false; }  // a token's activations are compared with all of its own
  void set(Plan& plan, size_t layer, const CurvePoint& point, size_t i = 0) const override;
};

// Small inputs of every projection are left out: a point has a threshold of |x| for each part, below 0 keeps
// everything. Its density is the share of the layer's weights that is read (Liu et al. 2024, arXiv:2408.14690).
class Teal final : public SelectorFamily {
 public:
  using Inputs = std::array<float, kNInputParts>;  // by InputPart

  explicit Teal(std::vector<Inputs> inputs) : inputs_(std::move(inputs)) {}
  // Of a curve of n_points. Throws Error{kFormat}.
  static std::shared_ptr<const Teal> load(size_t n_points, const ArchiveReader& archive);

  std::string_view kind() const override { return "teal"; }
  void set(Plan& plan, size_t layer, const CurvePoint& point, size_t i = 0) const override;
  void save(ArchiveWriter& archive) const override;

 private:
  std::vector<Inputs> inputs_;  // of each point
};

// As a sidecar keeps it, with a curve of n_points; nullptr where `kind` is none of these. Throws Error{kFormat}.
std::shared_ptr<const SelectorFamily> load_family(std::string_view kind, size_t n_points, const ArchiveReader& archive);

}  // namespace hunch
