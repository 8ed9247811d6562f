#include "measure/sidecar_price.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "measure/home_json.h"
#include "measure/perplexity.h"
#include "model/fingerprint.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

constexpr char kFile[] = "prices.json";

std::optional<SidecarPrice> cached(const std::string& key) {
  const auto json = read_home_json(kFile);
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->size() != 3) return std::nullopt;
  for (const auto& v : *found)
    if (!v.is_number()) return std::nullopt;
  return SidecarPrice{(*found)[0], (*found)[1], (*found)[2]};
}

void keep(const std::string& key, const SidecarPrice& price) {
  auto json = read_home_json(kFile);
  json[key] = {price.perplexity_dense, price.perplexity_sparse, price.n_tokens};
  write_home_json(kFile, json);
}

}  // namespace

std::optional<SidecarPrice> sidecar_price(const Engine& engine) {
  // About as much arithmetic for every model, some seconds.
  constexpr double kParameterTokens = 2e11;
  std::span<const int32_t> ids = engine.need_sidecar().quality.ids;
  const double n_params = double(engine.model->weights().n_params);
  ids = ids.first(std::min(ids.size(), std::max<size_t>(64, size_t(kParameterTokens / std::max(n_params, 1.0)))));
  const auto known_token = [&](int32_t id) { return size_t(id) < engine.config().n_vocab; };
  if (ids.size() < 2 || !std::ranges::all_of(ids, known_token)) return std::nullopt;
  std::error_code ec;
  const std::string key = fmt::format("{} {} {}", tensor_fingerprint(engine.model->file()).substr(0, 32),
                                      engine.sidecar->base.fingerprint.substr(0, 32),
                                      fs::last_write_time(engine.sidecar_path, ec).time_since_epoch().count());
  if (const auto known = cached(key)) return known;
  const auto of = [&](const char* mode) {
    ContextOptions context;
    context.mode = mode;
    context.decodes_all = true;
    WindowOptions whole;
    whole.n_ctx = std::min<size_t>(engine.config().n_ctx_train, ids.size());
    whole.stride = whole.n_ctx;
    return perplexity(engine, context, ids, whole);
  };
  const Perplexity dense = of("dense"), sparse = of("sparse");
  const SidecarPrice price{dense.perplexity, sparse.perplexity, dense.n_tokens};
  try {
    keep(key, price);
  } catch (const Error&) {
    // Then it is measured again the next time.
  }
  return price;
}

}  // namespace hunch
