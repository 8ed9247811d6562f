#include "io/align_tensors.h"

#include <cstring>

#include "base/aligned_buffer.h"

namespace hunch {

void align_tensors(std::vector<Tensor>& tensors, std::vector<std::shared_ptr<const void>>& owners) {
  for (Tensor& tensor : tensors) {
    const DTypeInfo& geometry = info(tensor.dtype);
    const bool plain = geometry.block_elems == 1;
    if (!plain || tensor.data.empty() || reinterpret_cast<uintptr_t>(tensor.data.data()) % geometry.block_bytes == 0)
      continue;
    auto copy = std::make_shared<AlignedBuffer>(tensor.data.size());
    std::memcpy(copy->data(), tensor.data.data(), tensor.data.size());
    tensor.data = copy->bytes();
    owners.push_back(std::move(copy));
  }
}

}  // namespace hunch
