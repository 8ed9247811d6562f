// Arbitrary bytes as config.json.
#include "io/hf_config.h"

#include "io/fuzz_touch.h"
#include "io/quantised_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  expect_value_or_error([&] { parse_quantised_config(normalised_hf_config(text), ""); });
  expect_value_or_error([&] { parse_quantised_config("{}", text); });
  return 0;
}
