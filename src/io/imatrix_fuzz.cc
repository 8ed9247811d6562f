#include "io/imatrix.h"

#include "io/fuzz_touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  expect_value_or_error([&] {
    const ImportanceMatrix matrix = parse_imatrix(std::as_bytes(std::span(data, size)));
    for (const auto& [name, entry] : matrix.entries) {
      HUNCH_CHECK(entry.sums.size() == entry.n_matrices() * entry.n_columns && entry.n_matrices() > 0);
      for (size_t m = 0; m < entry.n_matrices(); ++m)
        for (const float mean : entry.means(m)) HUNCH_CHECK(mean >= 0);
    }
  });
  return 0;
}
