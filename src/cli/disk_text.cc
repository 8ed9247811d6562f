#include "cli/disk_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/console.h"

namespace hunch::cli {
namespace {

double share_there(uint64_t n, uint64_t n_missed) { return n ? 1 - double(n_missed) / double(n) : 1; }

}  // namespace

std::string describe(const WeightDisk& disk, uint64_t all_bytes) {
  return fmt::format("{} of the weights stay; {} are for the {} that are read when they are needed ({}, {}{})",
                     human_bytes(double(all_bytes - disk.on_disk_bytes())), human_bytes(double(disk.room_bytes())),
                     human_bytes(double(disk.on_disk_bytes())), disk.reader_name(),
                     disk.is_direct() ? "past the page cache" : "through the page cache, as this file system wants it",
                     disk.has_bundles() ? ", neurons in bundles" : "");
}

std::string describe(const DiskStats& s, uint64_t n_tokens) {
  const double n = double(std::max<uint64_t>(1, n_tokens));
  std::string text =
      fmt::format("disk: {:.1f} MB/token in {:.0f} reads", double(s.n_bytes) / n / 1e6, double(s.n_reads) / n);
  if (s.n_neurons)
    text += fmt::format("; {:.1f} % of {:.0f} neurons/token were there",
                        100 * share_there(s.n_neurons, s.n_neurons_missed), double(s.n_neurons) / n);
  if (s.n_pieces)
    text += fmt::format("; {:.1f} % of {:.0f} matrices/token were there or on their way",
                        100 * share_there(s.n_pieces, s.n_pieces_missed), double(s.n_pieces) / n);
  if (s.n_unused) text += fmt::format("; {:.1f}/token were read for nothing", double(s.n_unused) / n);
  text += fmt::format("; waited {:.1f} ms/token", s.wait_seconds / n * 1e3);
  if (s.n_failed_ahead) text += fmt::format("; {} reads ahead FAILED and were asked for again", s.n_failed_ahead);
  return text;
}

nlohmann::ordered_json disk_json(const DiskStats& s, uint64_t n_tokens) {
  const double n = double(std::max<uint64_t>(1, n_tokens));
  return {{"bytes_per_token", double(s.n_bytes) / n},
          {"reads_per_token", double(s.n_reads) / n},
          {"wait_ms_per_token", s.wait_seconds / n * 1e3},
          {"neurons_per_token", double(s.n_neurons) / n},
          {"neuron_hit_rate", share_there(s.n_neurons, s.n_neurons_missed)},
          {"matrices_per_token", double(s.n_pieces) / n},
          {"matrix_hit_rate", share_there(s.n_pieces, s.n_pieces_missed)},
          {"unused_matrices_per_token", double(s.n_unused) / n},
          {"failed_reads_ahead", s.n_failed_ahead}};
}

}  // namespace hunch::cli
