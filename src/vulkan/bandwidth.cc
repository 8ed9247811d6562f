#include "vulkan/bandwidth.h"

#include <algorithm>

#include "base/timer.h"
#include "vulkan/commands.h"

namespace hunch::vulkan {

double measure_read_gb_per_s(const std::shared_ptr<Gpu>& gpu) {
  constexpr uint32_t kGroups = 4096, kRepeats = 4, kTries = 5;
  // A processor that plays a card takes seconds for more than its caches hold.
  const uint64_t most = gpu->info().kind == "cpu" ? uint64_t{1} << 27 : uint64_t{1} << 30;
  const uint64_t n_bytes = std::min({most, gpu->free_bytes() / 4, gpu->most_bytes()}) / 4096 * 4096;
  DeviceArena arena(gpu);
  const Piece piece = arena.take(n_bytes), out = arena.take(sizeof(uint32_t));
  Uploader(gpu).fill_zero(piece);
  struct Push {
    uint64_t x, out;
    uint32_t n;  // of four words each
  } push{piece.address, out.address, uint32_t(n_bytes / 16)};
  Commands commands(gpu);
  for (uint32_t i = 0; i < kRepeats; ++i) {
    commands.dispatch(gpu->pipeline("read_all"), push, kGroups);
    commands.barrier();
  }
  commands.end();
  commands.run();
  double best = 0;
  for (uint32_t i = 0; i < kTries; ++i) {
    const Timer timer;
    commands.run();
    best = std::max(best, double(n_bytes) * kRepeats / timer.seconds() / 1e9);
  }
  return best;
}

}  // namespace hunch::vulkan
