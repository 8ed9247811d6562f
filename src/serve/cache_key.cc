#include "serve/cache_key.h"

#include <fmt/ranges.h>

#include "base/sha256.h"
#include "formats/format.h"
#include "model/fingerprint.h"

namespace hunch::serve {

std::string cache_key(const ModelFile& model, const KvShape& shape) {
  std::string key = fmt::format("{} {} {}", tensor_fingerprint(model), vector_fingerprint(model), name_of(shape.type));
  for (const KvHeads& heads : shape.layers) key += fmt::format(" {}x{}", heads.n_kv_head, heads.d_head);
  for (const RecurrentSize& size : shape.recurrent) key += fmt::format(" {}", size.n_state);
  const std::string own = model.meta.get_string("general.architecture", "") + ".";
  for (const std::string& name : model.meta.keys()) {
    if (!name.starts_with(own)) continue;
    key += fmt::format("\n{} ", name);
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, MetaArray>) {
            std::visit([&](const auto& values) { key += fmt::format("{}", fmt::join(values, " ")); }, value);
          } else {
            key += fmt::format("{}", value);
          }
        },
        *model.meta.find(name));
  }
  return sha256_hex(std::as_bytes(std::span(key)));
}

}  // namespace hunch::serve
