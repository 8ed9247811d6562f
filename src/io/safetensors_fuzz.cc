#include "io/safetensors.h"

#include "io/align_tensors.h"
#include "io/fuzz_touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  expect_value_or_error([&] {
    std::vector<Tensor> tensors = parse_safetensors(std::as_bytes(std::span(data, size)));
    std::vector<std::shared_ptr<const void>> owners;
    align_tensors(tensors, owners);
    touch(tensors);
  });
  return 0;
}
