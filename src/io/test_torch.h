// For tests: pickles and zip archives put together opcode by opcode, honest or lying.
#pragma once
#include <zlib.h>

#include <string>
#include <vector>

#include "io/test_bytes.h"

namespace hunch {

struct PickleBuilder : ByteBuilder {
  PickleBuilder() { raw("\x80\x02"); }
  PickleBuilder& op(std::string_view text) {
    raw(text);
    return *this;
  }
  PickleBuilder& text(std::string_view t) {
    u8('X').u32(uint32_t(t.size())).raw(t);
    return *this;
  }
  PickleBuilder& integer(int32_t n) {
    u8('J').i32(n);
    return *this;
  }
  PickleBuilder& global(std::string_view module, std::string_view name) {
    u8('c').raw(module).raw("\n").raw(name).raw("\n");
    return *this;
  }
  PickleBuilder& counts(const std::vector<int32_t>& numbers) {
    op("(");
    for (int32_t n : numbers) integer(n);
    return op("t");
  }
  PickleBuilder& storage(std::string_view type, std::string_view key, int32_t n_elems) {
    return op("(").text("storage").global("torch", type).text(key).text("cpu").integer(n_elems).op("tQ");
  }
  // One float32 tensor over storage `key` of `n_elems` elements.
  PickleBuilder& tensor(std::string_view key, int32_t n_elems, int32_t offset, const std::vector<int32_t>& shape,
                        const std::vector<int32_t>& strides, std::string_view type = "FloatStorage") {
    global("torch._utils", "_rebuild_tensor_v2").op("(").storage(type, key, n_elems).integer(offset);
    counts(shape).counts(strides).op("\x89").global("collections", "OrderedDict");
    return op(")RtR");
  }
};

struct ZipFile {
  std::string name, content;
  bool deflated = false;
};

// How an archive is to lie.
struct ZipLies {
  bool zip64 = false;  // no lie: sizes, offsets and counts go into the zip64 records
  int64_t size_error = 0, packed_error = 0, offset_error = 0, count_error = 0, directory_error = 0;
  uint16_t flags = 0, method = 0xffff;
  size_t first_honest = SIZE_MAX;  // the sizes lie in the entries before this one
  std::string local_name;          // differs from the directory's where not empty
};

inline std::string deflate_raw(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = uInt(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = uInt(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string make_zip(const std::vector<ZipFile>& files, const ZipLies& lies = {}) {
  ByteBuilder out, directory;
  for (const ZipFile& file : files) {
    const std::string packed = file.deflated ? deflate_raw(file.content) : file.content;
    const uint16_t method = lies.method != 0xffff ? lies.method : file.deflated ? 8 : 0;
    const std::string local_name = lies.local_name.empty() ? file.name : lies.local_name;
    const uint64_t offset = out.bytes.size() + lies.offset_error;
    const bool lying = size_t(&file - files.data()) < lies.first_honest;
    const uint64_t n_packed = packed.size() + (lying ? lies.packed_error : 0);
    const uint64_t n_bytes = file.content.size() + (lying ? lies.size_error : 0);
    // The content begins at a multiple of 64, padded by an extra field, as torch does.
    const size_t n_extra = 64 + 64 - (out.bytes.size() + 30 + local_name.size() + 64) % 64;
    out.u32(0x04034b50)
        .u16(20)
        .u16(lies.flags)
        .u16(method)
        .u32(0)
        .u32(0)
        .u32(uint32_t(n_packed))
        .u32(uint32_t(n_bytes));
    out.u16(uint16_t(local_name.size())).u16(uint16_t(n_extra)).raw(local_name);
    out.u16(0x4246).u16(uint16_t(n_extra - 4)).raw(std::string(n_extra - 4, 'Z')).raw(packed);

    const bool big = lies.zip64;
    directory.u32(0x02014b50).u16(20).u16(20).u16(lies.flags).u16(method).u32(0).u32(0);
    directory.u32(big ? 0xffffffff : uint32_t(n_packed)).u32(big ? 0xffffffff : uint32_t(n_bytes));
    directory.u16(uint16_t(file.name.size())).u16(big ? 28 : 0).u16(0).u16(0).u16(0).u32(0);
    directory.u32(big ? 0xffffffff : uint32_t(offset)).raw(file.name);
    if (big) directory.u16(1).u16(24).u64(n_bytes).u64(n_packed).u64(offset);
  }
  const uint64_t begin = out.bytes.size() + lies.directory_error, n_bytes = directory.bytes.size();
  const uint64_t n = files.size() + lies.count_error;
  out.raw(directory.bytes);
  if (lies.zip64) {
    const uint64_t at = out.bytes.size();
    out.u32(0x06064b50).u64(44).u16(45).u16(45).u32(0).u32(0).u64(n).u64(n).u64(n_bytes).u64(begin);
    out.u32(0x07064b50).u32(0).u64(at).u32(1);
    out.u32(0x06054b50).u16(0).u16(0).u16(0xffff).u16(0xffff).u32(0xffffffff).u32(0xffffffff).u16(0);
  } else {
    out.u32(0x06054b50)
        .u16(0)
        .u16(0)
        .u16(uint16_t(n))
        .u16(uint16_t(n))
        .u32(uint32_t(n_bytes))
        .u32(uint32_t(begin))
        .u16(0);
  }
  return out.bytes;
}

}  // namespace hunch
