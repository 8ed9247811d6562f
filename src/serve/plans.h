// How much of the model an answer computes, as requests name it: each plan made once, since texts are only reused where
// the same one computed them.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"

namespace hunch::serve {

class Plans {
 public:
  // `mode` and `density` are those of requests that say nothing. The engine outlives it.
  Plans(const Engine& engine, std::string mode, double density);

  // Any thread's. Throws RequestError{400} for sparse mode of a model without a sidecar.
  std::shared_ptr<const Plan> plan(const std::string& mode, double density);
  std::shared_ptr<const Plan> plan() { return plan(mode_, density_); }

 private:
  struct Made {
    std::string mode;
    double density;
    std::shared_ptr<const Plan> plan;
  };
  const Engine& engine_;
  const std::string mode_;
  const double density_;
  std::mutex mutex_;
  std::list<Made> made_;  // the one that was used last at the end
};

}  // namespace hunch::serve
