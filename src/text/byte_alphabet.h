// GPT-2's byte alphabet: each byte as one visible character, so that byte-level vocabularies can be
// stored as text. Printable Latin-1 stands for itself; the other 68 bytes are U+0100, U+0101, ... in order.
// Source: Radford et al. 2019, the released encoder.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hunch {

// The character that stands for `byte`, as a code point.
uint32_t alphabet_char(uint8_t byte);

// Bytes -> characters of the alphabet, in UTF-8.
std::string to_byte_alphabet(std::string_view bytes);

// The inverse; nullopt when the text holds a character that is not of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace hunch
