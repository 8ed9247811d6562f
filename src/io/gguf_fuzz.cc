#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "io/int8_tensor.h"
#include "io/ordered_tensors.h"
#include "io/sparse_tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  expect_value_or_error([&] {
    const ModelFile model = parse_gguf(std::as_bytes(std::span(data, size)));
    touch(model.tensors);
    for (const Tensor& t : model.tensors) {
      if (is_int8(model, t))
        expect_value_or_error([&] {
          const Int8Tensor codes(model, t);  // which has rows, and so no more columns than bytes
          std::vector<float> row(t.cols());
          codes.decode(t.rows() - 1, row);
        });
      if (!ordered_name(t.name).empty()) expect_value_or_error([&] { read_input_order(model, t); });
      if (const auto name = masked_name(t.name))
        expect_value_or_error([&] {
          const SparseTensor sparse = read_sparse(model, *name);
          std::vector<float> row(sparse.rows.rows ? sparse.rows.cols : 0);
          for (size_t r = 0; r < sparse.rows.rows; ++r)
            decode_sparse_row(sparse.rows, r, sparse.rows.values + sparse.offsets[r], row.data());
        });
    }
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
