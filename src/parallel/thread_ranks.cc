#include "parallel/thread_ranks.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "base/error.h"

namespace hunch {
namespace {

// What the ranks share. Each collective call lays its numbers out, waits for the others, reads theirs, and waits again
// before anyone may overwrite them.
struct Table {
  Table(size_t n, double timeout) : places(n), timeout(timeout) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<std::byte>> places;  // what each rank laid out
  size_t n_waiting = 0, n_rounds = 0;
  std::map<std::pair<size_t, size_t>, std::deque<std::vector<float>>> sent;  // by (from, to)
  std::string ended;                                                         // why; "": it goes on
  const std::chrono::duration<double> timeout;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(std::shared_ptr<Table> table, size_t rank) : table_(std::move(table)), rank_(rank) {}

  size_t rank() const override { return rank_; }
  size_t n_ranks() const override { return table_->places.size(); }

  void begin_sum(std::span<float> x) override {
    place(std::as_bytes(x));
    summed_ = x;
  }

  void finish_sum() override {
    meet(Wait::kBusy);
    const std::span<float> x = summed_;
    std::ranges::fill(x, 0.0f);
    for (const std::vector<std::byte>& place : table_->places) {
      HUNCH_CHECK(place.size() == x.size_bytes(), "sums of {} and {} bytes", place.size(), x.size_bytes());
      const auto* values = reinterpret_cast<const float*>(place.data());
      for (size_t i = 0; i < x.size(); ++i) x[i] += values[i];
    }
    meet(Wait::kBusy);
  }

  void gather(std::span<const float> own, std::span<const size_t> sizes, std::span<float> all) override {
    HUNCH_CHECK(own.size() == sizes[rank_], "{} of {}", own.size(), sizes[rank_]);
    lay_out(std::as_bytes(own), Wait::kBusy);
    size_t first = 0;
    for (size_t r = 0; leads() && r < n_ranks(); first += sizes[r++])
      if (sizes[r] > 0) std::memcpy(all.subspan(first, sizes[r]).data(), table_->places[r].data(), 4 * sizes[r]);
    meet(Wait::kBusy);
  }

  void broadcast(std::span<std::byte> bytes, Wait wait) override {
    lay_out(leads() ? bytes : std::span<std::byte>(), wait);
    HUNCH_CHECK(table_->places[0].size() == bytes.size(), "{} bytes of {}", bytes.size(), table_->places[0].size());
    std::ranges::copy(table_->places[0], bytes.begin());
    meet(Wait::kBusy);
  }

  void send(size_t to, std::span<const float> x) override {
    const std::lock_guard lock(table_->mutex);
    table_->sent[{rank_, to}].emplace_back(x.begin(), x.end());
    table_->changed.notify_all();
  }

  void receive(size_t from, std::span<float> x) override {
    std::unique_lock lock(table_->mutex);
    auto& queue = table_->sent[{from, rank_}];
    wait_for(lock, Wait::kBusy, [&] { return !queue.empty(); });
    HUNCH_CHECK(queue.front().size() == x.size(), "{} numbers of {}", x.size(), queue.front().size());
    std::ranges::copy(queue.front(), x.begin());
    queue.pop_front();
  }

  [[noreturn]] void abort(const std::string& why) override {
    const std::lock_guard lock(table_->mutex);
    if (table_->ended.empty()) table_->ended = fmt::format("rank {} of {}: {}", rank_, n_ranks(), why);
    table_->changed.notify_all();
    throw Error(ErrorKind::kIo, table_->ended);
  }

 private:
  void place(std::span<const std::byte> bytes) {
    const std::lock_guard lock(table_->mutex);
    table_->places[rank_].assign(bytes.begin(), bytes.end());
  }

  void lay_out(std::span<const std::byte> bytes, Wait wait) {
    place(bytes);
    meet(wait);
  }

  // Until all ranks are here.
  void meet(Wait wait) {
    std::unique_lock lock(table_->mutex);
    const size_t round = table_->n_rounds;
    if (++table_->n_waiting == n_ranks()) {
      table_->n_waiting = 0;
      ++table_->n_rounds;
      table_->changed.notify_all();
      return;
    }
    wait_for(lock, wait, [&] { return table_->n_rounds > round; });
  }

  template <class Ready>
  void wait_for(std::unique_lock<std::mutex>& lock, Wait wait, const Ready& ready) {
    const auto settled = [&] { return ready() || !table_->ended.empty(); };
    if (wait == Wait::kIdle)
      table_->changed.wait(lock, settled);
    else if (!table_->changed.wait_for(lock, table_->timeout, settled) && table_->ended.empty()) {
      table_->ended =
          fmt::format("rank {} of {}: the others did not answer for {:g} s", rank_, n_ranks(), table_->timeout.count());
      table_->changed.notify_all();
    }
    if (!ready()) throw Error(ErrorKind::kIo, table_->ended);
  }

  const std::shared_ptr<Table> table_;
  const size_t rank_;
  std::span<float> summed_;  // what begin_sum() was given
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> thread_ranks(size_t n, double timeout_seconds) {
  const auto table = std::make_shared<Table>(n, timeout_seconds);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (size_t rank = 0; rank < n; ++rank) ranks.push_back(std::make_unique<ThreadRank>(table, rank));
  return ranks;
}

}  // namespace hunch
