#include "text/byte_alphabet.h"

#include "text/utf8.h"

namespace hunch {
namespace {

constexpr uint32_t kFirstStandIn = 0x100;
constexpr int kStandIns = 68;

constexpr bool stands_for_itself(int b) {
  return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

struct Alphabet {
  std::array<uint32_t, 256> chars{};           // byte -> code point
  std::array<uint8_t, kStandIns> stand_ins{};  // code point - 0x100 -> byte
  constexpr Alphabet() {
    int n = 0;
    for (int b = 0; b < 256; ++b) {
      if (stands_for_itself(b)) {
        chars[b] = b;
      } else {
        stand_ins[n] = static_cast<uint8_t>(b);
        chars[b] = kFirstStandIn + n++;
      }
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

uint32_t alphabet_char(uint8_t byte) { return kAlphabet.chars[byte]; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (char c : bytes) append_utf8(out, alphabet_char(static_cast<uint8_t>(c)));
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (step.status != Utf8Step::Status::kValid) return std::nullopt;
    const uint32_t cp = step.code_point;
    if (cp < 256 && stands_for_itself(static_cast<int>(cp))) {
      out += static_cast<char>(cp);
    } else if (cp >= kFirstStandIn && cp < kFirstStandIn + kStandIns) {
      out += static_cast<char>(kAlphabet.stand_ins[cp - kFirstStandIn]);
    } else {
      return std::nullopt;
    }
    i += step.n_bytes;
  }
  return out;
}

}  // namespace hunch
