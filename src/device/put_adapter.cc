#include "device/put_adapter.h"

#include "base/error.h"
#include "device/put_weights.h"
#include "device/step_buffers.h"

namespace hunch {
namespace {

// Whether the processor computes it.
bool is_before(const LinearId& id, size_t first_layer) {
  return id.layer == LinearId::kNone ? id.role == Role::kEmbedding && first_layer > 0 : id.layer < first_layer;
}

}  // namespace

void DeviceAdapter::require(const Adapter& adapter, size_t first_layer, bool divides_neurons) {
  for (const auto& entry : adapter.parts) {
    const LinearId id = entry.first;
    const AdapterPart& part = entry.second;
    if (is_before(id, first_layer)) continue;
    const auto refuse = [&](const std::string& what) {
      fail(ErrorKind::kUnsupported, "devices do not compute the adapter '{}' (adapters): of {} it has {}", adapter.name,
           matrix_name(id), what);
    };
    if (id.role == Role::kEmbedding) refuse("rows of its own");
    if (divides_neurons && (id.role == Role::kGate || id.role == Role::kUp || id.role == Role::kDown))
      refuse("a part, whose neurons are divided with the processor (gpu_neurons)");
    if (part.replacement()) refuse("a whole matrix");
    if (!part.gain.empty()) refuse("magnitudes (DoRA)");
    if (part.rank() > kMostAdapterRank)
      refuse(fmt::format("a rank of {}, expected {} at most", part.rank(), kMostAdapterRank));
  }
}

DeviceAdapter::DeviceAdapter(const Adapter& adapter, size_t first_layer, std::shared_ptr<vulkan::Gpu> gpu)
    : adapter_(&adapter), owner_(adapter.weak_from_this()), arena_(gpu) {
  HUNCH_CHECK(!is_gone(), "an adapter that nobody shares");
  vulkan::Uploader uploader(gpu);
  for (const auto& [id, part] : adapter.parts)
    if (part.rank() > 0 && !is_before(id, first_layer))
      parts_.emplace(id, Part{put_matrix(part.A, uploader, arena_), put_matrix(part.B, uploader, arena_)});
}

}  // namespace hunch
