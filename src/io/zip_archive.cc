#include "io/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/checked_math.h"
#include "base/throw_if_stopped.h"
#include "io/byte_reader.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kEndBytes = 22, kLocator64Bytes = 20, kCentralBytes = 46;
constexpr uint32_t kIn64 = 0xffffffff;  // "see the zip64 field"
constexpr uint16_t kZip64Field = 1, kStored = 0, kDeflated = 8, kEncryptedFlag = 1;
constexpr uint64_t kMaxDeflateRatio = 1032;  // a deflate stream's bound, zlib's technical notes

struct Directory {
  uint64_t offset = 0, n_bytes = 0, n_entries = 0;
};

uint32_t u32_at(std::span<const std::byte> bytes, size_t offset) {
  return ByteReader(bytes.subspan(offset), "the zip archive").read<uint32_t>("a signature");
}

// A cursor at `offset` of the archive, which may lie.
ByteReader reader_at(std::span<const std::byte> bytes, uint64_t offset, const char* part) {
  if (offset > bytes.size())
    fail(ErrorKind::kFormat, "the zip archive places {} at byte {} of {}; it is truncated or damaged", part, offset,
         bytes.size());
  return ByteReader(bytes.subspan(offset), "the zip archive");
}

// The end record is the last thing in the file but for a comment of up to 64 KiB.
size_t find_end_record(std::span<const std::byte> bytes) {
  constexpr size_t kMaxComment = 65535;
  if (bytes.size() >= kEndBytes) {
    const size_t last = bytes.size() - kEndBytes;
    const size_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (size_t at = last + 1; at-- > first;) {
      if (u32_at(bytes, at) != kEndSignature) continue;
      ByteReader in(bytes.subspan(at + 20), "the zip archive");
      if (in.read<uint16_t>("the comment's length") == last - at) return at;
    }
  }
  fail(ErrorKind::kFormat, "the zip archive has no end record; is the download complete?");
}

Directory read_end64(std::span<const std::byte> bytes, size_t locator_at) {
  ByteReader locator(bytes.subspan(locator_at + 4), "the zip archive");
  locator.read<uint32_t>("the disk of the zip64 record");
  const uint64_t at = locator.read<uint64_t>("the place of the zip64 record");
  ByteReader in = reader_at(bytes, at, "the zip64 end record");
  if (in.read<uint32_t>("the zip64 end record") != kEnd64Signature)
    fail(ErrorKind::kFormat, "the zip archive's zip64 end record is not at byte {}, where it should be", at);
  in.take(8 + 2 + 2 + 4 + 4 + 8, "the zip64 end record");
  Directory directory;
  directory.n_entries = in.read<uint64_t>("the entry count");
  directory.n_bytes = in.read<uint64_t>("the directory's size");
  directory.offset = in.read<uint64_t>("the directory's offset");
  return directory;
}

Directory read_end(std::span<const std::byte> bytes) {
  const size_t at = find_end_record(bytes);
  ByteReader in(bytes.subspan(at + 4), "the zip archive");
  const uint16_t disk = in.read<uint16_t>("the disk number");
  if (disk != 0 && disk != 0xffff) fail(ErrorKind::kUnsupported, "the zip archive is split over several files");
  in.take(2 + 2, "the end record");
  Directory directory;
  directory.n_entries = in.read<uint16_t>("the entry count");
  directory.n_bytes = in.read<uint32_t>("the directory's size");
  directory.offset = in.read<uint32_t>("the directory's offset");
  if (at >= kLocator64Bytes && u32_at(bytes, at - kLocator64Bytes) == kLocator64Signature)
    return read_end64(bytes, at - kLocator64Bytes);
  return directory;
}

// Replaces those of the three sizes that say "see the zip64 field" by what the field says.
void read_zip64_field(std::span<const std::byte> extra, uint64_t& n_bytes, uint64_t& n_packed, uint64_t& local) {
  ByteReader in(extra, "an extra field of the zip archive");
  while (in.remaining() >= 4) {
    const uint16_t id = in.read<uint16_t>("its id");
    const auto body = in.take(in.read<uint16_t>("its size"), "its body");
    if (id != kZip64Field) continue;
    ByteReader field(body, "a zip64 field of the zip archive");
    for (uint64_t* value : {&n_bytes, &n_packed, &local})
      if (*value == kIn64) *value = field.read<uint64_t>("a size");
    return;
  }
}

