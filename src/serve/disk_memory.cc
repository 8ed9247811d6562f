#include "serve/disk_memory.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/sha256.h"
#include "serve/json.h"

namespace hunch::serve {
namespace {

constexpr std::string_view kMagic = "hunch-keys-1\n";
constexpr const char* kSuffix = ".keys";
constexpr uint64_t kMostHead = 1 << 16;  // bytes of the JSON
constexpr size_t kMostPending = 2;
constexpr size_t kDigest = sizeof(Sha256Digest);

std::span<const std::byte> bytes_of(std::span<const int32_t> ids) { return std::as_bytes(ids); }
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

DiskMemory::DiskMemory(Options options, const KvShape& shape) : options_(std::move(options)), shape_(shape) {
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error || !std::filesystem::is_directory(options_.folder))
    fail(ErrorKind::kIo, "'{}' cannot be made a folder: {}", options_.folder.string(), error.message());
  read_folder();
  writer_ = std::thread([this] { write_pending(); });
  reader_ = std::thread([this] { read_wanted(); });
}

DiskMemory::~DiskMemory() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  writer_.join();
  reader_.join();
}

// A file: kMagic, the head's length (u32, little-endian, as all numbers), the head, the ids, the keys, the digest.
std::string DiskMemory::head_of(const Entry& entry) const {
  const std::string json = dump({{"key", options_.key}, {"plan", entry.plan}, {"n_tokens", entry.ids.size()}});
  const auto n = uint32_t(json.size());
  std::string head(kMagic);
  head.append(reinterpret_cast<const char*>(&n), sizeof n);
  return head + json;
}

// What a file says it is; nothing where it is none of ours.
std::optional<DiskMemory::Entry> DiskMemory::read_head(const std::filesystem::path& path) const try {
  const MappedFile file(path);
  std::span<const std::byte> rest = file.bytes();
  const auto take = [&](size_t n) {
    if (n > rest.size()) fail(ErrorKind::kFormat, "the file is cut off");
    const auto part = rest.first(n);
    rest = rest.subspan(n);
    return part;
  };
  if (std::memcmp(take(kMagic.size()).data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  uint32_t n_head = 0;
  std::memcpy(&n_head, take(sizeof n_head).data(), sizeof n_head);
  if (n_head > kMostHead) return std::nullopt;
  const auto head = take(n_head);
  const Json json = parse_body({reinterpret_cast<const char*>(head.data()), head.size()});
  if (json.at("key") != options_.key) return std::nullopt;
  Entry entry{path.filename().string(), json.at("plan").get<std::string>()};
  const auto n_tokens = json.at("n_tokens").get<uint64_t>();
  if (n_tokens == 0 || n_tokens > rest.size()) return std::nullopt;  // before it is multiplied
  entry.ids.resize(n_tokens);
  std::memcpy(entry.ids.data(), take(n_tokens * sizeof(int32_t)).data(), n_tokens * sizeof(int32_t));
  if (rest.size() < kDigest) return std::nullopt;
  const auto points = KvCache::saved_points(shape_, n_tokens, rest.first(rest.size() - kDigest));
  if (!points) return std::nullopt;
  entry.points = *points;
  entry.bytes = file.bytes().size();
  return entry;
} catch (const std::exception&) {  // gone meanwhile, or not JSON
  return std::nullopt;
}

void DiskMemory::read_folder() {
  std::multimap<std::filesystem::file_time_type, Entry> by_time;
  try {
    for (const auto& file : std::filesystem::directory_iterator(options_.folder)) {
      if (file.path().extension() != kSuffix || !file.is_regular_file()) continue;
      if (auto entry = read_head(file.path())) by_time.emplace(file.last_write_time(), std::move(*entry));
    }
  } catch (const std::filesystem::filesystem_error& e) {
    fail(ErrorKind::kIo, "'{}' cannot be read: {}", options_.folder.string(), e.code().message());
  }
  for (auto& [time, entry] : by_time) entries_.push_back(std::move(entry));
}

bool DiskMemory::save(const KvCache& cache, KvCache::SequenceId sequence, std::span<const int32_t> ids,
                      const std::string& plan, bool waits) {
  if (ids.size() < kLeastTokens || !cache.can_save(sequence)) return false;
  if (find(ids, plan).n_alike == ids.size()) return true;
  std::unique_lock lock(mutex_);
  if (waits) changed_.wait(lock, [&] { return pending_.size() < kMostPending; });
  if (pending_.size() >= kMostPending) return false;
  lock.unlock();
  Sha256 name;
  name.update(options_.key);
  name.update(plan);
  name.update(bytes_of(ids));
  Pending pending{{name.finish_hex().substr(0, 32) + kSuffix, plan, {ids.begin(), ids.end()}},
                  cache.save(sequence, ids.size())};
  pending.entry.points = *KvCache::saved_points(shape_, ids.size(), pending.keys);
  lock.lock();
  pending_.push_back(std::move(pending));
  lock.unlock();
  changed_.notify_all();
  return true;
}

size_t DiskMemory::Entry::n_usable(size_t n_alike) const {
  if (points.empty()) return n_alike;
  size_t n = 0;
  for (const size_t point : points)
    if (point <= n_alike) n = point;
  return n;
}

DiskMemory::Found DiskMemory::find(std::span<const int32_t> ids, const std::string& plan) const {
  const std::lock_guard lock(mutex_);
  Found best;
  for (const Entry& entry : entries_) {
    if (entry.plan != plan) continue;
    if (const size_t n = entry.n_usable(common_prefix(entry.ids, ids)); n > best.n_alike) best = {entry.name, n};
  }
  return best;
}

size_t DiskMemory::n_texts() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::optional<DiskMemory::Text> DiskMemory::load(const std::string& name) {
  const std::filesystem::path path = options_.folder / name;
  const std::optional<Entry> entry = read_head(path);
  std::optional<Text> text;
  if (entry) try {
      const MappedFile file(path);
      const std::span<const std::byte> bytes = file.bytes(), digest = bytes.last(kDigest);
      Sha256 sha;
      sha.update(bytes.first(bytes.size() - kDigest));
      if (const Sha256Digest own = sha.finish(); std::ranges::equal(own, digest)) {
        const auto keys = bytes.last(kDigest + KvCache::saved_bytes(shape_, entry->ids.size(), entry->points.size()));
        text.emplace(Text{entry->ids, {keys.begin(), keys.end() - kDigest}});
      }
    } catch (const Error&) {
    }
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  if (text) {
    std::error_code ignored;
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), ignored);
    if (found != entries_.end()) entries_.splice(entries_.end(), entries_, found);
  } else {
    forget(name);
  }
  return text;
}

