// Golden outputs of Hugging Face's own modelling code: reading them, for tests.
#pragma once
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/view.h"

namespace hunch {

// One model's golden/golden.json and golden.f32.
class GoldenData {
 public:
  struct Sequence {
    std::vector<int32_t> ids, argmax, greedy;
  };

  explicit GoldenData(const std::filesystem::path& folder)
      : json_(nlohmann::json::parse(read_file(folder / "golden.json"))), data_(read_file(folder / "golden.f32")) {
    for (const auto& s : json_.at("sequences"))
      sequences.push_back(
          {s.at("ids"), s.value("argmax", std::vector<int32_t>()), s.value("greedy", std::vector<int32_t>())});
  }

  bool has(const std::string& name) const { return json_.at("arrays").contains(name); }
  std::vector<size_t> shape(const std::string& name) const { return json_.at("arrays").at(name).at("shape"); }
  std::vector<float> array(const std::string& name) const {
    const auto& entry = json_.at("arrays").at(name);
    std::vector<float> values(entry.at("count").get<size_t>());
    const size_t offset = entry.at("offset").get<size_t>() * sizeof(float);
    HUNCH_CHECK(offset + values.size() * sizeof(float) <= data_.size(), "golden array {}", name);
    std::memcpy(values.data(), data_.data() + offset, values.size() * sizeof(float));
    return values;
  }
  const nlohmann::json& json() const { return json_; }

  std::vector<Sequence> sequences;

 private:
  nlohmann::json json_;
  std::string data_;
};

}  // namespace hunch
