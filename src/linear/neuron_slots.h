// Neurons of MLPs in a file that is larger than memory: of each MLP those used last are kept, each in a slot, the
// others read when they are asked for ("windowing" and "bundling" of Alizadeh et al. 2023, "LLM in a flash",
// sections 3.1 and 3.2; the window is counted in bytes here). Internal to linear/weight_disk.h.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/disk_reader.h"
#include "linear/disk_stats.h"

namespace hunch {

// What a neuron has in one matrix: a row of gate or up, or what it adds to the output. Neuron i's begins at
// first + i * stride. Parts that lie one behind the other are read at once.
struct NeuronPart {
  const DiskFile* file = nullptr;
  uint64_t first = 0, stride = 0;
  size_t n_bytes = 0;
};

// Every MLP has its share of the slots: asked for in turn, token after token, they would otherwise take from each other
// what is wanted next. Who needs more than its share has that from those that have more than theirs.
class NeuronSlots {
 public:
  NeuronSlots(DiskReader& reader, DiskStats& stats) : reader_(reader), stats_(stats) {}
  ~NeuronSlots();
  NeuronSlots(const NeuronSlots&) = delete;
  NeuronSlots& operator=(const NeuronSlots&) = delete;

  // The neurons of an MLP, their parts in the order in which they are asked for; files stay open.
  uint32_t add(size_t n_neurons, std::vector<NeuronPart> parts);
  // Memory for slots, each for parts first_part and later ones of a neuron. All that was kept is dropped. 0: none.
  // flight_bytes: memory beside that, for neurons on their way; up to kFlights times.
  static constexpr size_t kFlights = 3;
  void resize(uint64_t n_bytes, size_t first_part, size_t flight_bytes);
  // What slots for every neuron would take.
  uint64_t all_bytes(size_t first_part) const;
  uint64_t held_bytes() const { return memory_.size(); }

  // Sees to it that these neurons are in slots, until the next call. False where they are too many, or slots begin with
  // a later part: nothing was done then. Throws Error{kIo}.
  //
  //   ids  strictly increasing
  bool fetch(uint32_t mlp, size_t part, std::span<const uint32_t> ids);
  // Begins to read those of them that are not there, as far as there is room.
  void expect(uint32_t mlp, std::span<const uint32_t> ids);

  // Where they lie: neuron i's part begins at data + slot_of[i] * stride.
  struct Places {
    const std::byte* data;
    size_t n_slots, stride;
    const uint32_t* slot_of;
  };
  Places places(uint32_t mlp, size_t part) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Mlp {
    std::vector<NeuronPart> parts;
    std::vector<uint32_t> slot_of;  // [n_neurons]
    size_t n_slots = 0;             // that it has
  };
  struct Slot {
    uint32_t mlp = kNone, neuron = 0;
    uint32_t newer = 0, older = 0;  // in a ring of those of an MLP, or of none
    bool is_coming = false;
  };
  // Neurons on their way, through memory of their own: blocks of the disk are not blocks of neurons.
  struct Flight {
    struct Copy {
      size_t from;
      std::byte* to;
      size_t n_bytes;
    };
    uint32_t mlp = kNone;
    std::vector<uint32_t> slots;
    std::vector<DiskRead> reads;
    std::vector<size_t> at;  // where in the memory each of them goes to
    std::vector<Copy> copies;
    Scratch memory;
    std::byte* first = nullptr;  // of its aligned part
    DiskBatch batch;
  };

  size_t slot_bytes(const Mlp& mlp, size_t first_part) const;
  size_t n_at_once(const Mlp& mlp) const;
  void begin(uint32_t mlp, std::span<const uint32_t> ids, size_t n_wanted);
  void ask_for_rows(const Mlp& mlp, std::span<const uint32_t> ids, Flight& flight);
  void land(size_t flight);
  void land_all_of(uint32_t mlp);
  void forget(const Flight& flight);
  void find_missing(uint32_t mlp, std::span<const uint32_t> ids);
  uint32_t ring_of(uint32_t mlp) const { return uint32_t(n_slots_) + (mlp == kNone ? uint32_t(mlps_.size()) : mlp); }
  void unlink(uint32_t slot);
  void link(uint32_t slot, uint32_t newer, uint32_t older);
  uint32_t oldest_of(uint32_t mlp) const;
  uint32_t take_slot(uint32_t mlp, size_t n_wanted);

  DiskReader& reader_;
  DiskStats& stats_;
  std::vector<Mlp> mlps_;
  AlignedBuffer memory_;
  // [n_slots], and one more for each MLP and for none, which closes its ring: its `older` is the newest of them, its
  // `newer` the oldest.
  std::vector<Slot> slots_;
  uint32_t last_ = kNone;  // MLP that was asked for
  size_t n_slots_ = 0, slot_bytes_ = 0, first_part_ = 0, flight_bytes_ = 0;
  std::vector<std::unique_ptr<Flight>> flying_, idle_;
  std::vector<uint32_t> missing_;
};

}  // namespace hunch
