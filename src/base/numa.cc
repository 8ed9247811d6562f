#include "base/numa.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <string>

#include "base/error.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

std::string first_line(const fs::path& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
#endif
  return cpus;
}

void stay_on(std::span<const int> cpus) {
#ifdef __linux__
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
#endif
}

int current_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

std::vector<int> cpus_from_list(std::string_view text) {
  constexpr int kMostCpus = 1 << 16;
  std::vector<int> cpus;
  const char *at = text.data(), *const end = at + text.size();
  const auto number = [&](int& value) {
    const auto [next, error] = std::from_chars(at, end, value);
    at = next;
    return error == std::errc() && value >= 0 && value < kMostCpus;
  };
  while (at != end && *at != '\n') {
    int first = 0, last = 0;
    if (!number(first)) return {};
    last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return {};
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (at == end || *at == '\n') break;
    if (*at++ != ',') return {};
  }
  return cpus;
}

std::vector<NumaNode> numa_nodes(std::span<const int> cpus, const fs::path& sys) {
  std::vector<NumaNode> nodes;
  std::set<int> left(cpus.begin(), cpus.end());
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(sys / "devices/system/node", ec)) {
    const std::string name = entry.path().filename().string();
    NumaNode node;
    if (!name.starts_with("node")) continue;
    const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), node.id);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    for (const int cpu : cpus_from_list(first_line(entry.path() / "cpulist")))
      if (left.erase(cpu)) node.cpus.push_back(cpu);
    if (!node.cpus.empty()) nodes.push_back(std::move(node));  // others have memory only
  }
  std::ranges::sort(nodes, {}, &NumaNode::id);
  if (nodes.empty()) nodes.emplace_back();
  nodes[0].cpus.insert(nodes[0].cpus.end(), left.begin(), left.end());
  std::ranges::sort(nodes[0].cpus);
  return nodes;
}

size_t n_cores(std::span<const int> cpus, const fs::path& sys) {
  std::set<std::pair<int, int>> cores;
  for (const int cpu : cpus) {
    const fs::path topology = sys / fmt::format("devices/system/cpu/cpu{}/topology", cpu);
    int package = 0, core = cpu;
    std::ifstream(topology / "physical_package_id") >> package;
    if (int id = 0; std::ifstream(topology / "core_id") >> id) core = id;
    cores.insert({package, core});
  }
  return cores.size();
}

ThreadPlaces place_threads(std::span<const NumaNode> nodes, const NumaChoice& choice, size_t n_threads, int current_cpu,
                           const fs::path& sys) {
  std::vector<const NumaNode*> used;
  for (const NumaNode& node : nodes) used.push_back(&node);
  if (choice.policy == NumaPolicy::kIsolate) {
    const auto here = std::ranges::find_if(
        used, [&](const NumaNode* node) { return std::ranges::count(node->cpus, current_cpu) > 0; });
    used = {here == used.end() ? used[0] : *here};
  } else if (choice.policy == NumaPolicy::kRanks) {
    if (choice.local_rank >= used.size())
      fail(ErrorKind::kUsage,
           "one process for each NUMA node (numa) was asked for; this machine has {} nodes, and process {} is one too "
           "many: mpirun -n {}, or -n of more machines",
           used.size(), choice.local_rank + 1, used.size());
    used = {used[choice.local_rank]};
  }
  ThreadPlaces places;
  std::vector<int> all;
  for (const NumaNode* node : used) all.insert(all.end(), node->cpus.begin(), node->cpus.end());
  const size_t n = n_threads ? n_threads : std::max<size_t>(1, n_cores(all, sys));
  places.cpus.resize(n);
  places.nodes.resize(n);
  if (choice.policy == NumaPolicy::kOff || nodes.size() < 2) return places;
  used.resize(std::min(used.size(), n));
  for (const NumaNode* node : used) places.ids.push_back(node->id);
  for (size_t thread = 0; thread < n; ++thread) {
    places.nodes[thread] = thread * used.size() / n;
    places.cpus[thread] = used[places.nodes[thread]]->cpus;
  }
  return places;
}

namespace {

enum MemoryPolicy { kPreferred = 1, kInterleave = 3 };  // MPOL_ of linux/mempolicy.h

// Of whole pages: from the one in which it begins up to, but not with, the one in which it ends.
bool set_policy(std::span<const std::byte> memory, MemoryPolicy policy, std::span<const int> node_ids) {
#if defined(__linux__) && defined(SYS_mbind)
  constexpr unsigned kMove = 2;  // MPOL_MF_MOVE
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask;
  for (const int id : node_ids) {
    if (mask.size() <= size_t(id) / kBits) mask.resize(size_t(id) / kBits + 1);
    mask[size_t(id) / kBits] |= 1ul << (size_t(id) % kBits);
  }
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(memory.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(memory.data() + memory.size()) / page * page;
  if (mask.empty() || end <= first) return false;
  // (The kernel takes one bit less than it is told.)
  return syscall(SYS_mbind, first, end - first, policy, mask.data(), mask.size() * kBits + 1, kMove) == 0;
#else
  return false;
#endif
}

}  // namespace

bool move_pages(std::span<const std::byte> memory, int node_id) {
  return set_policy(memory, kPreferred, {&node_id, 1});
}

bool interleave_pages(std::span<const std::byte> memory, std::span<const int> node_ids) {
  return set_policy(memory, kInterleave, node_ids);
}

std::vector<NodePart> node_parts(const ThreadPlaces& places, size_t n, size_t grain) {
  std::vector<NodePart> parts(places.n_nodes());
  const size_t n_threads = places.nodes.size(), n_grains = (n + grain - 1) / grain;
  for (size_t thread = 0; thread < n_threads; ++thread) {
    NodePart& part = parts[places.nodes[thread]];
    const bool is_first = thread == 0 || places.nodes[thread - 1] != places.nodes[thread];
    if (is_first) part.begin = std::min(n, n_grains * thread / n_threads * grain);
    part.end = std::min(n, n_grains * (thread + 1) / n_threads * grain);
  }
  return parts;
}

}  // namespace hunch
