#include "measure/machine.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "base/timer.h"
#include "kernels/read_stream.h"
#include "kernels/simd_target.h"
#include "measure/home_json.h"

namespace hunch {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (const size_t colon = line.find(": "); colon != line.npos) return line.substr(colon + 2);
  return "unknown CPU";
}

constexpr char kFile[] = "machine.json";

}  // namespace

MachineInfo machine_info() {
  return {cpu_model(), simd_target_name(), default_n_threads(),
          uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE))};
}

MachineSpeed measure_machine(Compute& compute) {
  constexpr size_t kWantedBytes = size_t{1} << 30;
  const size_t n_bytes =
      std::clamp<size_t>(available_memory_bytes() / 4, size_t{64} << 20, kWantedBytes) & ~size_t{4095};
  const AlignedBuffer buffer(n_bytes);
  std::vector<uint32_t> sums(compute.threads.n_threads() * 16);  // a line for each thread
  compute.threads.parallel_for(n_bytes, 1 << 20,
                               [&](size_t begin, size_t end) { std::memset(buffer.data() + begin, 1, end - begin); });
  std::vector<double> rates[std::size(kReadWays)];
  size_t n_passes = 0;
  const Timer total;
  for (; n_passes < 5 * std::size(kReadWays) || (n_passes < 60 && total.seconds() < 1.5); ++n_passes) {
    compute.throw_if_stopped();
    const size_t way = n_passes % std::size(kReadWays);
    const Timer timer;
    compute.threads.parallel_for(n_bytes, 1 << 20, [&](size_t begin, size_t end, size_t thread) {
      sums[thread * 16] += read_stream({buffer.data() + begin, end - begin}, kReadWays[way]);
    });
    rates[way].push_back(double(n_bytes) / timer.seconds() / 1e9);
  }
  uint32_t check = 0;
  for (uint32_t s : sums) check += s;
  const uint32_t expected = 0x01010101u * uint32_t(n_bytes / 4) * uint32_t(n_passes);
  HUNCH_CHECK(check == expected, "read {:#x}, expected {:#x}", check, expected);
  double best = 0;
  for (std::vector<double>& of_way : rates) {
    std::ranges::sort(of_way);
    best = std::max(best, of_way[of_way.size() / 2]);
  }
  return {compute.threads.n_threads(), best};
}

std::optional<MachineSpeed> cached_machine_speed(size_t n_threads) {
  const auto json = read_home_json(kFile);
  const std::string key = cpu_model() + " x " + std::to_string(n_threads);
  if (!json.contains(key) || !json[key].is_object() || !json[key].contains("read_gb_per_s") ||
      !json[key]["read_gb_per_s"].is_number())
    return std::nullopt;
  const double rate = json[key]["read_gb_per_s"];
  if (!(rate > 0)) return std::nullopt;
  return MachineSpeed{n_threads, rate};
}

void cache_machine_speed(const MachineSpeed& speed) {
  auto json = read_home_json(kFile);
  json[cpu_model() + " x " + std::to_string(speed.n_threads)] = {{"read_gb_per_s", speed.read_gb_per_s}};
  write_home_json(kFile, json);
}

}  // namespace hunch
