// What of a model has room on a device.
#pragma once
#include "model/model.h"

namespace hunch {

// Bytes of a device that its last `n_layers` layers take there, with the logits and a context of n_ctx tokens in f16.
// Throws Error{kUnsupported} naming the matrix that devices do not compute.
uint64_t bytes_on_device(const Model& model, size_t n_layers, size_t n_ctx);

// The share of their MLPs' weights that fit into so many bytes, where all else of these layers does; below 0: not even
// that.
double neurons_that_fit(const Model& model, size_t n_layers, uint64_t bytes, size_t n_ctx);

// The most of the last layers that fit into so many bytes like that; 0: not even one.
size_t layers_that_fit(const Model& model, uint64_t bytes, size_t n_ctx);

}  // namespace hunch
