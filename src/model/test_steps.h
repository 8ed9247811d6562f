// What tests of whole steps share.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <random>
#include <vector>

#include "base/test_paths.h"
#include "linear/adapter.h"
#include "model/transformer.h"

namespace hunch {

inline std::filesystem::path golden_fixture(const std::string& name) {
  return std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name;
}

// 0, 1, ..., n - 1: the logits of every token.
inline std::vector<uint32_t> rows_up_to(size_t n) {
  std::vector<uint32_t> rows(n);
  for (uint32_t i = 0; i < n; ++i) rows[i] = i;
  return rows;
}

inline void append_rows(MatView<const float> from, std::vector<float>& to) {
  for (size_t r = 0; r < from.rows; ++r) to.insert(to.end(), from.row(r).begin(), from.row(r).end());
}

// Infinite where a value is not a number, or the sizes differ.
inline float worst_difference(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size()) return INFINITY;
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::isfinite(got[i]) ? std::abs(got[i] - want[i]) : INFINITY);
  return worst;
}

// All matrices that have one of these roles.
inline std::vector<Linear*> matrices_of(const Model& model, std::initializer_list<Role> roles) {
  std::vector<Linear*> found;
  for (const Layer& l : model.weights().layers)
    const_cast<Layer&>(l).for_each_linear([&](std::unique_ptr<Linear>& linear) {
      if (std::ranges::find(roles, linear->id.role) != roles.end()) found.push_back(linear.get());
    });
  return found;
}

// What CATS gathers from.
inline void store_down_by_input(const Model& model, Compute& compute) {
  model.layouts().store_by_input(compute, matrices_of(model, {Role::kDown}), "a test");
}

// What TEAL gathers from.
inline void store_all_by_input(const Model& model, Compute& compute) {
  model.layouts().store_by_input(
      compute,
      matrices_of(model, {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kGate, Role::kUp, Role::kDown}),
      "a test");
}

// What chosen heads are cut from.
inline void store_heads_by_group(const Model& model, Compute& compute) {
  model.layouts().store_by_group(compute, matrices_of(model, {Role::kHeads}),
                                 model.weights().layers[0].config.group_width());
}

// An adapter of rank 3 of random values for every matrix and the embedding, with gains as DoRA has them.
inline std::unique_ptr<Adapter> random_adapter(const Model& model, uint32_t seed) {
  std::mt19937 rng(seed);
  const auto values = [&](size_t n) {
    std::normal_distribution<float> normal(0, 0.05f);
    std::vector<float> x(n);
    for (float& v : x) v = normal(rng);
    return x;
  };
  constexpr size_t kRank = 3;
  auto adapter = std::make_unique<Adapter>("random");
  for (const auto& [id, where] : model.weights().tensors) {
    const std::vector<float> A = values(kRank * where.n_in), B = values(kRank * where.n_out);
    adapter->parts.emplace(
        id, AdapterPart({A.data(), kRank, where.n_in}, {B.data(), kRank, where.n_out}, values(where.n_out)));
  }
  return adapter;
}

}  // namespace hunch
