// For tests: golden arrays as golden/algos and golden/algos2 store them, NAME.bin (raw, little endian, C order) beside
// NAME.json (dtype, shape and byte offset of each array, and the configurations that made them).
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/test_paths.h"

namespace hunch {

// One array; `values` is C order. Converted to the type that was asked for.
template <class T>
struct GoldenArray {
  std::vector<size_t> shape;
  std::vector<T> values;

  // Where the sub-array [i...] begins and how many elements it has: row(1, 2) of [A, B, C] has C.
  template <class... Index>
  std::span<const T> row(Index... index) const {
    size_t begin = 0, d = 0;
    for (size_t i : {size_t(index)...}) {
      EXPECT_LT(i, shape.at(d));
      begin = begin * shape[d++] + i;
    }
    size_t n = 1;
    for (; d < shape.size(); ++d) n *= shape[d];
    return std::span(values).subspan(begin * n, n);
  }
};

class GoldenArrays {
 public:
  // `path` without extension.
  explicit GoldenArrays(const std::filesystem::path& path)
      : data_(read_file(path.string() + ".bin")), json_(nlohmann::json::parse(read_file(path.string() + ".json"))) {}

  // NAME -> its settings. A set of one configuration has settings() instead (golden/algos writes them at the top).
  const nlohmann::json& configs() const { return json_.at("configs"); }
  const nlohmann::json& settings() const { return json_.contains("settings") ? json_.at("settings") : json_; }
  const nlohmann::json& arrays() const { return json_.at("arrays"); }
  bool has(const std::string& name) const { return json_.at("arrays").contains(name); }

  template <class T>
  GoldenArray<T> get(const std::string& name) const {
    const nlohmann::json& entry = json_.at("arrays").at(name);
    GoldenArray<T> out{entry.at("shape").get<std::vector<size_t>>(), {}};
    size_t n = 1;
    for (size_t d : out.shape) n *= d;
    const std::string dtype = entry.at("dtype");
    const size_t offset = entry.at("offset");
    if (dtype == "float32") convert<float>(offset, n, out.values);
    if (dtype == "float64") convert<double>(offset, n, out.values);
    if (dtype == "int32") convert<int32_t>(offset, n, out.values);
    if (dtype == "uint8") convert<uint8_t>(offset, n, out.values);
    if (dtype == "int8") convert<int8_t>(offset, n, out.values);
    EXPECT_EQ(out.values.size(), n) << name << ": " << dtype;
    return out;
  }

 private:
  template <class Stored, class T>
  void convert(size_t offset, size_t n, std::vector<T>& out) const {
    ASSERT_LE(offset + n * sizeof(Stored), data_.size());
    for (size_t i = 0; i < n; ++i) {
      Stored x;
      std::memcpy(&x, data_.data() + offset + i * sizeof x, sizeof x);
      out.push_back(T(x));
    }
  }

  std::string data_;
  nlohmann::json json_;
};

}  // namespace hunch
