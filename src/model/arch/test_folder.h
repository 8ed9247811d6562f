// For tests: a Hugging Face folder in memory, with weights drawn from a fixed seed.
#pragma once
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/hf_folder.h"
#include "model/architecture.h"

namespace hunch {

class TestFolder {
 public:
  explicit TestFolder(std::string config_json) {
    folder_.path = "test-model";
    folder_.config_json = std::move(config_json);
  }

  TestFolder& add(const std::string& name, std::vector<uint64_t> shape) {
    Tensor t{name, DType::kF32, std::move(shape), {}};
    std::vector<float> values(t.n_elems());
    for (float& v : values) v = normal_(rng_);
    return add(name, t.shape, values);
  }
  TestFolder& add(const std::string& name, std::vector<uint64_t> shape, std::span<const float> values) {
    Tensor t{name, DType::kF32, std::move(shape), {}};
    auto buffer = std::make_shared<AlignedBuffer>(values.size_bytes());
    std::memcpy(buffer->data(), values.data(), values.size_bytes());
    t.data = buffer->bytes();
    folder_.owners.push_back(std::move(buffer));
    folder_.tensors.push_back(std::move(t));
    return *this;
  }
  // A norm or linear layer: "<name>.weight" and "<name>.bias" of the first dimension.
  TestFolder& add_with_bias(const std::string& name, std::vector<uint64_t> shape) {
    add(name + ".bias", {shape[0]});
    return add(name + ".weight", std::move(shape));
  }

  // The values of a tensor added before.
  std::vector<float> values(const std::string& name) const {
    for (const Tensor& t : folder_.tensors)
      if (t.name == name) return floats(t);
    return {};
  }
  static std::vector<float> floats(const Tensor& t) {
    std::vector<float> values(t.n_elems());
    std::memcpy(values.data(), t.data.data(), t.data.size());
    return values;
  }

  // The folder as the architecture of this model_type imports it.
  ModelFile import(std::string_view model_type) const {
    const Architecture& arch = architecture_by_hf_type(model_type);
    HfImport hf(folder_, arch.gguf_name);
    arch.import_hf(hf);
    return hf.finish();
  }

 private:
  HfFolder folder_;
  std::mt19937 rng_{7};
  std::normal_distribution<float> normal_{0.0f, 0.5f};
};

}  // namespace hunch
