// What keys and values are cached as: a format, or a format with something done to the values first.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/dtype.h"

namespace hunch {

struct KvType {
  DType dtype = DType::kF32;  // of rows; of kivi: of the newest tokens
  // Rows are multiplied by a Hadamard matrix before they are rounded (kernels/hadamard.h), which spreads outliers over
  // their neighbours (Ashkboos et al. 2024, "QuaRot", section 4): scores are the same where queries are rotated too.
  bool rotated = false;
  // KIVI (Liu et al. 2024, arXiv:2402.02750): codes of so many bits, of keys by channel in groups of tokens, of values
  // by token; 0: no groups.
  uint8_t bits = 0;

  constexpr KvType() = default;
  constexpr KvType(DType type) : dtype(type) {}
  static constexpr KvType rotated_of(DType type) {
    KvType t(type);
    t.rotated = true;
    return t;
  }
  static constexpr KvType kivi(uint8_t bits) {
    KvType t(DType::kF16);
    t.bits = bits;
    return t;
  }

  bool grouped() const { return bits > 0; }
  friend bool operator==(const KvType&, const KvType&) = default;
};

constexpr size_t kKvGroup = 32;  // tokens that share a key channel's scale, and channels that share a value's

// "f16", "q4_0", "q4_0-rot", "kivi-2": as `--kv` says it.
std::string name_of(const KvType& type);
std::optional<KvType> kv_type_from_name(std::string_view name);
std::vector<std::string> kv_type_names();

// Values of a head are a multiple of these.
size_t kv_block(const KvType& type);
// Bytes that a token's keys, and its values, take in one head of d_head: where keys have groups, their share.
size_t kv_key_bytes(const KvType& type, size_t d_head);
size_t kv_value_bytes(const KvType& type, size_t d_head);
// Throws Error{kUnsupported} naming the type and the head where they do not fit.
void check_kv_type(const KvType& type, size_t d_head);

}  // namespace hunch
