// The input is the config's size (uint16), config.json, and a safetensors file.
#include "io/fuzz_touch.h"
#include "io/quantised_folder.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  if (size < 2) return 0;
  const auto rest = std::as_bytes(std::span(data, size)).subspan(2);
  const size_t n_config = std::min(rest.size(), size_t(data[0]) | size_t(data[1]) << 8);
  for (const QuantisedAs as : {QuantisedAs::kBlocks, QuantisedAs::kFloats})
    expect_value_or_error([&] {
      HfFolder folder;
      folder.config_json.assign(reinterpret_cast<const char*>(rest.data()), n_config);
      folder.tensors = parse_safetensors(rest.subspan(n_config), &folder.float8);
      decode_quantised(folder, as);
      touch(folder.tensors);
    });
  return 0;
}
