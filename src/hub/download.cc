#include "hub/download.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "hub/part.h"

namespace hunch {
namespace {

constexpr uint64_t kGainBytes = uint64_t{1} << 20;  // an attempt that gained so much is not counted as failed
constexpr auto kTick = std::chrono::milliseconds(100);

// First byte of a "bytes 100-199/200" header; nullopt when it is something else.
std::optional<uint64_t> content_range_begin(const std::string& header) {
  if (!header.starts_with("bytes ") || header.size() < 7 || header[6] < '0' || header[6] > '9') return std::nullopt;
  return std::strtoull(header.c_str() + 6, nullptr, 10);
}

// What the workers and the calling thread share.
class Download {
 public:
  Download(const HubServer& server, const DownloadJob& job) : server_(server), job_(job) {
    for (const DownloadTask& task : job.tasks) total_bytes_ += task.file.size;
  }
  ~Download() { stop_and_join(); }

  uint64_t run() {
    const size_t n_workers = std::min(std::max<size_t>(job_.n_parallel, 1), job_.tasks.size());
    n_running_ = n_workers;
    for (size_t i = 0; i < n_workers; i++) workers_.emplace_back([this] { work(); });
    const bool interrupted = wait();
    stop_and_join();
    deliver_notes();
    if (interrupted)
      fail(ErrorKind::kInterrupted, "interrupted; the same command resumes the download of '{}'", job_.repo);
    if (error_) std::rethrow_exception(error_);
    report();
    return n_received_;
  }

 private:
  // Reports until every worker is done or told to stop. Returns whether it is to end early.
  bool wait() {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kTick, [&] { return n_running_ == 0; });
        if (n_running_ == 0 || error_) return false;
      }
      if (server_.stop && server_.stop->requested()) return true;
      deliver_notes();
      report();
    }
  }

  void report() {
    if (job_.progress) job_.progress(job_.repo, n_done_.load(), total_bytes_);
  }

  void deliver_notes() {
    std::vector<std::string> notes;
    {
      std::lock_guard lock(mutex_);
      notes.swap(notes_);
    }
    if (!server_.note) return;
    for (const std::string& note : notes) server_.note(note);
  }

  void stop_and_join() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void work() {
    try {
      HttpClient client;
      for (size_t i = next_++; i < job_.tasks.size() && !stop_; i = next_++) fetch(client, job_.tasks[i]);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_ && !stop_) error_ = std::current_exception();
    }
    {
      std::lock_guard lock(mutex_);
      n_running_--;
    }
    changed_.notify_all();
  }

  void fetch(HttpClient& client, const DownloadTask& task) {
    PartFile part(task.part, task.file, [this] { return stop_.load(); });
    n_done_ += part.size();
    uint64_t most_bytes = part.size();
    bool pieced = part.size() > 0;  // put together from more than one answer
    Backoff backoff(server_);
    while (true) {
      if (part.full()) {
        if (part.matches()) return part.publish(task.target);
        n_done_ -= part.size();
        if (!pieced) {
          part.discard();
          fail(ErrorKind::kNetwork,
               "'{}' of '{}' does not match the hub's checksum {}; it was deleted, run the same command again",
               task.file.path, job_.repo, task.file.digest);
        }
        note(fmt::format("'{}', resumed, does not match the hub's checksum; downloading it anew", task.file.path));
        part.restart();
        pieced = false;
      }
      pieced = pieced || part.size() > 0;
      std::optional<double> retry_after_s;
      const std::string problem = attempt(client, task, part, retry_after_s);
      if (part.full()) continue;
      if (part.size() >= most_bytes + kGainBytes) backoff.reset();
      most_bytes = std::max(most_bytes, part.size());
      const std::optional<double> wait_s = backoff.next(retry_after_s);
      if (!wait_s) {
        throw HubUnreachable(
            fmt::format("'{}' of '{}': {} ({} of {} bytes are here); the same command resumes the download",
                        task.file.path, job_.repo, problem, part.size(), task.file.size));
      }
      note(fmt::format("'{}': {}; next attempt in {:.0f} s", task.file.path, problem, *wait_s));
      pause(*wait_s);
    }
  }

  // One request for what is missing. Returns what went wrong, if the part is not full afterwards.
  std::string attempt(HttpClient& client, const DownloadTask& task, PartFile& part,
                      std::optional<double>& retry_after_s) {
    HttpRequest request;
    request.url = task.url;
    request.token = server_.token;
    request.token_origin = server_.endpoint;
    request.range_begin = part.size();
    request.cancelled = [this] { return stop_.load(); };
    bool first = true;
    request.on_body = [&](const HttpHead& head, std::string_view piece) {
      if (first && request.range_begin > 0) check_range(head, part);
      first = false;
      part.append(piece);
      n_done_ += piece.size();
      n_received_ += piece.size();
    };
    try {
      const HttpResponse response = client.get(request);
      if (response.status == 200 || response.status == 206) return "the answer ended early";
      if (response.status == 416) {  // the part cannot be of this file
        n_done_ -= part.size();
        part.restart();
        return "the hub cannot resume the part";
      }
      retry_after_s = response.retry_after_s();
      if (is_transient(response.status)) return fmt::format("the hub answers {}", response.status);
      fail_hub_status(server_, response, job_.repo, job_.revision, fmt::format("file '{}'", task.file.path));
    } catch (const HttpFailure& failure) {
      return failure.what();
    }
  }

  // A server may ignore the range and send everything, which restarts the part; one that sends another
  // range than asked (a broken proxy) is asked again without one.
  void check_range(const HttpHead& head, PartFile& part) {
    const std::string range = head.header("content-range");
    if (head.status == 206 && content_range_begin(range) == part.size()) return;
    const uint64_t asked = part.size();
    n_done_ -= part.size();
    part.restart();
    if (head.status == 206) {
      throw HttpFailure(fmt::format("asked for the bytes from {}, the hub answers '{}'", asked, range),
                        /*connected=*/true);
    }
  }

  void note(std::string text) {
    std::lock_guard lock(mutex_);
    notes_.push_back(std::move(text));
  }

  void pause(double seconds) {
    std::unique_lock lock(mutex_);
    const bool stopped = changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return stop_.load(); });
    if (stopped) throw Error(ErrorKind::kInterrupted, "interrupted");
  }

  const HubServer& server_;
  const DownloadJob& job_;
  uint64_t total_bytes_ = 0;
  std::atomic<uint64_t> n_done_{0}, n_received_{0};
  std::atomic<size_t> next_{0};
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards what follows, and every change of stop_
  std::condition_variable changed_;
  size_t n_running_ = 0;
  std::exception_ptr error_;
  std::vector<std::string> notes_;
  std::vector<std::thread> workers_;
};

}  // namespace

uint64_t download_files(const HubServer& server, const DownloadJob& job) {
  if (job.tasks.empty()) return 0;
  return Download(server, job).run();
}

}  // namespace hunch
