// Golden outputs of the reference codes (../shared/golden/algos): NAME.bin with NAME.json beside it. For tests.
#pragma once
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/test_paths.h"
#include "compress/linear_algebra.h"

namespace hunch {

class GoldenArrays {
 public:
  // `path`: without its ending.
  explicit GoldenArrays(const std::filesystem::path& path)
      : json_(nlohmann::json::parse(read_file(path.string() + ".json"))), data_(read_file(path.string() + ".bin")) {}

  const nlohmann::json& json() const { return json_; }
  bool has(const std::string& name) const { return json_.at("arrays").contains(name); }
  std::vector<size_t> shape(const std::string& name) const { return json_.at("arrays").at(name).at("shape"); }

  // Whatever the element type.
  template <class T = float>
  std::vector<T> values(const std::string& name) const {
    const auto& entry = json_.at("arrays").at(name);
    const std::string dtype = entry.at("dtype");
    if (dtype == "float32") return read<float, T>(entry);
    if (dtype == "float64") return read<double, T>(entry);
    if (dtype == "int32") return read<int32_t, T>(entry);
    if (dtype == "uint8") return read<uint8_t, T>(entry);
    HUNCH_CHECK(dtype == "int8", "{}: {}", name, dtype);
    return read<int8_t, T>(entry);
  }
  // The leading dimensions as one.
  Matrix matrix(const std::string& name) const {
    Matrix out;
    out.values = values<float>(name);
    out.cols = shape(name).back();
    out.rows = out.values.size() / out.cols;
    return out;
  }

 private:
  template <class From, class To>
  std::vector<To> read(const nlohmann::json& entry) const {
    const size_t offset = entry.at("offset");
    size_t n = 1;
    for (size_t d : entry.at("shape")) n *= d;
    HUNCH_CHECK(offset + n * sizeof(From) <= data_.size(), "the golden file is cut off");
    std::vector<From> raw(n);
    std::memcpy(raw.data(), data_.data() + offset, n * sizeof(From));
    return {raw.begin(), raw.end()};
  }

  nlohmann::json json_;
  std::string data_;
};

}  // namespace hunch

// Skips the test where the shared data is not there.
#define HUNCH_GOLDEN_ARRAYS(variable, relative)                                                 \
  const auto variable##_path = shared_path(std::string("golden/") + (relative) + ".json");      \
  if (!variable##_path) GTEST_SKIP() << "needs golden/" << (relative) << " of the shared data"; \
  const GoldenArrays variable(std::filesystem::path(*variable##_path).replace_extension())
