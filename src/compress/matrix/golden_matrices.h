// Golden outputs of the reference codes (../shared/golden/algos) as vectors and matrices. For tests.
#pragma once
#include <string>
#include <vector>

#include "compress/linear_algebra.h"
#include "io/golden_arrays.h"

namespace hunch {

class GoldenMatrices : public GoldenArrays {
 public:
  using GoldenArrays::GoldenArrays;

  std::vector<size_t> shape(const std::string& name) const { return get<float>(name).shape; }
  // Whatever the element type.
  template <class T = float>
  std::vector<T> values(const std::string& name) const {
    return get<T>(name).values;
  }
  // The leading dimensions as one.
  Matrix matrix(const std::string& name) const {
    GoldenArray<float> array = get<float>(name);
    Matrix out;
    out.values = std::move(array.values);
    out.cols = array.shape.back();
    out.rows = out.values.size() / out.cols;
    return out;
  }
};

}  // namespace hunch

// Skips the test where the shared data is not there.
#define HUNCH_GOLDEN_MATRICES(variable, relative)                                               \
  const auto variable##_path = shared_path(std::string("golden/") + (relative) + ".json");      \
  if (!variable##_path) GTEST_SKIP() << "needs golden/" << (relative) << " of the shared data"; \
  const GoldenMatrices variable(std::filesystem::path(*variable##_path).replace_extension())
