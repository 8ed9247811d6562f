// One of several selectors in an archive: its names with a prefix.
#pragma once
#include <string>

#include "select/archive.h"

namespace hunch {

class NestedWriter final : public ArchiveWriter {
 public:
  // `outer` must outlive this.
  NestedWriter(ArchiveWriter& outer, std::string prefix) : outer_(outer), prefix_(std::move(prefix)) {}
  void matrix(std::string_view name, const WeightView& view) override { outer_.matrix(full(name), view); }
  void floats(std::string_view name, std::span<const float> values) override { outer_.floats(full(name), values); }
  void words(std::string_view name, const uint64_t* words, size_t rows, size_t cols) override {
    outer_.words(full(name), words, rows, cols);
  }
  void number(std::string_view name, double value) override { outer_.number(full(name), value); }

 private:
  std::string full(std::string_view name) const { return prefix_ + std::string(name); }
  ArchiveWriter& outer_;
  const std::string prefix_;
};

class NestedReader final : public ArchiveReader {
 public:
  // `outer` must outlive this.
  NestedReader(const ArchiveReader& outer, std::string prefix) : outer_(outer), prefix_(std::move(prefix)) {}
  WeightView matrix(std::string_view name, size_t rows, size_t cols) const override {
    return outer_.matrix(full(name), rows, cols);
  }
  std::vector<float> floats(std::string_view name, size_t n) const override { return outer_.floats(full(name), n); }
  const uint64_t* words(std::string_view name, size_t rows, size_t cols) const override {
    return outer_.words(full(name), rows, cols);
  }
  double number(std::string_view name, double least) const override { return outer_.number(full(name), least); }

 private:
  std::string full(std::string_view name) const { return prefix_ + std::string(name); }
  const ArchiveReader& outer_;
  const std::string prefix_;
};

}  // namespace hunch
