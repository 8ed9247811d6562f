// Many reads of files in flight at once. A disk answers hundreds of small reads in the time of a few, if they are asked
// for together.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "base/disk_file.h"

namespace hunch {

struct DiskRead {
  const DiskFile* file = nullptr;
  uint64_t offset = 0;  // offset and n_bytes are multiples of file->align(), `to` lies at one
  size_t n_bytes = 0;   // to ask for
  size_t n_needed = 0;  // of which so many have to come: less only where the file ends within the last aligned block
  std::byte* to = nullptr;
};

// Reads that are waited for together. Whoever began them keeps this and their memory until finish().
struct DiskBatch {
  size_t n_left = 0;  // the reader's
  std::string error;  // of the first read that failed, with its kind's words
};

// One caller at a time.
class DiskReader {
 public:
  virtual ~DiskReader() = default;
  virtual const char* name() const = 0;
  // Asks for all of them; may wait until some are done where there are too many. Read errors are finish()'s.
  virtual void begin(std::span<const DiskRead> reads, DiskBatch& batch) = 0;
  // Returns when all reads of the batch are done. Throws Error{kIo} naming file, place and cause where one failed, or
  // the file has become shorter; the batch can then be used for others.
  virtual void finish(DiskBatch& batch) = 0;
};

enum class DiskReaderKind {
  kAuto,     // io_uring where the build has it and the system allows it, else threads
  kUring,    // throws Error{kUnsupported} where there is none
  kThreads,  // some threads, each of which waits for one read
};
std::unique_ptr<DiskReader> make_disk_reader(DiskReaderKind kind = DiskReaderKind::kAuto);

// What became of a read of which n_done bytes were there before: for readers. `result` is pread()'s, or -errno.
enum class DiskReadState { kDone, kAgain, kFailed };
DiskReadState advance(const DiskRead& read, int64_t result, size_t& n_done, std::string& error);

}  // namespace hunch
