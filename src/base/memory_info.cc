#include "base/memory_info.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "base/error.h"

namespace hunch {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

// The number that a one-number file holds; "max" and missing files are no number.
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t value;
  if (file >> value) return value;
  return std::nullopt;
}

// The value after `key` in a file of "key value" lines.
std::optional<uint64_t> value_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  uint64_t value;
  while (file >> word)
    if (word == key && file >> value) return value;
  return std::nullopt;
}

// What one cgroup leaves: limit - (usage - page cache that the kernel can drop).
uint64_t left_in_cgroup(const std::string& dir, const char* limit_file, const char* usage_file, const char* cache_key) {
  const auto limit = number_in(dir + "/" + limit_file), usage = number_in(dir + "/" + usage_file);
  if (!limit || !usage) return kUnknown;
  const uint64_t droppable = value_of(dir + "/memory.stat", cache_key).value_or(0);
  const uint64_t held = *usage - std::min(*usage, droppable);
  return *limit - std::min(*limit, held);
}

// The smallest remainder over the process's cgroup and all its parents.
uint64_t left_in_cgroups() {
  uint64_t left = kUnknown;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && controllers.find("memory") == std::string::npos) continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      const std::string dir = root + (path == "/" ? "" : path);
      left = std::min(
          left, v2 ? left_in_cgroup(dir, "memory.max", "memory.current", "inactive_file")
                   : left_in_cgroup(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return left;
}

uint64_t left_on_system() {
  if (const auto kb = value_of("/proc/meminfo", "MemAvailable:")) return *kb * 1024;
#ifdef _SC_PHYS_PAGES
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page_bytes > 0) return uint64_t(pages) * uint64_t(page_bytes);
#endif
  return kUnknown;
}

// What `ulimit -v` leaves of the address space.
uint64_t left_of_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnknown;
  const uint64_t used = number_in("/proc/self/statm").value_or(0) * uint64_t(sysconf(_SC_PAGE_SIZE));
  return limit.rlim_cur - std::min<uint64_t>(limit.rlim_cur, used);
}

std::string readable(uint64_t n_bytes) {
  return n_bytes < 10'000'000'000 ? fmt::format("{:.1f} MB", double(n_bytes) / 1e6)
                                  : fmt::format("{:.1f} GB", double(n_bytes) / 1e9);
}

}  // namespace

uint64_t available_memory_bytes() { return std::min({left_on_system(), left_in_cgroups(), left_of_limit()}); }

void require_memory(uint64_t n_bytes, std::string_view what, std::string_view advice) {
  const uint64_t available = available_memory_bytes();
  if (n_bytes > available)
    fail(ErrorKind::kMemory, "not enough memory: {} takes {}, {} are available{}{}", what, readable(n_bytes),
         readable(available), advice.empty() ? "" : "; ", advice);
}

}  // namespace hunch
