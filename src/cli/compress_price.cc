#include "cli/compress_price.h"

#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/session_io.h"
#include "measure/perplexity.h"

namespace hunch::cli {

double price_before(const Engine& engine, const CompressFlags& flags, const std::string& text) {
  if (flags.eval.empty()) return 0;
  ProgressBar bar(!flags.model.quiet);
  return perplexity(engine, {}, engine.encode(text), {}, bar.progress()).perplexity;
}

double price_after(const CompressFlags& flags, const std::string& text) {
  if (flags.eval.empty()) return 0;
  ModelFlags small = flags.model;
  small.model = flags.out;
  return price_before(open_engine(small), flags, text);
}

void put_price(const CompressPrice& price, nlohmann::ordered_json& json) {
  if (price.after > 0) json["perplexity_before"] = price.before, json["perplexity"] = price.after;
}

void print_price(const CompressPrice& price) {
  if (price.after > 0)
    print(fmt::format("perplexity {:.4f}, {:.4f} before ({:+.2f} %)\n", price.after, price.before,
                      100 * (price.after / price.before - 1)));
}

}  // namespace hunch::cli
