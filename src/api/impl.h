// What a LanguageModel holds.
#pragma once
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "api/answering.h"
#include "hunch/model.h"

namespace hunch {

struct LanguageModel::Impl {
  LoadOptions options;
  Engine engine;
  ModelInfo info;

  // Plans are made once: sessions know the ones that they were computed with by their addresses. Throws as
  // Engine::plan_named(), open_sidecar() and check_sidecar().
  std::shared_ptr<const Plan> plan(const PlanChoice& choice);
  // Of the choice, or the model's own.
  ContextOptions context_options(const std::optional<PlanChoice>& choice, size_t n_ctx = 0);
  // Empty, for a call that begins with nothing; valid until the next call.
  Answering& fresh(const std::optional<PlanChoice>& choice);
  // The same for who wants the values of every token as decoding would compute it.
  Context& fresh_for_values(const std::optional<PlanChoice>& choice);
  // The sidecar in `path`, which was made for this model, is its own from now on.
  void use_sidecar(const std::filesystem::path& path);

 private:
  std::vector<std::pair<PlanChoice, std::shared_ptr<const Plan>>> plans_;
  // Of the last calls, for the next ones with the same plans.
  std::unique_ptr<Answering> answering_;
  std::unique_ptr<Context> values_;
};

}  // namespace hunch
