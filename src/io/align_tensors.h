// Tensors that lie at odd addresses in their file, moved to where kernels may read them.
#pragma once
#include "io/model_file.h"

namespace hunch {

// Copies the data of every tensor of a plain dtype whose address is not a multiple of its element
// size into a buffer that is added to `owners`; the other tensors stay where they are.
void align_tensors(std::vector<Tensor>& tensors, std::vector<std::shared_ptr<const void>>& owners);

}  // namespace hunch
