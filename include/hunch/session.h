// A text that is kept between calls: what was computed of it is not computed again.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::Session session(model);
//   hunch::GenerationOptions options;
//   options.n_tokens = 32;
//   std::cout << session.generate("Once upon a time", options).text;
//   std::cout << session.generate(" Then the rabbit", options).text << '\n';  // the story goes on
//   session.truncate(5);                                                      // back to its first words
//
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/generate.h"

namespace hunch {

struct SessionOptions {
  std::size_t n_ctx = 0;  // most tokens; 0: the model's own (LoadOptions::n_ctx)
  // Not said: the model's own (LoadOptions).
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
};

// One call at a time for all that belongs to a model. Keeps its model loaded.
class Session {
 public:
  // Throws Error{kMemory} where the cache does not fit, Error{kLimit} for more tokens than the model has positions.
  explicit Session(LanguageModel& model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Reads the text and answers; both are then part of the session. An empty text goes on where the answer ended. A
  // plan, router and adapters in `options` are those of this answer. On an error the session is as it was. Throws as
  // generate(), and Error{kUsage} for another key policy than the session's.
  Generation generate(std::string_view text, const GenerationOptions& options = {}, const OnText& on_text = {});
  Generation generate(std::span<const std::int32_t> ids, const GenerationOptions& options = {},
                      const OnText& on_text = {});
  // Reads only, so that the next answer begins sooner.
  void read(std::string_view text);
  void read(std::span<const std::int32_t> ids);
  // Forgets all but the first n tokens. Where a key policy has dropped some of these, they are read again with the next
  // answer.
  void truncate(std::size_t n_tokens);

  std::span<const std::int32_t> ids() const;  // texts and answers; valid until the next call
  std::size_t n_ctx() const;                  // most tokens of both together

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch
