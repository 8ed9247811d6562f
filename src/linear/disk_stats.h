// What reading weights on demand came to.
#pragma once
#include <cstdint>

namespace hunch {

struct DiskStats {
  uint64_t n_reads = 0, n_bytes = 0;  // that were asked of the disk
  double wait_seconds = 0;            // that products waited for them
  // Rows of neurons that products asked for, and those of them that were not there or on their way.
  uint64_t n_neurons = 0, n_neurons_missed = 0;
  // Whole matrices, likewise; and of those that were read ahead, how many nobody asked for.
  uint64_t n_pieces = 0, n_pieces_missed = 0, n_unused = 0;
  uint64_t n_failed_ahead = 0;  // reads ahead that failed, and were asked for again when a product wanted them

  DiskStats& operator+=(const DiskStats& more) {
    return *this = more - (DiskStats() - *this);  // unsigned numbers wrap, and come back
  }
  DiskStats operator-(const DiskStats& before) const {
    return {n_reads - before.n_reads,
            n_bytes - before.n_bytes,
            wait_seconds - before.wait_seconds,
            n_neurons - before.n_neurons,
            n_neurons_missed - before.n_neurons_missed,
            n_pieces - before.n_pieces,
            n_pieces_missed - before.n_pieces_missed,
            n_unused - before.n_unused,
            n_failed_ahead - before.n_failed_ahead};
  }
};

}  // namespace hunch
