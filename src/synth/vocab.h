// A made-up vocabulary: words of two-letter syllables ("bako", "timuve") over a SentencePiece alphabet with
// byte fallback, so that each word of a text is one token, in hunch's tokenizer and in llama.cpp's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace hunch {

constexpr size_t kSynthSyllables = 64;
// Special tokens, bytes, letters and syllables; words come after them.
constexpr size_t kFirstSynthWord = 3 + 256 + 1 + 20 + kSynthSyllables;
constexpr size_t kMinSynthVocab = kFirstSynthWord + kSynthSyllables;
constexpr size_t kMaxSynthVocab = kFirstSynthWord + kSynthSyllables * (1 + kSynthSyllables * (1 + kSynthSyllables));

// The word of token id >= kFirstSynthWord, without a space: one syllable, two, or three.
std::string synth_word(size_t id);

// n_vocab tokens: <unk>, <s>, </s>, the bytes, the space mark, letters, syllables, words. Scores fall with the
// id, and every word's beginning is a word, so that merges reach each word and nothing else.
TokenizerSpec synth_tokenizer(size_t n_vocab);

}  // namespace hunch
