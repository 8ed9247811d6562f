// What happens to a text before it is cut into pieces: Unicode normalisation forms, replacements,
// SentencePiece's table and its handling of white space.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/charsmap.h"
#include "text/regex.h"
#include "text/tokenizer.h"

namespace hunch {

class Normalizer {
 public:
  // Throws Error{kUnsupported | kFormat} for a pattern or charsmap that cannot be used.
  explicit Normalizer(const TokenizerSpec& spec);

  // `text` is valid UTF-8; so is the result.
  std::string normalize(std::string_view text) const;
  bool is_identity() const { return !nfc_ && steps_.empty() && charsmap_.empty() && !squeeze_; }

 private:
  struct Step {
    NormalizerStep what;
    std::optional<Regex> regex;
  };
  bool nfc_;
  std::vector<Charsmap> charsmap_;  // none or one
  std::vector<Step> steps_;
  bool squeeze_;  // remove_extra_whitespaces
};

}  // namespace hunch
