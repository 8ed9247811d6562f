#include "synth/vocab.h"

#include "base/error.h"
#include "text/space_mark.h"

namespace hunch {
namespace {

constexpr std::string_view kConsonants = "bdfghjklmnprstvz";
constexpr std::string_view kVowels = "aeio";
static_assert(kConsonants.size() * kVowels.size() == kSynthSyllables && kConsonants.size() + kVowels.size() == 20);

std::string syllable(size_t i) { return {kConsonants[i / kVowels.size()], kVowels[i % kVowels.size()]}; }

}  // namespace

std::string synth_word(size_t id) {
  HUNCH_CHECK(id >= kFirstSynthWord && id < kMaxSynthVocab, "token {} is no word", id);
  size_t word = id - kFirstSynthWord, n_syllables = 1;
  for (size_t n_words = kSynthSyllables; word >= n_words; n_words *= kSynthSyllables, ++n_syllables) word -= n_words;
  // The first syllable changes fastest: a vocabulary cut anywhere has as many words of each.
  std::string out;
  for (; n_syllables > 0; --n_syllables, word /= kSynthSyllables) out += syllable(word % kSynthSyllables);
  return out;
}

TokenizerSpec synth_tokenizer(size_t n_vocab) {
  HUNCH_CHECK(n_vocab >= kMinSynthVocab && n_vocab <= kMaxSynthVocab, "a vocabulary of {}", n_vocab);
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kSentencePieceBpe;
  const auto add = [&](std::string piece, TokenType type) {
    spec.scores.push_back(type == TokenType::kNormal ? -float(spec.pieces.size()) : 0.0f);
    spec.pieces.push_back(std::move(piece));
    spec.types.push_back(type);
  };
  add("<unk>", TokenType::kUnknown);
  add("<s>", TokenType::kControl);
  add("</s>", TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), TokenType::kByte);
  add(std::string(kSpaceMark), TokenType::kNormal);
  for (std::string_view letters : {kConsonants, kVowels})
    for (char letter : letters) add(std::string(1, letter), TokenType::kNormal);
  for (size_t i = 0; i < kSynthSyllables; ++i) add(syllable(i), TokenType::kNormal);
  while (spec.pieces.size() < n_vocab)
    add(std::string(kSpaceMark) + synth_word(spec.pieces.size()), TokenType::kNormal);
  spec.unk = 0;
  spec.bos = 1;
  spec.eos = 2;
  spec.add_bos = true;
  spec.add_space_prefix = true;
  spec.byte_fallback = true;
  return spec;
}

}  // namespace hunch
