// For tests: a model whose matrices lie in it without their zeros.
#pragma once
#include <functional>
#include <memory>

#include "io/sparse_tensors.h"

namespace hunch {

// Every NAME.weight of `file` that `which` names, of a type that has sparse rows, becomes the three tensors of
// io/sparse_tensors.h. Its numbers stay.
inline void leave_zeros_out(ModelFile& file, const std::function<bool(const Tensor&)>& which) {
  std::vector<Tensor> tensors;
  for (const Tensor& t : file.tensors) {
    if (!which(t)) {
      tensors.push_back(t);
      continue;
    }
    const std::string name = t.name.substr(0, t.name.rfind(".weight"));
    const WeightView W = t.view();
    const size_t span = sparse_span(W), mask_stride = W.cols / 8, scale_stride = span ? W.cols / span * 2 : 0;
    const auto mask = std::make_shared<std::vector<std::byte>>(W.rows * mask_stride);
    const auto scales = std::make_shared<std::vector<std::byte>>(W.rows * scale_stride);
    const auto values = std::make_shared<std::vector<std::byte>>();
    for (size_t r = 0; r < W.rows; ++r) {
      std::vector<std::byte> own(sparse_value_bytes(t.dtype, count_nonzero(W, r)));
      sparse_row_of_blocks(W, r, span, mask->data() + r * mask_stride, scales->data() + r * scale_stride, own.data());
      values->insert(values->end(), own.begin(), own.end());
    }
    std::vector<uint64_t> shape = t.shape;
    shape.back() = mask_stride;
    tensors.push_back({sparse_mask(name), DType::kI8, shape, *mask});
    const bool halves = t.dtype == DType::kF16;
    tensors.push_back({sparse_values(name, t.dtype),
                       halves ? DType::kF16 : DType::kI8,
                       {values->size() / (halves ? 2 : 1)},
                       *values});
    shape.back() = scale_stride / 2;
    if (span) tensors.push_back({sparse_scales(name), DType::kF16, shape, *scales});
    file.owners.insert(file.owners.end(), {mask, scales, values});
  }
  file.tensors = std::move(tensors);
  file.index();
}

}  // namespace hunch
