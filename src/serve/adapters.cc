#include "serve/adapters.h"

#include <algorithm>

#include "serve/fields.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostLoaded = 16;  // clients may ask for any scale

bool is_nothing(const Scales& scales) {
  return std::ranges::all_of(scales, [](float scale) { return scale == 0; });
}

}  // namespace

Adapters::Adapters(Engine& engine, std::vector<AdapterSource> sources) : engine_(engine), sources_(std::move(sources)) {
  for (size_t i = 0; i < sources_.size(); ++i) {
    std::filesystem::path path = sources_[i].path;
    if (!path.has_filename()) path = path.parent_path();
    names_.push_back(path.filename().string());
    default_.push_back(sources_[i].scale);
    Scales alone(sources_.size());
    alone[i] = sources_[i].scale == 0 ? 1 : sources_[i].scale;
    load(alone);
  }
  load(default_);
}

Scales Adapters::by_default() const {
  const std::lock_guard lock(mutex_);
  return default_;
}

void Adapters::set_default(Scales scales) {
  const std::lock_guard lock(mutex_);
  default_ = std::move(scales);
}

Scales Adapters::read(const Json& value, const std::string& param) const {
  Scales scales(size());
  if (value.is_string()) {
    if (value == "none") return scales;
    const auto found = std::ranges::find(names_, value.get<std::string>());
    if (found == names_.end())
      refuse(
          param, "there is no adapter '{}', expected {}", value.get<std::string>(),
          names_.empty() ? "none: the server was started without --lora" : fmt::format("{}", fmt::join(names_, ", ")));
    scales[size_t(found - names_.begin())] = sources_[size_t(found - names_.begin())].scale;
    return scales;
  }
  if (!value.is_array())
    refuse(param, "'{}' is of type {}, expected a list of {{\"id\", \"scale\"}} or a name", param, value.type_name());
  for (const Json& entry : value) {
    if (!entry.is_object() || !entry.contains("id"))
      refuse(param, "'{}' has an entry without an id, expected {{\"id\", \"scale\"}}", param);
    if (size() == 0) refuse(param, "the server was started without adapters (--lora)");
    const Fields f(entry, param + ".");
    scales[size_t(f.integer("id", 0, 0, int64_t(size()) - 1))] = float(f.number("scale", 1, -1000, 1000));
  }
  return scales;
}

Json Adapters::shown() const {
  const Scales scales = by_default();
  Json out = Json::array();
  for (size_t i = 0; i < size(); ++i) out.push_back({{"id", i}, {"path", names_[i]}, {"scale", scales[i]}});
  return out;
}

std::optional<std::shared_ptr<const Adapter>> Adapters::find(const Scales& scales) {
  if (is_nothing(scales)) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(loaded_, scales, &Loaded::first);
  if (found == loaded_.end()) return std::nullopt;
  loaded_.splice(loaded_.end(), loaded_, found);
  return found->second;
}

std::shared_ptr<const Adapter> Adapters::default_adapter() {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(loaded_, default_, &Loaded::first);
  return found == loaded_.end() ? nullptr : found->second;
}

std::shared_ptr<const Adapter> Adapters::load(const Scales& scales) {
  if (const auto found = find(scales)) return *found;
  std::vector<AdapterSource> chosen;
  for (size_t i = 0; i < size(); ++i)
    if (scales[i] != 0) chosen.push_back({sources_[i].path, scales[i]});
  std::shared_ptr<const Adapter> adapter = engine_.load_adapter(chosen);
  const std::lock_guard lock(mutex_);
  if (loaded_.size() >= kMostLoaded)
    loaded_.erase(std::ranges::find_if(loaded_, [&](const Loaded& loaded) { return loaded.first != default_; }));
  loaded_.emplace_back(scales, adapter);
  return adapter;
}

}  // namespace hunch::serve
