// Which processors and memory are near each other: NUMA, as Linux says it in /sys.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace hunch {

struct NumaNode {
  int id = 0;
  std::vector<int> cpus;  // that this process may use
};

// The processors that this process may use, ascending; none where the system does not say.
std::vector<int> allowed_cpus();

// The calling thread may from now on run on these alone; none: as before.
void stay_on(std::span<const int> cpus);

// Where the calling thread runs at this moment; -1: the system does not say.
int current_cpu();

// "0-3,8,10-11"; nothing of a text that is no such list.
std::vector<int> cpus_from_list(std::string_view text);

// The nodes that have some of these processors, by number, as SYS/devices/system/node says (`sys`: tests have another
// one). Where it says nothing, one node with all of them; so do processors that it leaves out belong to the first.
std::vector<NumaNode> numa_nodes(std::span<const int> cpus, const std::filesystem::path& sys = "/sys");

// Physical cores among processors: hyper-threads of one core are one (SYS/devices/system/cpu).
size_t n_cores(std::span<const int> cpus, const std::filesystem::path& sys = "/sys");

enum class NumaPolicy : uint8_t {
  kOff,         // threads go where the system puts them
  kDistribute,  // evenly over the nodes, each bound to its own
  kIsolate,     // only on the node on which this thread runs
  kRanks,       // of several processes on this machine, each on one node
};

// Where threads run.
struct ThreadPlaces {
  std::vector<std::vector<int>> cpus;  // [n_threads] that thread i may use; none: anywhere
  std::vector<size_t> nodes;           // [n_threads] which of the nodes used, from 0 on, never falling: threads of a
                                       // node have neighbouring parts of every loop
  std::vector<int> ids;                // of the nodes that are used
  size_t n_nodes() const { return ids.empty() ? 1 : ids.size(); }
};

struct NumaChoice {
  NumaPolicy policy = NumaPolicy::kOff;
  size_t local_rank = 0;  // kRanks: which process of this machine this is
};

// Places for n_threads (0: one for each core that the policy leaves). `current_cpu`: where this thread runs. Off, and
// where there is one node only, nobody is bound. Throws Error{kUsage} for more processes than nodes (kRanks).
ThreadPlaces place_threads(std::span<const NumaNode> nodes, const NumaChoice& choice, size_t n_threads, int current_cpu,
                           const std::filesystem::path& sys = "/sys");

// Has the system put the pages of this memory on that node, those that are somewhere already too; a page on which it
// begins or ends within goes with it where it begins. False: the system does not.
bool move_pages(std::span<const std::byte> memory, int node_id);
// The same, on the nodes in turn.
bool interleave_pages(std::span<const std::byte> memory, std::span<const int> node_ids);

// The parts [begin, end) of n things that the threads of each node have in ThreadPool::parallel_for(n, grain, ...),
// [n_nodes()]: neighbours, in order.
struct NodePart {
  size_t begin = 0, end = 0;
};
std::vector<NodePart> node_parts(const ThreadPlaces& places, size_t n, size_t grain);

}  // namespace hunch
