// A reader of Python pickles (protocol 2) that cannot run anything. It knows the values of which a
// torch state dict is made, rebuilds them as plain nodes, and refuses every other class by name.
// Source: CPython's Lib/pickletools.py describes the opcodes.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "formats/format.h"
#include "io/byte_reader.h"

namespace hunch {

// Values refer to each other by their place in Pickle::nodes: sharing and cycles cost nothing, and
// no deeply nested value can exhaust the call stack.
using PickleRef = uint32_t;

struct PickleNode {
  // kStorage and kTensor: `number` is the place in Pickle::storages / tensors.
  enum class Kind : uint8_t { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor };
  Kind kind = Kind::kNone;
  int64_t number = 0;            // kBool, kInt
  std::string_view text;         // kText: into the input. kGlobal: one of the known names, "torch FloatStorage"
  std::vector<PickleRef> items;  // kTuple, kList: elements; kDict: key, value, key, value, ... in order
};

// A run of elements that tensors are windows onto; the file keeps them outside the pickle.
struct PickledStorage {
  std::string_view key;
  DType dtype = DType::kF32;
  uint64_t n_elems = 0;                     // of the storage in the file
  uint64_t view_begin = 0, view_elems = 0;  // the part this storage is (old files have views of storages)
};

// Element [i, j, ...] is element offset + i * strides[0] + j * strides[1] + ... of the storage's view.
// Not yet checked against the storage.
struct PickledTensor {
  uint32_t storage = 0;
  uint64_t offset = 0;
  std::vector<uint64_t> shape, strides;
};

struct Pickle {
  std::vector<PickleNode> nodes;
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  PickleRef root = 0;

  // The value stored last under the text `key` in the dictionary `dict`, or nullptr.
  const PickleNode* lookup(const PickleNode& dict, std::string_view key) const;
};

// Reads one pickle, up to and with its STOP. Throws Error{kFormat} for damage and Error{kUnsupported}
// for opcodes and classes outside the list, naming them.
Pickle unpickle(ByteReader& in);

}  // namespace hunch
