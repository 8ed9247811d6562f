#include "linear/piece_frames.h"

#include <algorithm>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/timer.h"

namespace hunch {
namespace {

constexpr size_t kPieceReadBytes = size_t{1} << 20;  // of one read: several are in flight

// What a piece takes: its bytes may begin and end within blocks, and lie at any address that AlignedBuffer gives.
size_t frame_bytes(size_t n_bytes) { return n_bytes + 3 * DiskFile::kMostAlign; }

std::byte* aligned(const AlignedBuffer& memory) {
  return reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(memory.data()), DiskFile::kMostAlign));
}

}  // namespace

PieceFrames::~PieceFrames() {
  for (auto& frame : frames_) try {
      if (frame->is_coming) reader_.finish(frame->batch);
    } catch (const Error&) {  // nobody wants it any more
    }
}

uint32_t PieceFrames::add(const DiskFile& file, uint64_t offset, size_t n_bytes, bool routed) {
  largest_ = std::max(largest_, frame_bytes(n_bytes));
  pieces_.push_back({&file, offset, n_bytes, routed});
  return uint32_t(pieces_.size() - 1);
}

void PieceFrames::set_packed(uint32_t id, size_t n_bytes) {
  Piece& piece = pieces_[id];
  if (piece.packed_bytes == n_bytes) return;
  if (piece.frame != kNone) drop(*frames_[piece.frame]);
  piece.packed_bytes = n_bytes;
  largest_ = std::max(largest_, frame_bytes(n_bytes));
}

void PieceFrames::resize(uint64_t n_bytes) {
  room_ = n_bytes;
  current_ = kNone;
  held_ -= spare_.size();
  spare_ = AlignedBuffer();
  while (held_ > room_) {
    Frame* frame = victim(true, true);
    HUNCH_CHECK(frame, "{} bytes of frames in use", held_);
    drop(*frame);
    held_ -= frame->memory.size();
    std::erase_if(frames_, [&](const auto& f) { return f.get() == frame; });
    for (size_t i = 0; i < frames_.size(); ++i)
      if (frames_[i]->piece != kNone) pieces_[frames_[i]->piece].frame = uint32_t(i);
  }
}

const std::byte* PieceFrames::whole(uint32_t id, const Pack& pack_rows) {
  Piece& piece = pieces_[id];
  ++stats_.n_pieces;
  current_ = id;
  const bool is_begun = piece.frame == kNone;
  if (is_begun) {
    ++stats_.n_pieces_missed;
    begin(id, true);
  }
  try {
    finish(*frames_[piece.frame]);
  } catch (const Error&) {
    if (is_begun) throw;
    ++stats_.n_failed_ahead;
    begin(id, true);  // it was only expected: now it is wanted, and said if it fails again
    finish(*frames_[piece.frame]);
  }
  Frame& frame = *frames_[piece.frame];
  if (piece.packed_bytes > 0 && !frame.is_packed) pack(frame, pack_rows);
  frame.used_at = ++clock_;
  frame.is_expected = false;
  if (!piece.routed) {
    if (last_ != kNone) pieces_[last_].next = id;
    last_ = id;
    if (piece.asked_at) turn_ = clock_ - piece.asked_at;
    piece.asked_at = clock_;
    if (piece.next != kNone && pieces_[piece.next].frame == kNone) begin(piece.next, false);
  }
  return frames_[piece.frame]->data;
}

void PieceFrames::expect(std::span<const uint32_t> pieces, bool guess) {
  if (!guess)
    for (auto& frame : frames_)
      if (frame->is_expected && std::ranges::find(pieces, frame->piece) == pieces.end()) {
        ++stats_.n_unused;
        frame->is_expected = false;
      }
  for (const uint32_t id : pieces) {
    if (pieces_[id].frame == kNone) {
      if (!begin(id, false)) return;
      frames_[pieces_[id].frame]->is_expected = true;
    } else if (!guess) {  // it may not make room for another one
      frames_[pieces_[id].frame]->used_at = ++clock_;
      frames_[pieces_[id].frame]->is_expected = true;
    }
  }
}

