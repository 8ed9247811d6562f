#include "base/numa.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/aligned_buffer.h"
#include "base/bind_threads.h"
#include "base/error.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// A tree like /sys.
class Numa : public ::testing::Test {
 protected:
  fs::path sys_ = fs::temp_directory_path() / ("hunch_numa" + std::to_string(getpid()));
  void TearDown() override { fs::remove_all(sys_); }

  void node(int id, const std::string& cpulist) {
    const fs::path folder = sys_ / "devices/system/node" / ("node" + std::to_string(id));
    fs::create_directories(folder);
    std::ofstream(folder / "cpulist") << cpulist << "\n";
  }
  void core(int cpu, int package, int id) {
    const fs::path folder = sys_ / "devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    fs::create_directories(folder);
    std::ofstream(folder / "physical_package_id") << package << "\n";
    std::ofstream(folder / "core_id") << id << "\n";
  }
  // Two sockets of four cores with two hyper-threads each, as Linux numbers them.
  void two_sockets() {
    node(0, "0-3,8-11");
    node(1, "4-7,12-15");
    for (int cpu = 0; cpu < 16; ++cpu) core(cpu, cpu % 8 / 4, cpu % 4);
  }
  std::vector<NumaNode> nodes_of(int n_cpus) const { return numa_nodes(up_to(n_cpus), sys_); }
  static std::vector<int> up_to(int n) {
    std::vector<int> cpus;
    for (int i = 0; i < n; ++i) cpus.push_back(i);
    return cpus;
  }
};

using Ints = std::vector<int>;
using Sizes = std::vector<size_t>;

TEST_F(Numa, ListsOfProcessors) {
  EXPECT_EQ(cpus_from_list("0-3,8,10-11"), (Ints{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(cpus_from_list("5\n"), (Ints{5}));
  for (const char* wrong : {"", "a", "3-1", "-1", "1;2", "1-", "0-99999999", "99999999999999999999"})
    EXPECT_EQ(cpus_from_list(wrong), Ints()) << wrong;
}

TEST_F(Numa, NodesAreThoseOfTheTreeAndOfTheProcessorsThatAreAllowed) {
  two_sockets();
  node(2, "");  // memory alone
  const std::vector<NumaNode> all = nodes_of(16);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].cpus, (Ints{0, 1, 2, 3, 8, 9, 10, 11}));
  EXPECT_EQ(all[1].cpus, (Ints{4, 5, 6, 7, 12, 13, 14, 15}));
  const std::vector<NumaNode> some = numa_nodes(Ints{5, 6}, sys_);
  ASSERT_EQ(some.size(), 1u);
  EXPECT_EQ(some[0].id, 1);
  EXPECT_EQ(some[0].cpus, (Ints{5, 6}));
  EXPECT_EQ(n_cores(all[0].cpus, sys_), 4u);
}

TEST_F(Numa, WithoutATreeThereIsOneNode) {
  const std::vector<NumaNode> nodes = numa_nodes(Ints{0, 1}, sys_ / "none");
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].cpus, (Ints{0, 1}));
}

