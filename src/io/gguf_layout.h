// What reader and writer of GGUF share: the magic, the value type ids, the alignment rule.
#pragma once
#include <cstdint>
#include <string_view>

#include "io/model_file.h"

namespace hunch::gguf {

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDims = 4;  // ggml's limit
constexpr const char* kAlignmentKey = "general.alignment";

enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// The alignment of tensor data that `meta` demands. Throws Error{kFormat} unless it is a power of
// two from 8 to 2^20: tensors are used where they lie, so they must be aligned for their elements.
uint64_t alignment_of(const Metadata& meta);

}  // namespace hunch::gguf