// Into a frame, where there is one; who needs it gets one.
bool PieceFrames::begin(uint32_t id, bool needed) {
  Piece& piece = pieces_[id];
  Frame* const frame = make_room(frame_bytes(std::max(piece.n_bytes, piece.packed_bytes)), piece.routed, needed);
  if (!frame) return false;
  const size_t align = piece.file->align();
  const uint64_t first = piece.offset / align * align, wanted = piece.offset + piece.n_bytes;
  const uint64_t end = round_up(wanted, align);
  std::byte* const to = aligned(frame->memory);
  frame->data = to + (piece.offset - first);
  reads_.clear();
  for (uint64_t at = first; at < end; at += kPieceReadBytes) {
    const size_t n = std::min<uint64_t>(kPieceReadBytes, end - at);
    reads_.push_back({piece.file, at, n, size_t(std::min<uint64_t>(at + n, wanted) - at), to + (at - first)});
    stats_.n_bytes += n;
  }
  stats_.n_reads += reads_.size();
  frame->piece = id;
  frame->used_at = ++clock_;
  frame->is_coming = true;
  frame->batch = {};
  piece.frame = uint32_t(std::ranges::find(frames_, frame, &std::unique_ptr<Frame>::get) - frames_.begin());
  try {
    reader_.begin(reads_, frame->batch);
  } catch (...) {  // what was not asked for does not come
    drop(*frame);
    throw;
  }
  return true;
}

// A frame of so many bytes without a piece: new where there is room, else one that a piece has left.
PieceFrames::Frame* PieceFrames::make_room(size_t n_bytes, bool routed, bool needed) {
  const auto fits = [&](const Frame& f) { return f.memory.size() >= n_bytes && f.memory.size() / 8 * 7 <= n_bytes; };
  for (auto& frame : frames_)  // given up after an error
    if (frame->piece == kNone && !frame->is_coming && fits(*frame)) return frame.get();
  while (held_ + n_bytes > room_) {
    Frame* const frame = victim(routed, needed);
    if (!frame) {
      if (!needed) return nullptr;
      fail(ErrorKind::kMemory,
           "a matrix of {} MB does not fit beside others into the {} MB that weights may take (ram)", n_bytes >> 20,
           room_ >> 20);
    }
    drop(*frame);
    if (fits(*frame)) return frame;
    held_ -= frame->memory.size();
    frame->memory = AlignedBuffer();
  }
  Frame* empty = nullptr;
  for (auto& frame : frames_)
    if (frame->memory.size() == 0) empty = frame.get();
  if (!empty) empty = frames_.emplace_back(std::make_unique<Frame>()).get();
  empty->memory = AlignedBuffer(n_bytes);
  held_ += empty->memory.size();
  return empty;
}

// Which frame makes room. What somebody waits for, or is being read, does so only for who needs room at once.
PieceFrames::Frame* PieceFrames::victim(bool routed, bool needed) {
  for (const bool expected_too : {false, true}) {
    Frame* best = nullptr;
    for (auto& frame : frames_) {
      if (frame->memory.size() == 0 || (frame->piece == current_ && current_ != kNone)) continue;
      // Its turn did not come; perhaps it was read ahead, and nobody asked.
      if (!routed && clock_ - frame->used_at > 2 * turn_) return frame.get();
      if ((frame->is_expected || frame->is_coming) && !expected_too) continue;
      if (!best || (routed ? frame->used_at < best->used_at : frame->used_at > best->used_at)) best = frame.get();
    }
    if (best || !needed) return best;
  }
  return nullptr;
}

void PieceFrames::finish(Frame& frame) {
  if (!frame.is_coming) return;
  const Timer timer;
  frame.is_coming = false;
  try {
    reader_.finish(frame.batch);
  } catch (...) {
    drop(frame);
    throw;
  }
  stats_.wait_seconds += timer.seconds();
}

void PieceFrames::pack(Frame& frame, const Pack& pack) {
  const size_t n_bytes = frame.memory.size();
  if (spare_.size() < n_bytes) {
    held_ -= spare_.size();
    spare_ = AlignedBuffer();
    spare_ = AlignedBuffer(n_bytes);
    held_ += n_bytes;
  }
  pack(frame.data, aligned(spare_));
  std::swap(frame.memory, spare_);
  frame.data = aligned(frame.memory);
  frame.is_packed = true;
}

void PieceFrames::drop(Frame& frame) {
  if (frame.is_coming) try {
      frame.is_coming = false;
      reader_.finish(frame.batch);
    } catch (const Error&) {  // whoever asks for it again will hear
    }
  if (frame.piece != kNone) pieces_[frame.piece].frame = kNone;
  frame.piece = kNone;
  frame.is_expected = frame.is_packed = false;
}

}  // namespace hunch
