// A module of its own, hunch-mpi.so, which mpi_ranks.cc loads where mpirun started several processes: so the program
// itself is not linked with MPI.
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

#include "base/error.h"
#include "parallel/communicator.h"

namespace hunch {
namespace {

using Clock = std::chrono::steady_clock;

double timeout_seconds() {
  const char* text = std::getenv("HUNCH_RANK_TIMEOUT");
  if (!text || !*text) return 120;
  double seconds = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), seconds);
  if (error != std::errc() || *end != 0 || !(seconds > 0))
    fail(ErrorKind::kUsage, "HUNCH_RANK_TIMEOUT is '{}', expected seconds, more than 0", text);
  return seconds;
}

// Everything is begun without waiting, and asked about until it is there: so nobody waits without end for a rank that
// has died or stands still.
class MpiRank final : public Communicator {
 public:
  MpiRank() : timeout_(timeout_seconds()) {
    int provided = 0, rank = 0, n = 1;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    rank_ = size_t(rank);
    n_ranks_ = size_t(n);
    if (provided < MPI_THREAD_SERIALIZED) abort("this MPI is for programs with one thread only");
  }
  ~MpiRank() override {
    const Clock::time_point begin = Clock::now();
    while (!sent_.empty() && Clock::now() - begin < timeout_) progress();
    if (!sent_.empty()) abort("the last messages did not arrive");
    MPI_Finalize();
  }

  size_t rank() const override { return rank_; }
  size_t n_ranks() const override { return n_ranks_; }

  // What one call has no room for waits for the first part.
  void begin_sum(std::span<float> x) override {
    summed_ = x;
    begin_part();
  }

  void finish_sum() override {
    while (!summed_.empty()) {
      wait(Wait::kBusy);
      const std::span<float> part = summed_.first(std::min(kMost, summed_.size()));
      if (n_ranks_ == 2) {
        std::swap(request_, sending_);
        wait(Wait::kBusy);
        for (size_t i = 0; i < part.size(); ++i) part[i] += theirs_[i];  // a + b is b + a, to the bit
      }
      summed_ = summed_.subspan(part.size());
      begin_part();
    }
  }

  void gather(std::span<const float> own, std::span<const size_t> sizes, std::span<float> all) override {
    counts_.clear();
    firsts_.clear();
    size_t first = 0;
    for (const size_t n : sizes) {
      counts_.push_back(int(n));
      firsts_.push_back(int(first));
      first += n;
    }
    HUNCH_CHECK(first <= kMost && own.size() == sizes[rank_], "{} numbers at once", first);
    MPI_Igatherv(own.data(), int(own.size()), MPI_FLOAT, all.data(), counts_.data(), firsts_.data(), MPI_FLOAT, 0,
                 MPI_COMM_WORLD, &request_);
    wait(Wait::kBusy);
  }

  void broadcast(std::span<std::byte> bytes, Wait how) override {
    for (size_t first = 0; first < bytes.size(); first += kMost) {
      const int n = int(std::min(kMost, bytes.size() - first));
      MPI_Ibcast(bytes.data() + first, n, MPI_BYTE, 0, MPI_COMM_WORLD, &request_);
      wait(leads() ? Wait::kBusy : how);
    }
  }

  void send(size_t to, std::span<const float> x) override {
    progress();
    HUNCH_CHECK(x.size() <= kMost, "{} numbers at once", x.size());
    Sent& sent = sent_.emplace_back();
    sent.values.assign(x.begin(), x.end());
    MPI_Isend(sent.values.data(), int(x.size()), MPI_FLOAT, int(to), 0, MPI_COMM_WORLD, &sent.request);
  }

  void progress() override {
    while (!sent_.empty()) {  // in order: the first ones arrive first
      int done = 0;
      MPI_Test(&sent_.front().request, &done, MPI_STATUS_IGNORE);
      if (!done) return;
      sent_.pop_front();
    }
  }

  void receive(size_t from, std::span<float> x) override {
    HUNCH_CHECK(x.size() <= kMost, "{} numbers at once", x.size());
    MPI_Irecv(x.data(), int(x.size()), MPI_FLOAT, int(from), 0, MPI_COMM_WORLD, &request_);
    wait(Wait::kBusy);
    progress();
  }

  [[noreturn]] void abort(const std::string& why) override {
    const std::string line = fmt::format("hunch: rank {} of {}: {}\n", rank_, n_ranks_, why);
    std::fwrite(line.data(), 1, line.size(), stderr);  // nobody above gets to say it
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::_Exit(1);
  }

 private:
  static constexpr size_t kMost = size_t{1} << 28;  // of a call, whose counts are ints
  static constexpr int kSumTag = 1;                 // beside 0, of send()

  // Two ranks tell each other theirs: one message each way, where MPI's own sum that does not wait takes twice the
  // time.
  void begin_part() {
    if (summed_.empty()) return;
    const int n = int(std::min(kMost, summed_.size()));
    if (n_ranks_ != 2) {
      MPI_Iallreduce(MPI_IN_PLACE, summed_.data(), n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request_);
      return;
    }
    if (theirs_.size() < size_t(n)) theirs_.resize(size_t(n));
    const int other = int(1 - rank_);
    MPI_Irecv(theirs_.data(), n, MPI_FLOAT, other, kSumTag, MPI_COMM_WORLD, &request_);
    MPI_Isend(summed_.data(), n, MPI_FLOAT, other, kSumTag, MPI_COMM_WORLD, &sending_);
  }

  // For request_: at first at once, which is what steps need; then with room for others on the same core.
  void wait(Wait how) {
    constexpr size_t kSpins = 1000, kPerLook = 64;
    constexpr auto kAwake = std::chrono::milliseconds(20), kNap = std::chrono::milliseconds(1);
    Clock::time_point begin;
    for (size_t n_asked = 0;; ++n_asked) {
      int done = 0;
      MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
      if (done) return;
      if (n_asked < kSpins) continue;
      if (n_asked == kSpins) begin = Clock::now();
      if (n_asked % kPerLook != 0) continue;
      const Clock::duration waited = Clock::now() - begin;
      if (how == Wait::kBusy && waited > timeout_)
        abort(fmt::format("the others did not answer for {:g} s (HUNCH_RANK_TIMEOUT); the job ends", timeout_.count()));
      if (how == Wait::kIdle && waited > kAwake)
        while (!done) {
          std::this_thread::sleep_for(kNap);
          MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
        }
      if (done) return;
      sched_yield();
    }
  }

  const std::chrono::duration<double> timeout_;
  size_t rank_ = 0, n_ranks_ = 1;
  MPI_Request request_ = MPI_REQUEST_NULL, sending_ = MPI_REQUEST_NULL;
  std::vector<float> theirs_;  // the other one's part of a sum
  std::span<float> summed_;    // what of a sum is not there yet
  std::vector<int> counts_, firsts_;
  struct Sent {
    std::vector<float> values;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  std::deque<Sent> sent_;  // and not yet known to have arrived
};

}  // namespace
}  // namespace hunch

// The caller owns it.
extern "C" __attribute__((visibility("default"))) hunch::Communicator* hunch_join_mpi() { return new hunch::MpiRank(); }
