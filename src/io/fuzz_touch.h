// For fuzzers: uses what a parser returned, so that a bad view is met by the sanitizer.
#pragma once
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "io/model_file.h"

namespace hunch {

// Reads both ends of every tensor and aborts when the size contradicts shape and dtype.
inline void touch(std::span<const Tensor> tensors) {
  volatile unsigned sink = 0;
  for (const Tensor& tensor : tensors) {
    HUNCH_CHECK(tensor.data.size() == tensor.rows() * row_bytes(tensor.dtype, tensor.cols()), "{}", tensor.name);
    if (tensor.data.empty()) continue;
    sink = sink + unsigned(tensor.data.front()) + unsigned(tensor.data.back());
  }
}

// Runs a parser; an Error is the right answer to most inputs, anything else is a find.
template <class Parse>
void expect_value_or_error(Parse&& parse) {
  try {
    parse();
  } catch (const Error& e) {
    HUNCH_CHECK(e.what()[0] != '\0');
  }
}

}  // namespace hunch
