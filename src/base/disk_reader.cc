#include "base/disk_reader.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/disk_reader_uring.h"
#include "base/error.h"

namespace hunch {

DiskReadState advance(const DiskRead& read, int64_t result, size_t& n_done, std::string& error) {
  if (result == -EINTR || result == -EAGAIN) return DiskReadState::kAgain;
  const auto failed = [&](const std::string& cause) {
    if (error.empty())
      error = fmt::format("cannot read '{}', {} bytes at {}: {}", read.file->path().string(), read.n_needed,
                          read.offset, cause);
    return DiskReadState::kFailed;
  };
  if (result < 0) return failed(std::strerror(int(-result)));
  n_done += size_t(result);
  if (n_done >= read.n_needed) return DiskReadState::kDone;
  // Within a file, direct reads end at blocks.
  if (result == 0 || n_done % read.file->align() != 0)
    return failed(fmt::format("the file ends after {} of them; has it become shorter?", n_done));
  return DiskReadState::kAgain;
}

namespace {

class ThreadReader final : public DiskReader {
 public:
  ThreadReader() {
    constexpr size_t kThreads = 16;  // they wait, mostly
    for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wanted_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  const char* name() const override { return "threads"; }

  void begin(std::span<const DiskRead> reads, DiskBatch& batch) override {
    {
      const std::lock_guard lock(mutex_);
      for (const DiskRead& read : reads) queue_.push_back({read, &batch});
      batch.n_left += reads.size();
    }
    wanted_.notify_all();
  }

  void finish(DiskBatch& batch) override {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return batch.n_left == 0; });
    if (const std::string error = std::exchange(batch.error, {}); !error.empty()) fail(ErrorKind::kIo, "{}", error);
  }

 private:
  struct Entry {
    DiskRead read;
    DiskBatch* batch;
  };

  void work() {
    for (;;) {
      Entry entry;
      {
        std::unique_lock lock(mutex_);
        wanted_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        if (queue_.empty()) return;
        entry = queue_.front();
        queue_.pop_front();
      }
      size_t n_done = 0;
      std::string error;
      const DiskRead& r = entry.read;
      for (DiskReadState state = DiskReadState::kAgain; state == DiskReadState::kAgain;) {
        const ssize_t n = pread(r.file->fd(), r.to + n_done, r.n_bytes - n_done, off_t(r.offset + n_done));
        state = advance(r, n < 0 ? -int64_t{errno} : n, n_done, error);
      }
      bool last;
      {
        const std::lock_guard lock(mutex_);
        if (entry.batch->error.empty()) entry.batch->error = error;
        last = --entry.batch->n_left == 0;
      }
      if (last) done_.notify_all();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wanted_, done_;
  std::deque<Entry> queue_;
  bool stop_ = false;
};

}  // namespace

std::unique_ptr<DiskReader> make_disk_reader(DiskReaderKind kind) {
  std::string problem = "this build was made without liburing";
  if (kind != DiskReaderKind::kThreads)
    if (auto reader = make_uring_reader(problem)) return reader;
  if (kind == DiskReaderKind::kUring) fail(ErrorKind::kUnsupported, "no io_uring: {}", problem);
  return std::make_unique<ThreadReader>();
}

}  // namespace hunch
