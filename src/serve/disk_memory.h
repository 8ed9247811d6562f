// Texts with their keys and values as files, for prompts of later days that begin alike: they survive the server.
#pragma once
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/common_prefix.h"
#include "base/file.h"
#include "state/kv_cache.h"

namespace hunch::serve {

// One caller at a time; files are read and written by threads of its own. A file is whole or is not there: it appears
// under its name when it is complete, ends with the SHA-256 of what stands before, and is removed where that does not
// agree.
class DiskMemory {
 public:
  struct Options {
    std::filesystem::path folder;                       // made where it is not there
    uint64_t most_bytes = 0;                            // of all files of it; those unused for longest go
    std::string key;                                    // whose keys these are: model, type and shape of the cache
    std::function<void(const std::string&)> warn = {};  // any thread; told once of a folder that cannot be written
    std::function<void()> before_reading = {};          // on the reader's thread
  };
  // Reads what is there, of this key. Throws Error{kIo} for a folder that cannot be made or read.
  DiskMemory(Options options, const KvShape& shape);
  // Writes what waits.
  ~DiskMemory();

  // Of a text that is worth it, and whether it took it: not where others wait to be written. `plan`: the name of what
  // computed it.
  static constexpr size_t kLeastTokens = 64;
  bool save(const KvCache& cache, KvCache::SequenceId sequence, std::span<const int32_t> ids, const std::string& plan,
            bool waits = false);

  struct Found {
    std::string name;    // of the file
    size_t n_alike = 0;  // tokens, that it can go on from
  };
  // The text that begins like this for longest.
  Found find(std::span<const int32_t> ids, const std::string& plan) const;
  struct Text {
    std::vector<int32_t> ids;
    std::vector<std::byte> keys;  // KvCache::load()
  };
  // Nothing where the file is not what it was, or gone. Takes as long as it takes.
  std::optional<Text> load(const std::string& name);
  // The same by the reader's thread: begins it, unless kMostFetched are on their way or wait to be taken. Whether it is
  // on its way or there.
  static constexpr size_t kMostFetched = 2;
  bool fetch(const std::string& name);
  bool is_fetching(const std::string& name) const;
  // What was fetched, once; nothing where it is not there.
  std::optional<Text> take(const std::string& name);
  // Of each fetch() once, unless it was taken: it is not wanted any more.
  void drop(const std::string& name);
  size_t n_texts() const;

 private:
  struct Entry {
    std::string name, plan;
    std::vector<int32_t> ids;
    std::vector<size_t> points = {};  // KvCache::saved_points()
    uint64_t bytes = 0;
    // Of a beginning of so many tokens, as many as it can go on from.
    size_t n_usable(size_t n_alike) const;
  };
  struct Pending {
    Entry entry;
    std::vector<std::byte> keys;
  };
  void read_folder();
  std::optional<Entry> read_head(const std::filesystem::path& path) const;
  std::string head_of(const Entry& entry) const;
  void write(const Pending& pending);
  void forget(const std::string& name);
  void write_pending();
  void read_wanted();

  const Options options_;
  const KvShape shape_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Entry> entries_;  // the one that was used last at the end
  std::deque<Pending> pending_;
  struct Fetched {
    std::string name;
    size_t n_wanted = 1;
    bool is_done = false;
    std::optional<Text> text = {};
  };
  std::list<Fetched> fetched_;
  bool ends_ = false, warned_ = false;
  std::thread writer_, reader_;  // last: they begin when all else is there
};

}  // namespace hunch::serve
