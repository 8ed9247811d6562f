// An answer from an empty context.
#include "hunch/generate.h"

#include "api/impl.h"

namespace hunch {

Generation generate(LanguageModel& model, std::span<const int32_t> prompt_ids, const GenerationOptions& options,
                    const OnText& on_text) {
  return impl_of(model)->fresh(choice_of(options)).generate(prompt_ids, options, on_text);
}

Generation generate(LanguageModel& model, std::string_view prompt, const GenerationOptions& options,
                    const OnText& on_text) {
  const std::vector<int32_t> ids = model.tokenize(prompt);
  return generate(model, std::span<const int32_t>(ids), options, on_text);
}

}  // namespace hunch