ZipEntry read_entry(ByteReader& in, std::span<const std::byte> bytes, uint64_t directory_offset) {
  if (in.read<uint32_t>("a directory entry") != kCentralSignature)
    fail(ErrorKind::kFormat, "the zip archive's directory is damaged: an entry does not begin as one");
  in.take(2 + 2, "a directory entry");
  const uint16_t flags = in.read<uint16_t>("an entry's flags");
  const uint16_t method = in.read<uint16_t>("an entry's method");
  in.take(2 + 2 + 4, "a directory entry");
  uint64_t n_packed = in.read<uint32_t>("an entry's packed size");
  uint64_t n_bytes = in.read<uint32_t>("an entry's size");
  const uint16_t n_name = in.read<uint16_t>("an entry's name length");
  const uint16_t n_extra = in.read<uint16_t>("an entry's extra length");
  const uint16_t n_comment = in.read<uint16_t>("an entry's comment length");
  in.take(2 + 2 + 4, "a directory entry");
  uint64_t local = in.read<uint32_t>("an entry's offset");
  ZipEntry entry;
  entry.name = in.take_text(n_name, "an entry's name");
  read_zip64_field(in.take(n_extra, "an entry's extra field"), n_bytes, n_packed, local);
  in.take(n_comment, "an entry's comment");

  const std::string shown = printable(entry.name);
  if (flags & kEncryptedFlag) fail(ErrorKind::kUnsupported, "zip entry '{}' is encrypted", shown);
  if (method != kStored && method != kDeflated)
    fail(ErrorKind::kUnsupported, "zip entry '{}' uses compression method {}; expected stored or deflated", shown,
         method);
  entry.deflated = method == kDeflated;
  entry.n_bytes = n_bytes;
  if (!entry.deflated && n_packed != n_bytes)
    fail(ErrorKind::kFormat, "zip entry '{}' is stored, yet {} bytes become {}", shown, n_packed, n_bytes);

  ByteReader header = reader_at(bytes.first(directory_offset), local, "an entry");
  if (header.read<uint32_t>("an entry's header") != kLocalSignature)
    fail(ErrorKind::kFormat, "zip entry '{}' does not begin at byte {}, where the directory says", shown, local);
  header.take(22, "an entry's header");
  const uint16_t n_local_name = header.read<uint16_t>("an entry's name length");
  const uint16_t n_local_extra = header.read<uint16_t>("an entry's extra length");
  if (header.take_text(n_local_name, "an entry's name") != entry.name)
    fail(ErrorKind::kFormat, "zip entry '{}' has another name in its own header", shown);
  header.take(n_local_extra, "an entry's extra field");
  entry.packed = header.take(n_packed, "an entry's content");
  entry.begin = local;
  entry.end = local + header.position();
  return entry;
}

void refuse_overlap(const std::vector<ZipEntry>& entries) {
  std::vector<const ZipEntry*> order;
  for (const ZipEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->end > order[i]->begin)
      fail(ErrorKind::kFormat, "zip entries '{}' and '{}' overlap", printable(order[i - 1]->name),
           printable(order[i]->name));
}

}  // namespace

std::vector<ZipEntry> parse_zip(std::span<const std::byte> bytes) {
  const Directory directory = read_end(bytes);
  ByteReader in = reader_at(bytes, directory.offset, "the directory");
  in.expect_items(directory.n_entries, kCentralBytes, "entries");
  std::vector<ZipEntry> entries;
  entries.reserve(directory.n_entries);
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < directory.n_entries; ++i) {
    entries.push_back(read_entry(in, bytes, directory.offset));
    if (!names.insert(entries.back().name).second)
      fail(ErrorKind::kFormat, "the zip archive has two entries '{}'", printable(entries.back().name));
  }
  if (in.position() != directory.n_bytes)
    fail(ErrorKind::kFormat, "the zip archive's directory has {} bytes; expected {}", in.position(), directory.n_bytes);
  refuse_overlap(entries);
  return entries;
}

std::shared_ptr<AlignedBuffer> inflate_entry(const ZipEntry& entry, const Stop* stop) {
  const std::string shown = printable(entry.name);
  if (entry.n_bytes / kMaxDeflateRatio > entry.packed.size())
    fail(ErrorKind::kFormat, "zip entry '{}' claims to unpack {} bytes to {}, which deflate cannot do", shown,
         entry.packed.size(), entry.n_bytes);
  auto out = std::make_shared<AlignedBuffer>(entry.n_bytes);
  struct Inflater {
    z_stream stream{};
    ~Inflater() { inflateEnd(&stream); }
  } inflater;
  z_stream& stream = inflater.stream;
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail(ErrorKind::kMemory, "zlib could not start to unpack '{}'", shown);
  // zlib counts in 32 bits: input and output are handed over in pieces.
  constexpr size_t kPiece = size_t{1} << 24;  // and a stop is heard between them
  auto* next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(entry.packed.data()));
  auto* next_out = reinterpret_cast<Bytef*>(out->data());
  size_t left_in = entry.packed.size(), left_out = entry.n_bytes;
  Bytef nowhere = 0;
  stream.next_in = next_in;
  stream.next_out = left_out ? next_out : &nowhere;
  int status = Z_OK;
  while (status == Z_OK) {
    throw_if_stopped(stop);
    const uInt give_in = uInt(std::min(left_in, kPiece)), give_out = uInt(std::min(left_out, kPiece));
    stream.avail_in = give_in;
    stream.avail_out = give_out;
    status = inflate(&stream, Z_NO_FLUSH);
    const size_t used_in = give_in - stream.avail_in, used_out = give_out - stream.avail_out;
    left_in -= used_in;
    left_out -= used_out;
    if (status == Z_OK && used_in == 0 && used_out == 0) break;
  }
  if (status != Z_STREAM_END || left_out != 0)
    fail(ErrorKind::kFormat, "zip entry '{}' does not unpack to {} bytes; it is damaged", shown, entry.n_bytes);
  return out;
}

}  // namespace hunch
