// Whole matrices of a file that is larger than memory: some are kept, the others are read when they are asked for, or a
// little earlier. Internal to linear/weight_disk.h.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/disk_reader.h"
#include "linear/disk_stats.h"

namespace hunch {

// Matrices of layers are asked for in turn, token after token: whoever keeps what was used last keeps nothing that he
// needs. So the one that was just used makes room, whose turn comes last, and as many as there is room for stay; but
// those whose turn did not come at all go first. An expert's matrices may be wanted again soon, or never: there the one
// makes room that was not used for longest.
class PieceFrames {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  PieceFrames(DiskReader& reader, DiskStats& stats) : reader_(reader), stats_(stats) {}
  ~PieceFrames();
  PieceFrames(const PieceFrames&) = delete;
  PieceFrames& operator=(const PieceFrames&) = delete;

  // Bytes [offset, offset + n_bytes) of the file, which stays open. `routed`: an expert's.
  uint32_t add(const DiskFile& file, uint64_t offset, size_t n_bytes, bool routed);
  // From now on the piece is kept as its rows are packed (whole()), which takes so many bytes.
  void set_packed(uint32_t piece, size_t n_bytes);
  size_t largest() const { return largest_; }

  // Memory for frames; what does not fit any more is dropped.
  void resize(uint64_t n_bytes);
  uint64_t held_bytes() const { return held_; }

  // From the bytes of the file to those that are kept.
  using Pack = std::function<void(const std::byte* from, std::byte* to)>;
  // The bytes of a piece, readable for 64 bytes past their end; valid until the next call of whole(). `pack` packs it,
  // where that is asked for. Begins to read the piece that was asked for after this one the last time. Throws Error{kIo
  // | kMemory}.
  const std::byte* whole(uint32_t piece, const Pack& pack = {});

  // Begins to read these, which are about to be asked for, in this order, as far as there is room. Those of an earlier
  // call that nobody has asked for are not waited for any more. `guess`: beside those of the last call, not instead.
  void expect(std::span<const uint32_t> pieces, bool guess);

 private:
  struct Piece {
    const DiskFile* file;
    uint64_t offset;
    size_t n_bytes;
    bool routed;
    size_t packed_bytes = 0;  // 0: it stays as it is in the file
    uint32_t frame = kNone;
    uint32_t next = kNone;  // that was asked for after it the last time
    uint64_t asked_at = 0;
  };
  struct Frame {
    AlignedBuffer memory;
    const std::byte* data = nullptr;
    uint32_t piece = kNone;
    uint64_t used_at = 0;
    bool is_coming = false, is_expected = false, is_packed = false;
    DiskBatch batch;
  };

  bool begin(uint32_t piece, bool needed);
  Frame* make_room(size_t n_bytes, bool routed, bool needed);
  Frame* victim(bool routed, bool needed);
  void finish(Frame& frame);
  void pack(Frame& frame, const Pack& pack);
  void drop(Frame& frame);

  DiskReader& reader_;
  DiskStats& stats_;
  std::vector<Piece> pieces_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<DiskRead> reads_;
  AlignedBuffer spare_;  // what is packed goes there, and changes places with what was read
  size_t largest_ = 0;
  uint64_t room_ = 0, held_ = 0, clock_ = 0;
  uint64_t turn_ = UINT64_MAX / 2;           // on the clock, from one use of a layer's matrix to the next
  uint32_t last_ = kNone, current_ = kNone;  // asked for: the last of a layer's, and any
};

}  // namespace hunch
