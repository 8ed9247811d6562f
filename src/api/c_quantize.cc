// The C API: quantising.
#include "api/c_common.h"
#include "hunch/quantize.h"

using namespace hunch::c;

namespace {

hunch_quantize_options quantize_defaults() {
  hunch_quantize_options o{};
  o.type = "q8_0";
  o.layout = "auto";
  return o;
}

hunch::QuantizeOptions quantize_options(const hunch_quantize_options* options) {
  const hunch_quantize_options c = take_sized(options, quantize_defaults());
  hunch::QuantizeOptions o;
  if (c.type) o.type = c.type;
  if (c.layout) o.layout = c.layout;
  o.importance = text_or_empty(c.importance);
  o.replace = c.replace != 0;
  o.n_threads = c.n_threads;
  if (c.on_progress)
    o.on_progress = [c](std::string_view what, uint64_t done, uint64_t total) {
      c.on_progress(std::string(what).c_str(), done, total, c.user);
    };
  o.cancel = cancel_of(c.cancel);
  return o;
}

}  // namespace

extern "C" {

void hunch_quantize_options_init_sized(hunch_quantize_options* options, size_t size) {
  give_sized(quantize_defaults(), options, size);
}

int hunch_quantize(const char* source, const char* output, const hunch_quantize_options* options,
                   double* bits_per_weight) {
  return guarded(-1, [&] {
    require(source && output, "hunch_quantize: a pointer is NULL");
    const hunch::Quantized made = hunch::quantize(source, output, quantize_options(options));
    if (bits_per_weight) *bits_per_weight = made.bits_per_weight;
    return 0;
  });
}

}  // extern "C"
