// From text to ids: special tokens, normalisation, pieces. See Tokenizer::encode for the contract.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hunch {

class Encoder {
 public:
  // `spec` has been checked for consistency; it outlives the encoder and does not move. `texts` is
  // token_texts(spec), needed for construction only.
  Encoder(const TokenizerSpec& spec, const std::vector<std::string>& texts);
  ~Encoder();

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace hunch
