// Which inputs of a model's matrices are outliers on a text: few, and the same for almost all tokens.
#pragma once
#include <map>
#include <span>
#include <vector>

#include "compress/block_walk.h"
#include "select/selector.h"

namespace hunch {

class OutlierInputs {
 public:
  OutlierInputs() = default;
  // Walks through the model as it is: inputs that are `from` or more in magnitude for any token of the sample. Throws
  // as BlockWalk.
  OutlierInputs(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample, float from);

  // Of what a matrix reads, ascending; none of one expert of many, whose neighbours in the file have others.
  std::span<const uint32_t> of(const LinearId& id) const;

 private:
  std::map<std::pair<size_t, InputPart>, std::vector<uint32_t>> outliers_;
};

}  // namespace hunch
