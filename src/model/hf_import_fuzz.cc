// A Hugging Face folder as a model. The input is the config's size (uint16), config.json, and a safetensors file.
#include <nlohmann/json.hpp>

#include "io/fuzz_touch.h"
#include "io/hf_config.h"
#include "io/quantised_folder.h"
#include "io/safetensors.h"
#include "model/architecture.h"
#include "model/hf_pooling.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  if (size < 2) return 0;
  const auto rest = std::as_bytes(std::span(data, size)).subspan(2);
  const size_t n_config = std::min(rest.size(), size_t(data[0]) | size_t(data[1]) << 8);
  const std::string_view config(reinterpret_cast<const char*>(rest.data()), n_config);
  expect_value_or_error([&] { parse_pooling(config); });
  expect_value_or_error([&] {
    HfFolder folder;
    folder.config_json = normalised_hf_config(config);
    folder.tensors = parse_safetensors(rest.subspan(n_config), &folder.float8);
    const auto json = nlohmann::json::parse(folder.config_json);
    if (!json.contains("model_type") || !json["model_type"].is_string()) return;
    const Architecture& arch = architecture_by_hf_type(json["model_type"].get<std::string>());
    decode_quantised(folder, QuantisedAs::kBlocks);
    HfImport hf(folder, arch.gguf_name);
    arch.import_hf(hf);
    hf.unread();
    const ModelFile file = hf.finish();
    touch(file.tensors);
    config_from_gguf(file);
  });
  return 0;
}
