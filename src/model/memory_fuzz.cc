#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "model/memory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  static Compute compute(1);
  expect_value_or_error([&] {
    const Memory memory = parse_memory(parse_gguf(std::as_bytes(std::span(data, size))));
    for (const auto& heads : memory.layers)
      for (const MemoryHead& head : heads) {
        std::vector<float> q(head.keys.cols, 0.5f), out(head.values.cols);
        const float max = 0, sum = 1;
        attend_memory(compute, {q.data(), 1, q.size()}, head, {.top = 3}, {{&max, 1}, {&sum, 1}},
                      {out.data(), 1, out.size()});
      }
  });
  return 0;
}
