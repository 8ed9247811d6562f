// An adapter's matrices on a device: a pair of products beside those of the model's own.
#pragma once
#include <map>

#include "linear/adapter.h"
#include "vulkan/kernels.h"

namespace hunch {

class DeviceAdapter {
 public:
  struct Part {
    vulkan::Matrix A, B;  // [rank, n_in], [n_out, rank]
  };

  // Copies the parts of layers [first_layer, ...) and of the output. `adapter` belongs to a shared_ptr, and require()
  // does not refuse it. Throws Error{kMemory}.
  DeviceAdapter(const Adapter& adapter, size_t first_layer, std::shared_ptr<vulkan::Gpu> gpu);

  // Throws Error{kUnsupported} naming the first part that is more than a product of two matrices.
  static void require(const Adapter& adapter, size_t first_layer, bool divides_neurons);
  // Whether it is this one's; and whether nobody has that one any more.
  bool is(const Adapter& adapter) const { return &adapter == adapter_ && !is_gone(); }
  bool is_gone() const { return owner_.expired(); }

  const Part* find(LinearId id) const {
    const auto it = parts_.find(id);
    return it == parts_.end() ? nullptr : &it->second;
  }
  uint64_t bytes() const { return arena_.bytes(); }

 private:
  const Adapter* adapter_;
  std::weak_ptr<const Adapter> owner_;
  vulkan::DeviceArena arena_;
  std::map<LinearId, Part> parts_;
};

}  // namespace hunch
