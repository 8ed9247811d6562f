// From adapters as files have them to what they add to each matrix of a model.
#pragma once
#include <memory>
#include <span>

#include "io/adapter.h"
#include "linear/adapter.h"
#include "model/model.h"

namespace hunch {

struct AdapterChoice {
  const AdapterFile* file;
  float scale = 1;  // how much of the difference between the adapted and the base model: 0 none, 1 all of it
};

// One or several adapters, whose differences add up, as one table for `model`; Model::adapt() lets runs use it. The
// norms of DoRA are computed here, of the weights as the model has them (quantised ones decoded).
//
// Throws, naming adapter and tensor, Error{kUnsupported} for what is no matrix of the model's products (norms,
// positions) and for adapters of another architecture, Error{kFormat} for shapes other than the model's, and
// Error{kUsage} for tensors that are saved whole and would have to be scaled or added up.
std::shared_ptr<const Adapter> bind_adapters(const Model& model, Compute& compute,
                                             std::span<const AdapterChoice> chosen);

}  // namespace hunch
