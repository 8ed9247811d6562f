#include "base/disk_reader_uring.h"

#ifdef HUNCH_HAVE_URING
#include <liburing.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace hunch {
namespace {

class UringReader final : public DiskReader {
 public:
  UringReader() : code_(io_uring_queue_init(kDepth, &ring_, 0)) {
    for (uint32_t i = kDepth; i > 0; --i) free_.push_back(i - 1);
  }
  ~UringReader() override {
    if (code_ >= 0) io_uring_queue_exit(&ring_);
  }
  const char* name() const override { return "io_uring"; }
  int code() const { return code_; }  // of opening; negative: it is of no use

  void begin(std::span<const DiskRead> reads, DiskBatch& batch) override {
    batch.n_left += reads.size();
    size_t n_begun = 0;
    try {
      for (const DiskRead& read : reads) {
        while (free_.empty()) reap();
        const uint32_t i = free_.back();
        entries_[i] = {read, &batch, 0};
        ask(i);
        free_.pop_back();
        ++n_begun;
      }
      submit();
    } catch (...) {
      batch.n_left -= reads.size() - n_begun;
      throw;
    }
  }

  void finish(DiskBatch& batch) override {
    while (batch.n_left > 0) reap();
    if (const std::string error = std::exchange(batch.error, {}); !error.empty()) fail(ErrorKind::kIo, "{}", error);
  }

 private:
  static constexpr unsigned kDepth = 256;
  struct Entry {
    DiskRead read;
    DiskBatch* batch;
    size_t n_done;
  };

  void ask(uint32_t i) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (!sqe) {
      submit();
      sqe = io_uring_get_sqe(&ring_);
    }
    HUNCH_CHECK(sqe, "the queue of io_uring is full");
    const Entry& e = entries_[i];
    io_uring_prep_read(sqe, e.read.file->fd(), e.read.to + e.n_done, unsigned(e.read.n_bytes - e.n_done),
                       e.read.offset + e.n_done);
    sqe->user_data = i;
  }

  void submit() {
    int n;
    do {
      n = io_uring_submit(&ring_);
    } while (n == -EINTR || n == -EAGAIN);
    if (n < 0) fail(ErrorKind::kIo, "io_uring takes no reads: {}", std::strerror(-n));
  }

  // Waits for one at least, and takes all that are done.
  void reap() {
    submit();
    io_uring_cqe* cqe = nullptr;
    int code;
    do {
      code = io_uring_wait_cqe(&ring_, &cqe);
    } while (code == -EINTR);
    if (code < 0) fail(ErrorKind::kIo, "io_uring gives no answer: {}", std::strerror(-code));
    bool again = false;
    do {
      const auto i = uint32_t(cqe->user_data);
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      Entry& e = entries_[i];
      if (advance(e.read, result, e.n_done, e.batch->error) == DiskReadState::kAgain) {
        ask(i);
        again = true;
      } else {
        --e.batch->n_left;
        free_.push_back(i);
      }
    } while (io_uring_peek_cqe(&ring_, &cqe) == 0);
    if (again) submit();
  }

  io_uring ring_{};
  int code_;
  std::array<Entry, kDepth> entries_{};
  std::vector<uint32_t> free_;
};

}  // namespace

std::unique_ptr<DiskReader> make_uring_reader(std::string& problem) {
  auto reader = std::make_unique<UringReader>();
  if (reader->code() >= 0) return reader;
  problem = std::strerror(-reader->code());
  return nullptr;
}

}  // namespace hunch

#else
namespace hunch {
std::unique_ptr<DiskReader> make_uring_reader(std::string&) { return nullptr; }
}  // namespace hunch
#endif
