// From sampled ids to an answer: text made of whole characters, stop strings, limits and the callback.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/generate.h"

namespace hunch {

// Where a stop string begins, and how much of a text's end might still become one.
class StopStrings {
 public:
  explicit StopStrings(const std::vector<std::string>& stops) : stops_(stops) {}
  // Position of the first stop string in `text`, from there on, or npos; `which` is told of it.
  size_t find(const std::string& text, size_t from, std::string& which) const;
  // Length of the longest end of `text` that begins a stop string.
  size_t held_back(const std::string& text) const;

 private:
  const std::vector<std::string>& stops_;
};

// One answer in the making. However tokens are found, one by one or several in a verified draft, each
// passes here in order, so that both ways of decoding stop at the same token with the same text.
class Emission {
 public:
  using OnToken = std::function<bool(const GeneratedToken&)>;

  // `n_before`: tokens that the context will hold before the answer. All references must outlive this.
  Emission(const Engine& engine, const GenerateOptions& options, const OnToken& on_token, size_t n_before,
           size_t n_ctx);
  // The text begins with the answer (after nothing but control tokens): its first word loses its space.
  void begin_text(bool begins);

  // Takes the next id, drawn from `logits` [n_vocab]. False when the answer is complete: the reason is
  // in `out`, and a token of end-of-text, or a control token that is a stop string, is then not among its ids.
  // `layers`: GeneratedToken::layers.
  bool take(int32_t id, std::span<const float> logits, std::span<const LayerUse> layers = {});
  // More tokens that may be asked for: 0 when the limit is reached (then `out` has the reason).
  size_t n_left();
  // Hands out the text that was held back. Called once, after the last take().
  void finish();

  Generated out;

 private:
  bool is_stop(int32_t id) const;
  void show(GeneratedToken token, size_t n_bytes);

  const GenerateOptions& options_;
  const OnToken& on_token_;
  const Compute& compute_;
  const Tokenizer* tokenizer_;
  std::optional<StreamDecoder> decoder_;
  StopStrings stops_;
  size_t n_before_, n_ctx_;
  size_t n_shown_ = 0;  // bytes of out.text that were handed to on_token
  bool stopped_ = false;
};

}  // namespace hunch
