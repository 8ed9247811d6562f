// The LoRA adapters that a server was started with (docs/adapters.md), and the sums of them that requests ask for, each
// loaded once: texts are only reused where the same one computed them.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "serve/json.h"

namespace hunch::serve {

// A share of each adapter, by its number.
using Scales = std::vector<float>;

class Adapters {
 public:
  // Loads each of them by itself, so that later none makes the model's matrices anew. The engine outlives it. Throws as
  // Engine::load_adapter().
  Adapters(Engine& engine, std::vector<AdapterSource> sources);

  size_t size() const { return sources_.size(); }
  // The scales of requests that name none: those of the start, or what set_default() said. Any thread's.
  Scales by_default() const;
  void set_default(Scales scales);
  // What requests write: a list of {"id", "scale"}, where adapters that are not named have scale 0, or the name of the
  // one that is meant, at the scale of the start, or "none". Throws RequestError{400} that names `param`.
  Scales read(const Json& value, const std::string& param) const;
  // As llama.cpp's /lora-adapters: a list of {"id", "path", "scale"}; of the path the last part.
  Json shown() const;

  // The sum at these scales (none: the model as it is) where it was loaded already; that of the default always is.
  std::optional<std::shared_ptr<const Adapter>> find(const Scales& scales);
  std::shared_ptr<const Adapter> default_adapter();
  // Loads it where it was not: between two steps, on the model's threads. Throws as Engine::load_adapter().
  std::shared_ptr<const Adapter> load(const Scales& scales);

 private:
  Engine& engine_;
  std::vector<AdapterSource> sources_;
  std::vector<std::string> names_;
  mutable std::mutex mutex_;
  Scales default_;
  using Loaded = std::pair<Scales, std::shared_ptr<const Adapter>>;
  std::list<Loaded> loaded_;  // the one that was used last at the end
};

}  // namespace hunch::serve
