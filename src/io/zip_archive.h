// The zip container, as far as torch checkpoints use it: the central directory, zip64 included, and
// stored or deflated entries. Encrypted and multi-disk archives are refused.
// Format: PKWARE APPNOTE 6.3.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/stop.h"

namespace hunch {

struct ZipEntry {
  std::string_view name;              // points into the archive's bytes
  std::span<const std::byte> packed;  // as it lies in the file; the content itself when stored
  uint64_t n_bytes = 0;               // of the content
  uint64_t begin = 0, end = 0;        // what the entry takes of the archive, its header included
  bool deflated = false;
};

// Lists an archive. Names are unique, entries lie inside `bytes` and apart from each other; all
// names and spans point into `bytes`. Throws Error{kFormat | kUnsupported}. Checksums are not
// compared (as torch's own reader does not), so that a model is mapped and not read.
std::vector<ZipEntry> parse_zip(std::span<const std::byte> bytes);

// Unpacks a deflated entry. Throws Error{kFormat} when it does not give exactly n_bytes, without
// allocating first for a size that deflate cannot reach, Error{kInterrupted} when `stop` asks for it.
std::shared_ptr<AlignedBuffer> inflate_entry(const ZipEntry& entry, const Stop* stop = nullptr);

}  // namespace hunch
