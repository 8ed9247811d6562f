// How many of its codes a key shares with queries: what keys that are known by a few small numbers are chosen by.
#pragma once
#include <cstdint>
#include <span>

namespace hunch {

constexpr size_t kCodeBytes = 8;  // codes of a key, a byte each, come eight at a time

// counts[j] = over queries q and places i, how often codes[j][i] == queries[q][i].
//
//   codes    [counts.size(), n_codes]  n_codes a multiple of kCodeBytes
//   queries  [n_queries, n_codes], n_queries below 256
void count_shared_codes(std::span<const uint8_t> codes, std::span<const uint8_t> queries, size_t n_codes,
                        std::span<uint16_t> counts);

namespace ref {
void count_shared_codes(std::span<const uint8_t> codes, std::span<const uint8_t> queries, size_t n_codes,
                        std::span<uint16_t> counts);
}  // namespace ref
}  // namespace hunch
