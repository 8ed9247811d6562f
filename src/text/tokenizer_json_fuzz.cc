// Arbitrary bytes as tokenizer.json: parsed and used, or refused with an Error; never a crash.
#include "base/error.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const hunch::Tokenizer tokenizer(hunch::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}));
    const auto ids =
        tokenizer.encode("Hello  w\xc3\xb6rld 123 <s>\xff\n", {.add_special = true, .parse_special = true});
    (void)tokenizer.decode(ids);
    hunch::Metadata meta;
    hunch::write_tokenizer_to_gguf(tokenizer.spec(), meta);
  } catch (const hunch::Error&) {
  }
  return 0;
}
