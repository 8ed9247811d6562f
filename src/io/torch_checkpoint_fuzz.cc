#include "io/torch_checkpoint.h"

#include "io/fuzz_touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  expect_value_or_error([&] {
    const TorchCheckpoint checkpoint = parse_torch_checkpoint(std::as_bytes(std::span(data, size)));
    touch(checkpoint.tensors);
  });
  return 0;
}
