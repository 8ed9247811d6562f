// The input is a GGUF adapter, or the config's size (uint16), adapter_config.json, and a safetensors file.
#include "io/adapter.h"

#include <algorithm>

#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "io/safetensors.h"

namespace hunch {
namespace {

void touch(const AdapterFile& adapter) {
  for (const AdapterMatrix& m : adapter.matrices) {
    HUNCH_CHECK(m.A.size() == m.rank * m.n_in && m.B.size() == m.n_out * m.rank && !m.A.empty() && !m.B.empty());
    HUNCH_CHECK(m.magnitude.empty() || m.magnitude.size() == m.n_out);
  }
  for (const ReplacedTensor& replaced : adapter.replaced) {
    size_t n = 1;
    for (uint64_t d : replaced.shape) n *= d;
    HUNCH_CHECK(replaced.values.size() == n);
  }
}

}  // namespace
}  // namespace hunch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  if (size < 2) return 0;
  const auto all = std::as_bytes(std::span(data, size)), rest = all.subspan(2);
  expect_value_or_error([&] {
    if (data[0] == 'G' && data[1] == 'G') return touch(parse_gguf_adapter(parse_gguf(all)));
    const size_t n_config = std::min(rest.size(), size_t(data[0]) | size_t(data[1]) << 8);
    const std::string_view config(reinterpret_cast<const char*>(rest.data()), n_config);
    touch(parse_peft_adapter(config, parse_safetensors(rest.subspan(n_config))));
  });
  return 0;
}
