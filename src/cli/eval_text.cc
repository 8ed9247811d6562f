#include "cli/eval_text.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/page_text.h"

namespace hunch::cli {

WindowOptions window_options(const EvalFlags& flags, const Engine& engine) {
  WindowOptions options{flags.context.n_ctx, flags.stride, flags.max_tokens};
  if (options.n_ctx == 0) options.n_ctx = std::min<size_t>(engine.config().n_ctx_train, 2048);
  if (flags.protocol == "gptq" || flags.protocol == "llama.cpp") {
    if (flags.stride && flags.stride != options.n_ctx)
      fail(ErrorKind::kUsage, "--protocol {} has windows that follow one another: --stride is {}, expected {} or none",
           flags.protocol, flags.stride, options.n_ctx);
    options.stride = options.n_ctx;
  }
  if (flags.protocol == "llama.cpp" || (flags.protocol.empty() && flags.stride == options.n_ctx))
    options.protocol = WindowProtocol::kSecondHalves;
  return options;
}

PerplexityChange perplexity_change(const CompareRow& row) {
  const double ratio = std::exp(row.nll_delta);
  return {ratio - 1, ratio * row.nll_delta_stderr};
}

nlohmann::ordered_json row_json(const CompareRow& row) {
  const PerplexityChange change = perplexity_change(row);
  nlohmann::ordered_json json = {{"perplexity", row.perplexity},
                                 {"perplexity_stderr", row.perplexity * row.nll_stderr},
                                 {"perplexity_change", change.value},
                                 {"perplexity_change_stderr", change.error},
                                 {"kl", row.kl},
                                 {"top1", row.top1},
                                 {"density_mlp", row.density_mlp},
                                 {"density_heads", row.density_heads},
                                 {"density_mlp_per_layer", row.density_per_layer},
                                 {"bytes_per_token", row.bytes_per_token},
                                 {"kv_bytes_per_token", row.kv_bytes_per_token}};
  if (!row.rank_bytes_per_token.empty()) json["bytes_per_token_by_rank"] = row.rank_bytes_per_token;
  if (row.pages.n_choices) json["pages"] = pages_json(row.pages);
  json["tokens_per_s"] = row.speed_is_real ? nlohmann::ordered_json(row.tokens_per_s) : nlohmann::ordered_json();
  if (row.lossless) {
    json["tokens_per_pass"] = row.tokens_per_pass;
    json["acceptance"] = row.acceptance;
  }
  return json;
}

}  // namespace hunch::cli
