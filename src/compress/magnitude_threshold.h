// The weight below which a share of all weights of a model lies: for pruning by magnitude over all matrices together.
#pragma once
#include <span>

#include "engine/engine.h"

namespace hunch {

// The |w| that int(n * share) of all n weights of the matrices with these roles are below, as prune_matrix() says it of
// one matrix: what does not exceed it goes. Exact, by two passes over the model in which only counts are kept (1 MB).
// Throws Error{kFormat} for a weight that is not finite, Error{kInterrupted}.
float magnitude_threshold(const Engine& engine, std::span<const Role> roles, double share);

}  // namespace hunch
