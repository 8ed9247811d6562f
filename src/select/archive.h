// How selectors are kept: named matrices, lists and numbers, in whatever file.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "formats/weight_view.h"

namespace hunch {

class ArchiveWriter {
 public:
  virtual ~ArchiveWriter() = default;
  virtual void matrix(std::string_view name, const WeightView& view) = 0;
  virtual void floats(std::string_view name, std::span<const float> values) = 0;
  virtual void words(std::string_view name, const uint64_t* words, size_t rows, size_t cols) = 0;
  virtual void number(std::string_view name, double value) = 0;
};

// All throw Error{kFormat} naming what was expected and what was found. Views point into what the reader keeps alive.
class ArchiveReader {
 public:
  virtual ~ArchiveReader() = default;
  // In a type that computes. `rows` or `cols` 0: any number of them, at least 1.
  virtual WeightView matrix(std::string_view name, size_t rows, size_t cols) const = 0;
  virtual std::vector<float> floats(std::string_view name, size_t n) const = 0;  // none is NaN
  virtual const uint64_t* words(std::string_view name, size_t rows, size_t cols) const = 0;
  virtual double number(std::string_view name, double least) const = 0;  // finite, `least` or more
};

}  // namespace hunch
