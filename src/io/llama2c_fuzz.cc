// The input is the tokenizer's size (uint16), the tokenizer, and the model.
#include "io/llama2c.h"

#include <algorithm>

#include "io/fuzz_touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  if (size < 2) return 0;
  const auto rest = std::as_bytes(std::span(data, size)).subspan(2);
  const size_t n_tokenizer = std::min(rest.size(), size_t(data[0]) | size_t(data[1]) << 8);
  expect_value_or_error([&] {
    const ModelFile model = parse_llama2c(rest.subspan(n_tokenizer), rest.first(n_tokenizer));
    touch(model.tensors);
  });
  return 0;
}
