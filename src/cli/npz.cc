#include "cli/npz.h"

#include <fmt/ranges.h>
#include <zlib.h>

#include "base/error.h"
#include "cli/npy.h"

namespace hunch::cli {
namespace {

std::string le(uint64_t value, int n_bytes) {
  std::string out;
  for (int i = 0; i < n_bytes; ++i) out += char(value >> (8 * i) & 0xff);
  return out;
}

uint32_t crc_of(uint32_t crc, std::span<const std::byte> bytes) {
  return uint32_t(crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

constexpr uint64_t kMost = UINT32_MAX;

}  // namespace

// PKWARE's APPNOTE, 4.3.7 and 4.3.12: version 2.0, stored, 1 January 1980.
void NpzFile::add(const std::string& name, const char* type, const std::vector<size_t>& shape,
                  std::span<const std::byte> data) {
  const std::string header = npy_header(type, shape), entry = name + ".npy";
  const uint64_t size = header.size() + data.size();
  if (n_written_ + size + directory_.size() + 4096 > kMost)
    fail(ErrorKind::kLimit, "an .npz file holds at most 4 GB; fewer tokens take less");
  const uint32_t crc = crc_of(crc_of(0, std::as_bytes(std::span(header))), data);
  const std::string fields = le(20, 2) + le(0, 2) + le(0, 2) + le(0, 2) + le(0x21, 2) + le(crc, 4) + le(size, 4) +
                             le(size, 4) + le(entry.size(), 2) + le(0, 2);
  directory_ +=
      le(0x02014b50, 4) + le(20, 2) + fields + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4) + le(n_written_, 4) + entry;
  const std::string local = le(0x04034b50, 4) + fields + entry;
  file_.write(local);
  file_.write(header);
  file_.write(data);
  n_written_ += local.size() + size;
  ++n_entries_;
}

// 4.3.16
void NpzFile::commit() {
  file_.write(directory_);
  file_.write(le(0x06054b50, 4) + le(0, 4) + le(n_entries_, 2) + le(n_entries_, 2) + le(directory_.size(), 4) +
              le(n_written_, 4) + le(0, 2));
  file_.commit();
}

}  // namespace hunch::cli
