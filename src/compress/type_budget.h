// So many bytes shared out among matrices by what each loses without them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// One way to store a matrix.
struct TypeChoice {
  uint64_t bytes = 0;
  double loss = 0;
};

// The next larger way to store a matrix, and what it saves of the loss for each byte that it takes.
struct Upgrade {
  size_t matrix = 0, choice = 0;  // its place among the matrix' choices
  double gain = 0;
};

// From each matrix' smallest choice on: the upgrades along the lower hulls of its (bytes, loss), the best one first
// (Shoham and Gersho 1988: what a Lagrangian finds for some price of a byte, for any price). A matrix' own come in
// order. Choices in any order, at least one for each matrix.
std::vector<Upgrade> upgrades_of(std::span<const std::vector<TypeChoice>> matrices);

// The choice of each matrix when these upgrades are taken one after the other as long as all fit `bytes`; where one
// does not, the later ones of other matrices that do are taken still. `first`: the smallest of each.
std::vector<size_t> first_choices(std::span<const std::vector<TypeChoice>> matrices);
std::vector<size_t> spend(std::span<const std::vector<TypeChoice>> matrices, std::span<const Upgrade> upgrades,
                          uint64_t bytes);

}  // namespace hunch
