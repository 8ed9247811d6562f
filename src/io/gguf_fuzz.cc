#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "io/int8_tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  expect_value_or_error([&] {
    const ModelFile model = parse_gguf(std::as_bytes(std::span(data, size)));
    touch(model.tensors);
    for (const Tensor& t : model.tensors)
      if (is_int8(model, t))
        expect_value_or_error([&] {
          std::vector<float> row(t.cols());
          Int8Tensor(model, t).decode(t.rows() - 1, row);
        });
    for (const std::string& key : model.meta.keys()) {
      expect_value_or_error([&] { model.meta.get_uint(key); });
      expect_value_or_error([&] { model.meta.get_floats(key); });
      expect_value_or_error([&] { model.meta.get_ints(key); });
      expect_value_or_error([&] { model.meta.get_strings(key); });
      expect_value_or_error([&] { model.get(key); });
    }
  });
  return 0;
}
