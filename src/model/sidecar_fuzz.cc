#include "io/fuzz_touch.h"
#include "io/gguf.h"
#include "model/sidecar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  static Compute compute(1);
  expect_value_or_error([&] {
    const Sidecar sidecar = parse_sidecar(parse_gguf(std::as_bytes(std::span(data, size))));
    for (double density : {0.0, 0.3, 1.0}) sidecar.plan(ModelConfig(), density);
    for (const SidecarLayer& l : sidecar.layers)
      for (const Predictor* p : {l.neurons.get(), l.heads.groups.get()}) {
        if (!p || p->n_in() * 4 + p->n_out() > size) continue;
        std::vector<float> x(p->n_in(), 0.5f), scores(p->n_out());
        p->score(compute, {x.data(), 1, x.size()}, {scores.data(), 1, scores.size()});
      }
  });
  return 0;
}
