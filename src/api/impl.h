// What a LanguageModel holds.
#pragma once
#include <memory>

#include "api/answering.h"
#include "api/choices.h"
#include "api/inside.h"

namespace hunch {

struct LanguageModel::Impl {
  Impl(Engine opened, const LoadOptions& load_options);

  LoadOptions options;
  Engine engine;
  ModelInfo info;
  Choices choices{engine};

  PlanKey plan_key(const ComputeChoice& choice) const;
  // Of a text that is computed so; n_ctx 0: the model's own. Throws as Choices, and as resolve_context().
  ContextOptions context_options(const ComputeChoice& choice, size_t n_ctx = 0);
  // The same for who wants the values of every token as decoding would compute it.
  ContextOptions options_for_values(const ComputeChoice& choice);
  // Empty, for a call that begins with nothing; valid until the next call.
  Answering& fresh(const ComputeChoice& choice);
  Context& fresh_for_values(const ComputeChoice& choice);
  // The sidecar in `path`, which was made for this model, is its own from now on.
  void use_sidecar(const std::filesystem::path& path);

 private:
  // Of the last calls, for the next ones that compute alike.
  std::unique_ptr<Answering> answering_;
  std::unique_ptr<Context> values_;
};

}  // namespace hunch
