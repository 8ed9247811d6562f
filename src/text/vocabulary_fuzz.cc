// Vocabularies of older kinds, by the first byte: tiktoken's ranks, WordPiece's lines, or vocab.json, a zero byte and
// merges.txt.
#include <algorithm>

#include "base/error.h"
#include "text/tiktoken.h"
#include "text/vocab_merges.h"
#include "text/wordpiece.h"

namespace {

hunch::TokenizerSpec parse(uint8_t kind, std::string_view text) {
  if (kind % 3 == 0) return hunch::parse_tiktoken(text);
  if (kind % 3 == 1) return hunch::parse_wordpiece_vocab(text);
  const size_t end = std::min(text.find('\0'), text.size());
  return hunch::parse_vocab_and_merges(text.substr(0, end), text.substr(std::min(end + 1, text.size())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  hunch::is_tiktoken(text);
  try {
    const hunch::Tokenizer tokenizer(parse(data[0], text));
    (void)tokenizer.decode(tokenizer.encode("Hello  w\xc3\xb6rld 123 [CLS]\xff\n", {.parse_special = true}));
  } catch (const hunch::Error&) {
  }
  return 0;
}
