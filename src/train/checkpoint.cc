#include "train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "io/gguf.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr const char* kKind = "hunch-training";
constexpr const char* kPrefix = "hunch.training.";
constexpr const char* kSettingPrefix = "hunch.training.setting.";

struct Named {
  std::string name;
  std::span<float> values;
  std::span<uint8_t> bytes = {};  // instead of values

  DType dtype() const { return bytes.empty() ? DType::kF32 : DType::kI8; }
  size_t size() const { return std::max(values.size(), bytes.size()); }
  std::span<std::byte> memory() const {
    return bytes.empty() ? std::as_writable_bytes(values) : std::as_writable_bytes(bytes);
  }
};

// All vectors of a checkpoint, in its order.
std::vector<Named> vectors_of(const Parameters& parameters, const Optimizer* optimizer) {
  std::vector<Named> out;
  for (size_t i = 0; i < parameters.all.size(); ++i) {
    const Parameter& p = *parameters.all[i];
    out.push_back({p.name, p.values()});
    if (!optimizer) continue;
    const Optimizer::State& s = optimizer->states()[i];
    if (!s.first.empty()) out.push_back({p.name + ".first", s.first});
    if (!s.second.empty()) out.push_back({p.name + ".second", s.second});
    for (const auto& [name, packed] : {std::pair{".first", s.first_bytes.get()}, {".second", s.second_bytes.get()}}) {
      if (!packed) continue;
      out.push_back({p.name + name, {}, packed->codes()});
      out.push_back({p.name + name + ".largest", packed->largest()});
    }
  }
  return out;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const TrainSettings& settings, const TrainState& state,
                      const Parameters& parameters, const Optimizer* optimizer) {
  std::vector<TensorToWrite> tensors;
  for (const Named& v : vectors_of(parameters, optimizer)) {
    for (const float x : v.values)
      if (!std::isfinite(x))
        fail(ErrorKind::kFormat, "'{}' is no longer finite after step {}: found {}", v.name, state.step, x);
    tensors.push_back({v.name, v.dtype(), {v.size()}, [v]() -> std::span<const std::byte> { return v.memory(); }});
  }
  Metadata meta;
  meta.set("general.architecture", std::string(kKind));
  meta.set(std::string(kPrefix) + "step", uint64_t{state.step});
  meta.set(std::string(kPrefix) + "n_updates", uint64_t{optimizer ? optimizer->n_steps() : 0});
  std::vector<uint64_t> steps;
  std::vector<double> losses, held_out;
  for (const LossPoint& p : state.curve) {
    steps.push_back(p.step);
    losses.push_back(p.loss);
    held_out.push_back(p.held_out);
  }
  meta.set(std::string(kPrefix) + "curve.steps", MetaArray(steps));
  meta.set(std::string(kPrefix) + "curve.losses", MetaArray(losses));
  meta.set(std::string(kPrefix) + "curve.held_out", MetaArray(held_out));
  for (const auto& [name, value] : settings) meta.set(kSettingPrefix + name, value);
  write_gguf(path, meta, tensors);
}

namespace {

void check_settings(const Metadata& meta, const TrainSettings& settings) {
  for (const auto& [name, value] : settings) {
    const std::string theirs = meta.get_string(kSettingPrefix + name, "");
    if (theirs != value)
      fail(ErrorKind::kUsage, "it is of a run with {} {}, this one has {}", name,
           theirs.empty() ? "unknown" : printable(theirs), value);
  }
}

std::vector<double> doubles_of(const Metadata& meta, const char* name) {
  const MetaValue* value = meta.find(std::string(kPrefix) + name);
  const MetaArray* array = value ? std::get_if<MetaArray>(value) : nullptr;
  const auto* doubles = array ? std::get_if<std::vector<double>>(array) : nullptr;
  if (!doubles) fail(ErrorKind::kFormat, "its {} is no list of numbers", name);
  return *doubles;
}

}  // namespace

TrainState read_checkpoint(const std::filesystem::path& path, const TrainSettings& settings,
                           const Parameters& parameters, Optimizer* optimizer) {
  const ModelFile file = open_gguf(path);
  try {
    if (file.meta.get_string("general.architecture", "") != kKind)
      fail(ErrorKind::kFormat, "it is no checkpoint of hunch train");
    check_settings(file.meta, settings);
    for (const Named& v : vectors_of(parameters, optimizer)) {
      const Tensor& t = file.get(v.name);
      if (t.dtype != v.dtype() || t.n_elems() != v.size())
        fail(ErrorKind::kFormat, "its '{}' has {} values of {}, expected {} of {}", printable(t.name), t.n_elems(),
             name_of(t.dtype), v.size(), name_of(v.dtype()));
      std::ranges::copy(t.data, v.memory().begin());
    }
    TrainState state;
    state.step = file.meta.get_uint(std::string(kPrefix) + "step");
    if (optimizer) optimizer->set_n_steps(file.meta.get_uint(std::string(kPrefix) + "n_updates"));
    const std::vector<int64_t> steps = file.meta.get_ints(std::string(kPrefix) + "curve.steps");
    const std::vector<double> losses = doubles_of(file.meta, "curve.losses"),
                              held_out = doubles_of(file.meta, "curve.held_out");
    if (losses.size() != steps.size() || held_out.size() != steps.size())
      fail(ErrorKind::kFormat, "its curve has {} steps, {} losses and {} held-out losses", steps.size(), losses.size(),
           held_out.size());
    for (size_t i = 0; i < steps.size(); ++i) state.curve.push_back({size_t(steps[i]), losses[i], held_out[i]});
    return state;
  } catch (const Error& e) {
    fail(e.kind(), "the checkpoint {}: {}", path.string(), e.what());
  }
}

}  // namespace hunch