void DiskMemory::forget(const std::string& name) {
  std::error_code ignored;
  std::filesystem::remove(options_.folder / name, ignored);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.name == name; });
}

// On the writer's thread.
void DiskMemory::write(const Pending& pending) {
  Entry entry = pending.entry;
  const std::string head = head_of(entry);
  const uint64_t n_bytes = head.size() + entry.ids.size() * sizeof(int32_t) + pending.keys.size() + kDigest;
  if (n_bytes > options_.most_bytes) return;
  {
    const std::lock_guard lock(mutex_);
    // What is a beginning of another text is in it.
    std::vector<std::string> gone;
    for (const Entry& e : entries_) {
      if (e.plan != entry.plan) continue;
      const size_t n = common_prefix(e.ids, entry.ids);
      const auto has_all = [](const Entry& one, const Entry& other) {
        return std::ranges::includes(one.points, other.points);
      };
      if (n == entry.ids.size() && has_all(e, entry)) return;
      if (n == e.ids.size() && has_all(entry, e)) gone.push_back(e.name);
    }
    for (const std::string& name : gone) forget(name);
    uint64_t total = n_bytes;
    for (const Entry& e : entries_) total += e.bytes;
    while (total > options_.most_bytes && !entries_.empty()) {
      total -= entries_.front().bytes;
      forget(std::string(entries_.front().name));
    }
  }
  try {
    Sha256 sha;
    AtomicFile file(options_.folder / entry.name);
    for (const std::span<const std::byte> part :
         {bytes_of(head), bytes_of(entry.ids), std::span<const std::byte>(pending.keys)}) {
      sha.update(part);
      file.write(part);
    }
    const Sha256Digest digest = sha.finish();
    file.write(digest);
    file.commit();
    entry.bytes = n_bytes;
    const std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
  } catch (const Error& e) {
    if (!std::exchange(warned_, true) && options_.warn) options_.warn(e.what());
  }
}

void DiskMemory::write_pending() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ends_ || !pending_.empty(); });
    if (pending_.empty()) return;
    const Pending& next = pending_.front();  // it stays in its place while it is written
    lock.unlock();
    write(next);
    lock.lock();
    pending_.pop_front();
    changed_.notify_all();
  }
}

bool DiskMemory::fetch(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = std::ranges::find(fetched_, name, &Fetched::name); found != fetched_.end()) {
      ++found->n_wanted;
      return true;
    }
    if (fetched_.size() >= kMostFetched) return false;
    fetched_.push_back({name});
  }
  changed_.notify_all();
  return true;
}

bool DiskMemory::is_fetching(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(fetched_, name, &Fetched::name);
  return found != fetched_.end() && !found->is_done;
}

std::optional<DiskMemory::Text> DiskMemory::take(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(fetched_, name, &Fetched::name);
  if (found == fetched_.end() || !found->is_done) return std::nullopt;
  std::optional<Text> text = std::move(found->text);
  fetched_.erase(found);
  return text;
}

void DiskMemory::drop(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(fetched_, name, &Fetched::name);
  if (found == fetched_.end() || --found->n_wanted > 0) return;
  if (found->is_done) fetched_.erase(found);
}

// On the reader's thread. What it reads stays in the list until that is done.
void DiskMemory::read_wanted() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto next = [&] { return std::ranges::find(fetched_, false, &Fetched::is_done); };
    changed_.wait(lock, [&] { return ends_ || next() != fetched_.end(); });
    if (ends_) return;
    const auto wanted = next();
    const std::string name = wanted->name;
    lock.unlock();
    if (options_.before_reading) options_.before_reading();
    std::optional<Text> text = load(name);
    lock.lock();
    wanted->text = std::move(text);
    wanted->is_done = true;
    if (wanted->n_wanted == 0) fetched_.erase(wanted);
  }
}

}  // namespace hunch::serve
