#include "linear/weight_disk.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hunch {
namespace {

constexpr size_t kMatricesOfExpert = 3;

}  // namespace

WeightDisk::WeightDisk(std::unique_ptr<DiskReader> reader)
    : reader_(std::move(reader)), slots_(*reader_, stats_), frames_(*reader_, stats_) {}

const DiskFile& WeightDisk::open(const std::filesystem::path& path) {
  for (const auto& file : files_)
    if (file->path() == path) return *file;
  return *files_.emplace_back(std::make_unique<DiskFile>(path));
}

uint32_t WeightDisk::add_piece(LinearId id, const DiskFile& file, uint64_t offset, size_t n_bytes, bool routed) {
  on_disk_ += n_bytes;
  return pieces_[id] = frames_.add(file, offset, n_bytes, routed);
}

uint32_t WeightDisk::add_neurons(uint32_t layer, size_t n_neurons, std::vector<NeuronPart> parts) {
  return mlps_[layer] = slots_.add(n_neurons, std::move(parts));
}

void WeightDisk::arrange(const Needs& needs) {
  const std::lock_guard lock(mutex_);
  const Needs before = needs_;
  needs_.whole_bytes = std::max(needs_.whole_bytes, needs.whole_bytes);
  needs_.first_part = std::min(needs_.first_part, needs.first_part);
  needs_.n_experts = std::max(needs_.n_experts, needs.n_experts);
  if (is_arranged_ && before.whole_bytes == needs_.whole_bytes && before.first_part == needs_.first_part &&
      before.n_experts == needs_.n_experts)
    return;
  divide();
}

void WeightDisk::divide() {
  // One that is computed, one that comes, and one that both leave free; of experts all that a token goes to. And one
  // that is packed.
  const uint64_t n_frames = std::max<uint64_t>(3, needs_.n_experts * kMatricesOfExpert) + 1;
  const uint64_t least = n_frames * frames_.largest();
  const bool chooses = needs_.first_part != SIZE_MAX;
  const uint64_t flight = std::clamp<uint64_t>(n_bytes_ / 32, 64 << 10, 8 << 20);
  const uint64_t buffers = chooses ? NeuronSlots::kFlights * flight : 0;
  if (n_bytes_ < least + buffers + (chooses ? least / 4 : 0))
    fail(ErrorKind::kMemory, "{} MB are left for weights that are read on demand (ram); it takes at least {} MB",
         n_bytes_ >> 20, ((least + buffers + (chooses ? least / 4 : 0)) >> 20) + 1);
  const uint64_t room = n_bytes_ - buffers;
  // What every token reads whole gains by every byte that is kept, neurons by those that come again.
  uint64_t for_neurons = 0;
  if (chooses) {
    const uint64_t for_whole = needs_.whole_bytes ? std::min(room / 4 * 3, needs_.whole_bytes + least) : 0;
    for_neurons = std::min(room - std::max(least, for_whole), slots_.all_bytes(needs_.first_part));
  }
  slots_.resize(0, 0, 0);  // before frames take their memory
  frames_.resize(room - for_neurons);
  slots_.resize(for_neurons, chooses ? needs_.first_part : 0, flight);
  is_arranged_ = true;
}

void WeightDisk::expect_neurons(uint32_t layer, std::span<const uint32_t> ids) {
  const auto mlp = mlps_.find(layer);
  if (mlp == mlps_.end()) return;
  const std::lock_guard lock(mutex_);
  slots_.expect(mlp->second, ids);
}

void WeightDisk::expect_experts(uint32_t layer, std::span<const uint32_t> experts, bool guess) {
  const std::lock_guard lock(mutex_);
  expected_.clear();
  for (const uint32_t expert : experts)
    for (const Role role : {Role::kGate, Role::kUp, Role::kDown})
      if (const auto piece = pieces_.find({layer, role, expert}); piece != pieces_.end())
        expected_.push_back(piece->second);
  frames_.expect(expected_, guess);
}

bool WeightDisk::is_direct() const {
  return std::ranges::all_of(files_, [](const auto& file) { return file->is_direct(); });
}

}  // namespace hunch
