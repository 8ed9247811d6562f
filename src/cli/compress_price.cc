#include "cli/compress_price.h"

#include "cli/console.h"
#include "measure/perplexity.h"

namespace hunch::cli {

double perplexity_of(const Engine& engine, const std::string& text, const ModelFlags& flags) {
  ProgressBar bar(!flags.quiet);
  return perplexity(engine, {}, engine.encode(text), {}, bar.progress()).perplexity;
}

}  // namespace hunch::cli