TEST_F(Numa, ThreadsOfANodeAreNeighbours) {
  two_sockets();
  node(2, "16-17");
  const std::vector<NumaNode> nodes = nodes_of(18);
  const ThreadPlaces places = place_threads(nodes, {NumaPolicy::kDistribute}, 7, 0, sys_);
  EXPECT_EQ(places.nodes, (Sizes{0, 0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(places.ids, (Ints{0, 1, 2}));
  EXPECT_EQ(places.cpus[3], nodes[1].cpus);
  EXPECT_EQ(place_threads(nodes, {NumaPolicy::kDistribute}, 2, 0, sys_).nodes, (Sizes{0, 1})) << "as many nodes";
  two_sockets();
  EXPECT_EQ(place_threads(nodes_of(16), {NumaPolicy::kDistribute}, 0, 0, sys_).nodes, (Sizes{0, 0, 0, 0, 1, 1, 1, 1}));
}

TEST_F(Numa, IsolatedThreadsAndRanksStayOnOneNode) {
  two_sockets();
  const std::vector<NumaNode> nodes = nodes_of(16);
  const ThreadPlaces here = place_threads(nodes, {NumaPolicy::kIsolate}, 0, 13, sys_);
  EXPECT_EQ(here.ids, (Ints{1}));
  EXPECT_EQ(here.cpus, std::vector<Ints>(4, nodes[1].cpus));
  for (const size_t rank : {0, 1})
    EXPECT_EQ(place_threads(nodes, {NumaPolicy::kRanks, rank}, 0, 0, sys_).ids, (Ints{int(rank)}));
  try {
    place_threads(nodes, {NumaPolicy::kRanks, 2}, 0, 0, sys_);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(e.what()).find("mpirun -n 2"), std::string::npos) << e.what();
  }
}

TEST_F(Numa, NobodyIsBoundWhereThereIsNothingToChoose) {
  two_sockets();
  const Sizes zeros(3);
  const ThreadPlaces off = place_threads(nodes_of(16), {NumaPolicy::kOff}, 3, 0, sys_);
  EXPECT_EQ(off.n_nodes(), 1u);
  EXPECT_EQ(off.cpus, std::vector<Ints>(3));
  const ThreadPlaces one = place_threads(nodes_of(4), {NumaPolicy::kDistribute}, 3, 0, sys_);
  EXPECT_EQ(one.nodes, zeros);
  EXPECT_EQ(one.cpus, std::vector<Ints>(3));
}

// As if every processor of this machine were a node.
ThreadPlaces own_places(size_t n_threads) {
  std::vector<NumaNode> nodes;
  const Ints cpus = allowed_cpus();
  for (int id = 0; id < 2; ++id) nodes.push_back({id, {cpus[size_t(id) % cpus.size()]}});
  return place_threads(nodes, {NumaPolicy::kDistribute}, n_threads, 0);
}

TEST_F(Numa, ThreadsRunOnTheirNodes) {
  const ThreadPlaces places = own_places(4);
  std::thread([&] {  // which is bound then
    ThreadPool pool(4);
    ASSERT_TRUE(bind_threads(pool, places));
    std::vector<int> ran(4, -1);
    ASSERT_TRUE(on_every_thread(pool, [&](size_t thread) { ran[thread] = current_cpu(); }));
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(Ints{ran[i]}, places.cpus[i]) << i;
  })
      .join();
}

TEST_F(Numa, PinnedThreadsOfANodeHaveAProcessorEach) {
  const Ints cpus = allowed_cpus();
  if (cpus.size() < 2) GTEST_SKIP() << "one processor";
  ThreadPlaces places;
  places.cpus = {cpus, cpus};
  std::thread([&] {
    ThreadPool pool(2);
    ASSERT_TRUE(bind_threads(pool, places, true));
    std::vector<Ints> may(2);
    ASSERT_TRUE(on_every_thread(pool, [&](size_t thread) { may[thread] = allowed_cpus(); }));
    EXPECT_EQ(may, (std::vector<Ints>{{cpus[0]}, {cpus[1]}}));
  }).join();
}

// The parts of a loop, which threads of a node do unless they are held up.
TEST_F(Numa, ANodesPartIsWhatItsThreadsHave) {
  two_sockets();
  node(2, "16-17");
  const std::vector<NumaNode> nodes = nodes_of(18);
  for (const size_t n_threads : {1, 2, 3, 5, 8}) {
    const ThreadPlaces places = place_threads(nodes, {NumaPolicy::kDistribute}, n_threads, 0, sys_);
    ThreadPool pool(n_threads);
    for (const size_t n : {1, 3, 16, 100, 1001})
      for (const size_t grain : {1, 16}) {
        std::vector<size_t> node_of(n, SIZE_MAX);
        pool.parallel_for(n, grain, [&](size_t begin, size_t end, size_t part) {
          for (size_t i = begin; i < end; ++i) node_of[i] = places.nodes[part];
        });
        const std::vector<NodePart> parts = node_parts(places, n, grain);
        ASSERT_EQ(parts.size(), places.n_nodes());
        size_t next = 0;
        for (size_t node = 0; node < parts.size(); ++node) {
          EXPECT_EQ(parts[node].begin, next);
          next = parts[node].end;
          for (size_t i = parts[node].begin; i < parts[node].end; ++i)
            EXPECT_EQ(node_of[i], n <= grain ? 0 : node) << n << " by " << grain << ", " << n_threads << " threads";
        }
        EXPECT_EQ(next, n);
      }
  }
}

TEST_F(Numa, PagesAreMovedOrNotButTheMemoryIsThere) {
  const AlignedBuffer memory(1 << 20);
  for (std::byte& b : memory.bytes()) b = std::byte{1};
  const bool moves = move_pages(memory.bytes(), numa_nodes(allowed_cpus())[0].id);
  EXPECT_EQ(moves, syscall(SYS_mbind, 0, 0, 0, nullptr, 0, 0) == 0) << "some sandboxes forbid it";
  EXPECT_EQ(interleave_pages(memory.bytes(), Ints{numa_nodes(allowed_cpus())[0].id}), moves);
  EXPECT_FALSE(interleave_pages(memory.bytes(), Ints()));
  EXPECT_FALSE(move_pages(memory.bytes().first(0), 0));
  for (const std::byte b : memory.bytes()) EXPECT_EQ(b, std::byte{1});
}

}  // namespace
}  // namespace hunch
