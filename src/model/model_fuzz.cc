// A GGUF file as a model: its configuration, and its weights where they are few.
#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "model/architecture.h"
#include "model/unread_metadata.h"
#include "model/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  static Compute compute(1);
  expect_value_or_error([&] {
    const ModelFile file = parse_gguf(std::as_bytes(std::span(data, size)));
    unread_metadata(file);
    const ModelConfig config = config_from_gguf(file);
    // A table of positions is made, whatever the file's size.
    if (config.n_layer > 64 || config.n_ctx_train > 4096 || config.n_embd > 4096 || config.moe.n_expert > 256) return;
    load_weights(file, config, {}, compute);
  });
  return 0;
}
