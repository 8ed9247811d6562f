#include "linear/neuron_slots.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/timer.h"

namespace hunch {
namespace {

constexpr size_t kNeuronReadBytes = size_t{1} << 20;
// Between two rows that are wanted so many bytes are read rather than asked for twice.
constexpr size_t kNeuronGapBytes = 4096;

}  // namespace

NeuronSlots::~NeuronSlots() {
  for (auto& flight : flying_) try {
      reader_.finish(flight->batch);
    } catch (const Error&) {  // nobody wants it any more
    }
}

uint32_t NeuronSlots::add(size_t n_neurons, std::vector<NeuronPart> parts) {
  mlps_.push_back({std::move(parts), std::vector<uint32_t>(n_neurons, kNone)});
  return uint32_t(mlps_.size() - 1);
}

size_t NeuronSlots::slot_bytes(const Mlp& mlp, size_t first_part) const {
  size_t n = 0;
  for (size_t p = first_part; p < mlp.parts.size(); ++p) n += round_up(mlp.parts[p].n_bytes, 64);
  return n;
}

uint64_t NeuronSlots::all_bytes(size_t first_part) const {
  uint64_t n = 0;
  size_t largest = 0;
  for (const Mlp& mlp : mlps_) {
    n += mlp.slot_of.size();
    largest = std::max(largest, slot_bytes(mlp, first_part));
  }
  return n * largest;
}

void NeuronSlots::resize(uint64_t n_bytes, size_t first_part, size_t flight_bytes) {
  while (!flying_.empty()) land(0);
  for (Mlp& mlp : mlps_) {
    std::ranges::fill(mlp.slot_of, kNone);
    mlp.n_slots = 0;
  }
  memory_ = AlignedBuffer();
  first_part_ = first_part;
  flight_bytes_ = flight_bytes;
  slot_bytes_ = 0;
  for (const Mlp& mlp : mlps_) slot_bytes_ = std::max(slot_bytes_, slot_bytes(mlp, first_part));
  n_slots_ = slot_bytes_ ? std::min<uint64_t>(n_bytes / slot_bytes_, kNone - 1) : 0;
  memory_ = AlignedBuffer(n_slots_ * slot_bytes_);
  slots_.assign(n_slots_ + mlps_.size() + 1, {});
  for (uint32_t i = uint32_t(n_slots_); i < slots_.size(); ++i) slots_[i].newer = slots_[i].older = i;
  for (uint32_t i = 0; i < n_slots_; ++i) link(i, slots_[ring_of(kNone)].newer, ring_of(kNone));
  last_ = kNone;
}

NeuronSlots::Places NeuronSlots::places(uint32_t id, size_t part) const {
  const Mlp& mlp = mlps_[id];
  const size_t at = slot_bytes(mlp, first_part_) - slot_bytes(mlp, part);
  return {memory_.data() + at, n_slots_, slot_bytes_, mlp.slot_of.data()};
}

bool NeuronSlots::fetch(uint32_t id, size_t part, std::span<const uint32_t> ids) {
  if (part < first_part_ || ids.size() > n_slots_ / 2) return false;
  const Timer timer;
  try {
    land_all_of(id);
  } catch (const Error&) {  // they were only expected; those that are wanted are asked for again
    ++stats_.n_failed_ahead;
  }
  const Mlp& mlp = mlps_[id];
  last_ = id;
  find_missing(id, ids);
  stats_.n_neurons += ids.size();
  stats_.n_neurons_missed += missing_.size();
  for (size_t first = 0; first < missing_.size();) {
    const size_t n = std::min(n_at_once(mlp), missing_.size() - first);
    begin(id, std::span(missing_).subspan(first, n), ids.size());
    first += n;
    // The next ones are asked for while these come.
    if (std::ranges::count(flying_, id, [](const auto& f) { return f->mlp; }) > 1)
      land(size_t(std::ranges::find(flying_, id, [](const auto& f) { return f->mlp; }) - flying_.begin()));
  }
  land_all_of(id);
  stats_.wait_seconds += timer.seconds();
  return true;
}

void NeuronSlots::expect(uint32_t id, std::span<const uint32_t> ids) {
  if (std::ranges::find(flying_, id, [](const auto& f) { return f->mlp; }) != flying_.end()) return;
  if (flying_.size() + 2 > kFlights) return;  // who needs neurons at once takes one more
  size_t n_coming = 0;
  for (const auto& flight : flying_) n_coming += flight->slots.size();
  find_missing(id, ids);
  const size_t room = n_slots_ / 4 - std::min(n_coming, n_slots_ / 4);
  const size_t n = std::min({missing_.size(), n_at_once(mlps_[id]), room});
  if (n > 0 && ids.size() <= n_slots_ / 2) begin(id, std::span(missing_).first(n), ids.size());
}

// Those of the ids that are in no slot; the others' are now the newest.
void NeuronSlots::find_missing(uint32_t id, std::span<const uint32_t> ids) {
  missing_.clear();
  const uint32_t ring = ring_of(id);
  for (const uint32_t neuron : ids) {
    const uint32_t slot = mlps_[id].slot_of[neuron];
    if (slot == kNone) {
      missing_.push_back(neuron);
    } else {
      unlink(slot);
      link(slot, ring, slots_[ring].older);
    }
  }
}

// How many neurons a flight surely has room for.
size_t NeuronSlots::n_at_once(const Mlp& mlp) const {
  size_t n_reads = 1;
  for (size_t p = first_part_ + 1; p < mlp.parts.size(); ++p)
    n_reads += mlp.parts[p].file != mlp.parts[p - 1].file || mlp.parts[p].stride != mlp.parts[p - 1].stride ||
               mlp.parts[p].first != mlp.parts[p - 1].first + mlp.parts[p - 1].n_bytes;
  return std::max<size_t>(1,
                          flight_bytes_ / (slot_bytes_ + n_reads * (2 * mlp.parts[0].file->align() + kNeuronGapBytes)));
}

void NeuronSlots::begin(uint32_t id, std::span<const uint32_t> ids, size_t n_wanted) {
  if (idle_.empty()) idle_.push_back(std::make_unique<Flight>());
  Mlp& mlp = mlps_[id];
  Flight& flight = *idle_.back();
  flight.mlp = id;
  flight.slots.clear();
  for (const uint32_t neuron : ids) {
    const uint32_t slot = take_slot(id, n_wanted);
    slots_[slot].neuron = neuron;
    slots_[slot].is_coming = true;
    mlp.slot_of[neuron] = slot;
    flight.slots.push_back(slot);
  }
  ask_for_rows(mlp, ids, flight);
  flying_.push_back(std::move(idle_.back()));
  idle_.pop_back();
  try {
    reader_.begin(flight.reads, flight.batch);
  } catch (const Error& e) {
    // What was asked for is waited for, and nothing of it kept: the rest does not come.
    if (flight.batch.error.empty()) flight.batch.error = e.what();
    try {
      land(flying_.size() - 1);
    } catch (const Error&) {  // the first one says it
    }
    throw;
  }
}

void NeuronSlots::ask_for_rows(const Mlp& mlp, std::span<const uint32_t> ids, Flight& flight) {
  flight.reads.clear();
  flight.at.clear();
  flight.copies.clear();
  size_t n_bytes = 0;  // of the flight's memory so far
  for (size_t p = first_part_, end = p; p < mlp.parts.size(); p = end) {
    // Parts [p, end) lie one behind the other.
    const NeuronPart& part = mlp.parts[p];
    size_t n_row = part.n_bytes;
    for (end = p + 1; end < mlp.parts.size() && mlp.parts[end].file == part.file &&
                      mlp.parts[end].stride == part.stride && mlp.parts[end].first == part.first + n_row;
         ++end)
      n_row += mlp.parts[end].n_bytes;
    const uint64_t align = part.file->align();
    const size_t first_read = flight.reads.size();
    for (size_t i = 0; i < ids.size(); ++i) {
      const uint64_t at = part.first + ids[i] * part.stride, begin = at / align * align;
      const uint64_t stop = round_up(at + n_row, align);
      DiskRead* last = flight.reads.size() > first_read ? &flight.reads.back() : nullptr;
      if (last && begin <= last->offset + last->n_bytes + kNeuronGapBytes && stop - last->offset <= kNeuronReadBytes) {
        const uint64_t more = stop - std::min(stop, last->offset + last->n_bytes);
        last->n_bytes += more;
        n_bytes += more;
      } else {
        flight.reads.push_back({part.file, begin, size_t(stop - begin)});
        flight.at.push_back(n_bytes);
        last = &flight.reads.back();
        n_bytes += last->n_bytes;
      }
      last->n_needed = size_t(at + n_row - last->offset);
      size_t from = flight.at.back() + size_t(at - last->offset);
      for (size_t q = p; q < end; ++q) {
        const size_t place = slot_bytes(mlp, first_part_) - slot_bytes(mlp, q);
        flight.copies.push_back({from, memory_.data() + flight.slots[i] * slot_bytes_ + place, mlp.parts[q].n_bytes});
        from += mlp.parts[q].n_bytes;
      }
    }
  }
  const auto memory = reinterpret_cast<uintptr_t>(flight.memory.get<std::byte>(n_bytes + DiskFile::kMostAlign).data());
  flight.first = reinterpret_cast<std::byte*>(round_up(memory, DiskFile::kMostAlign));
  for (size_t i = 0; i < flight.reads.size(); ++i) flight.reads[i].to = flight.first + flight.at[i];
  stats_.n_reads += flight.reads.size();
  stats_.n_bytes += n_bytes;
}

void NeuronSlots::land_all_of(uint32_t mlp) {
  for (size_t i = 0; i < flying_.size();)
    if (flying_[i]->mlp == mlp) {
      land(i);
    } else {
      ++i;
    }
}

void NeuronSlots::land(size_t i) {
  Flight& flight = *flying_[i];
  idle_.push_back(std::move(flying_[i]));
  flying_.erase(flying_.begin() + ptrdiff_t(i));
  try {
    reader_.finish(flight.batch);
  } catch (...) {
    forget(flight);
    throw;
  }
  for (const Flight::Copy& copy : flight.copies) std::memcpy(copy.to, flight.first + copy.from, copy.n_bytes);
  for (const uint32_t slot : flight.slots) slots_[slot].is_coming = false;
}

// Its neurons are not there.
void NeuronSlots::forget(const Flight& flight) {
  for (const uint32_t slot : flight.slots) {
    mlps_[flight.mlp].slot_of[slots_[slot].neuron] = kNone;
    --mlps_[flight.mlp].n_slots;
    slots_[slot].mlp = kNone;
    slots_[slot].is_coming = false;
    unlink(slot);
    link(slot, slots_[ring_of(kNone)].newer, ring_of(kNone));
  }
}

void NeuronSlots::unlink(uint32_t slot) {
  slots_[slots_[slot].newer].older = slots_[slot].older;
  slots_[slots_[slot].older].newer = slots_[slot].newer;
}

// Between two neighbours of a ring.
void NeuronSlots::link(uint32_t slot, uint32_t newer, uint32_t older) {
  slots_[slot].newer = newer;
  slots_[slot].older = older;
  slots_[newer].older = slot;
  slots_[older].newer = slot;
}

// That nobody is reading into; kNone: none.
uint32_t NeuronSlots::oldest_of(uint32_t mlp) const {
  const uint32_t ring = ring_of(mlp);
  uint32_t slot = slots_[ring].newer;
  while (slot != ring && slots_[slot].is_coming) slot = slots_[slot].newer;
  return slot == ring ? kNone : slot;
}

// For an MLP that wants n neurons at once, those that it has among its newest: a slot that is free, or that of the
// neuron that was not used for longest, of who has most beyond its share. The MLP that was asked for last is asked
// last: it may not be done.
uint32_t NeuronSlots::take_slot(uint32_t id, size_t n_wanted) {
  uint32_t slot = oldest_of(kNone);
  if (slot == kNone) {
    uint32_t best = kNone;
    const auto can_spare = [&](uint32_t mlp) {
      return mlps_[mlp].n_slots > (mlp == id ? n_wanted : 0) && oldest_of(mlp) != kNone;
    };
    for (uint32_t mlp = 0; mlp < mlps_.size(); ++mlp)
      if ((mlp != last_ || mlp == id) && (best == kNone || mlps_[mlp].n_slots > mlps_[best].n_slots) && can_spare(mlp))
        best = mlp;
    if (best == kNone && last_ != kNone && can_spare(last_)) best = last_;
    HUNCH_CHECK(best != kNone, "no slot of {} is free", n_slots_);
    slot = oldest_of(best);
    mlps_[best].slot_of[slots_[slot].neuron] = kNone;
    --mlps_[best].n_slots;
  }
  unlink(slot);
  link(slot, ring_of(id), slots_[ring_of(id)].older);
  slots_[slot].mlp = id;
  ++mlps_[id].n_slots;
  return slot;
}

}  // namespace hunch
