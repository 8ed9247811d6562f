#include "train/parameters.h"

#include <algorithm>
#include <map>

#include "base/memory_info.h"

namespace hunch {
namespace {

// Gradients of different parameters begin on lines of their own.
size_t room_of(const Parameter& p) { return (p.size() + 15) / 16 * 16; }

}  // namespace

Parameter& Parameters::add(std::string name, size_t layer, size_t rows, size_t cols, bool decays) {
  require_memory(rows * cols * sizeof(float), "parameters to be trained");
  auto p = std::make_unique<Parameter>();
  p->name = std::move(name);
  p->layer = layer;
  p->decays = decays;
  p->memory = AlignedBuffer(rows * cols * sizeof(float));
  p->value = {p->memory.as<float>().data(), rows, cols};
  all.push_back(std::move(p));
  return *all.back();
}

void Parameters::allocate_gradients(GradientMemory memory) {
  std::map<size_t, size_t> used;  // floats, by layer
  size_t n_all = 0;
  for (const auto& p : all) used[p->layer] += room_of(*p), n_all += room_of(*p);
  size_t n_outside = used[Parameter::kNoLayer], n_layer = 0;
  for (const auto& [layer, n] : used)
    if (layer != Parameter::kNoLayer) n_layer = std::max(n_layer, n);
  const size_t n = memory == GradientMemory::kAll ? n_all : n_outside + n_layer;
  require_memory(n * sizeof(float), "gradients");
  gradients_ = AlignedBuffer(n * sizeof(float));
  const std::span<float> floats = gradients_.as<float>();
  std::map<size_t, size_t> at;  // where a layer's next one begins
  size_t next = 0;
  for (const auto& p : all) {
    size_t& begin = memory == GradientMemory::kAll ? next : at[p->layer];
    const size_t base = memory == GradientMemory::kAll || p->layer == Parameter::kNoLayer ? 0 : n_outside;
    p->grad = {floats.data() + base + begin, p->value.rows, p->value.cols};
    begin += room_of(*p);
  }
  zero_gradients();
}

void Parameters::zero_gradients() { std::ranges::fill(gradients_.as<float>(), 0.0f); }

void Parameters::zero_gradients(size_t layer) {
  for (const auto& p : all)
    if (p->layer == layer) std::ranges::fill(p->grads(), 0.0f);
}

size_t Parameters::n_values() const {
  size_t n = 0;
  for (const auto& p : all) n += p->size();
  return n;
}

}  // namespace hunch
