#include "io/align_tensors.h"

#include <cstring>

#include "base/aligned_buffer.h"

namespace hunch {

void align_tensors(std::vector<Tensor>& tensors, std::vector<std::shared_ptr<const void>>& owners) {
  for (Tensor& tensor : tensors) {
    const bool aligned = reinterpret_cast<uintptr_t>(tensor.data.data()) % info(tensor.dtype).block_bytes == 0;
    if (!is_plain(tensor.dtype) || tensor.data.empty() || aligned) continue;
    auto copy = std::make_shared<AlignedBuffer>(tensor.data.size());
    std::memcpy(copy->data(), tensor.data.data(), tensor.data.size());
    tensor.data = copy->bytes();
    owners.push_back(std::move(copy));
  }
}

}  // namespace hunch
