// Arbitrary bytes as a SentencePiece model: parsed and used, or refused with an Error; never a crash.
#include "base/error.h"
#include "text/sentencepiece_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const hunch::Tokenizer tokenizer(hunch::parse_sentencepiece_model({reinterpret_cast<const char*>(data), size}));
    const auto ids =
        tokenizer.encode("Hello  w\xc3\xb6rld 123 <s>\xff\n", {.add_special = true, .parse_special = true});
    (void)tokenizer.decode(ids);
  } catch (const hunch::Error&) {
  }
  return 0;
}
