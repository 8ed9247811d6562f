// The weights of a model that is larger than the memory that it may take: what is kept of them, and the reading of the
// rest (docs/larger-than-memory.md).
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/disk_reader.h"
#include "linear/linear.h"
#include "linear/neuron_slots.h"
#include "linear/piece_frames.h"

namespace hunch {

// Owns the files, the reader and the memory. Whoever asks for weights holds the lock until the product is done, so that
// nobody else has them replaced.
class WeightDisk {
 public:
  explicit WeightDisk(std::unique_ptr<DiskReader> reader);

  // Files stay open as long as this.
  const DiskFile& open(const std::filesystem::path& path);
  // A matrix that can be asked for as a whole: bytes of the file. `routed`: of an expert that not every token goes to.
  uint32_t add_piece(LinearId id, const DiskFile& file, uint64_t offset, size_t n_bytes, bool routed);
  // An MLP whose neurons can be asked for, its parts in the order in which products ask for them.
  uint32_t add_neurons(uint32_t layer, size_t n_neurons, std::vector<NeuronPart> parts);

  // The same bytes once more, which are kept apart.
  uint32_t add_rows(const DiskFile& file, uint64_t offset, size_t n_bytes) {
    return frames_.add(file, offset, n_bytes, false);
  }
  // See PieceFrames; before arrange().
  void set_packed(uint32_t piece, size_t n_bytes) { frames_.set_packed(piece, n_bytes); }
  // Memory for all that is kept, the buffers of reads among them. Before anything is asked for.
  void set_room(uint64_t n_bytes) { n_bytes_ = n_bytes; }

  // What the plans that run ask for, of which the largest counts; memory is divided between whole matrices and neurons
  // by it. Throws Error{kMemory}, saying how much it takes at least.
  struct Needs {
    uint64_t whole_bytes = 0;      // of matrices that every token asks for as a whole
    size_t first_part = SIZE_MAX;  // of neurons that are chosen; SIZE_MAX: no plan chooses any
    size_t n_experts = 0;          // of a layer that a token goes to
  };
  void arrange(const Needs& needs);

  std::mutex& mutex() { return mutex_; }
  // These are called with the lock held. See PieceFrames and NeuronSlots.
  const std::byte* whole(uint32_t piece, const PieceFrames::Pack& pack = {}) {
    if (!is_arranged_) divide();
    return frames_.whole(piece, pack);
  }
  bool fetch(uint32_t mlp, size_t part, std::span<const uint32_t> ids) { return slots_.fetch(mlp, part, ids); }
  NeuronSlots::Places places(uint32_t mlp, size_t part) const { return slots_.places(mlp, part); }

  // Begins to read the neurons of a layer that are about to be asked for, and the matrices of some of its experts.
  void expect_neurons(uint32_t layer, std::span<const uint32_t> ids);
  void expect_experts(uint32_t layer, std::span<const uint32_t> experts, bool guess);

  DiskStats stats() const { return stats_; }
  const char* reader_name() const { return reader_->name(); }
  bool is_direct() const;
  uint64_t kept_bytes() const { return frames_.held_bytes() + slots_.held_bytes(); }
  uint64_t room_bytes() const { return n_bytes_; }
  uint64_t on_disk_bytes() const { return on_disk_; }  // of all matrices that are read on demand
  bool has_bundles() const { return has_bundles_; }
  void set_has_bundles() { has_bundles_ = true; }

 private:
  void divide();

  std::mutex mutex_;
  std::vector<std::unique_ptr<DiskFile>> files_;
  std::unique_ptr<DiskReader> reader_;
  DiskStats stats_;
  NeuronSlots slots_;
  PieceFrames frames_;
  uint64_t n_bytes_ = 0, on_disk_ = 0;
  Needs needs_;
  bool is_arranged_ = false, has_bundles_ = false;
  std::map<LinearId, uint32_t> pieces_;
  std::map<uint32_t, uint32_t> mlps_;  // by layer
  std::vector<uint32_t> expected_;
};

}  // namespace hunch
