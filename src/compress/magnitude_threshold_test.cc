#include "compress/magnitude_threshold.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compress/compress_weights.h"
#include "compress/test_models.h"

namespace hunch {
namespace {

std::vector<float> sorted_magnitudes(const Engine& engine, std::span<const Role> roles) {
  std::vector<float> all;
  for (const Linear* w : matrices(engine))
    if (std::ranges::find(roles, w->id.role) != roles.end())
      for (const float v : floats_of(*engine.compute, *w)) all.push_back(std::abs(v));
  std::ranges::sort(all);
  return all;
}

TEST(MagnitudeThreshold, IsTheOneThatSortingFinds) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<Role> all = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads,
                                 Role::kGate,  Role::kUp,  Role::kDown};
  const std::vector<Role> some = {Role::kUp, Role::kHeads};
  for (const std::vector<Role>& roles : {all, some}) {
    const std::vector<float> sorted = sorted_magnitudes(engine, roles);
    for (const double share : {0.001, 0.3, 0.5, 0.97})
      EXPECT_EQ(magnitude_threshold(engine, roles, share), sorted[size_t(double(sorted.size()) * share)]) << share;
  }
}

// Matrices of small weights lose more; every row loses alike where that is asked for.
TEST(MagnitudeScope, SaysWhatIsComparedWithWhat) {
  const Engine engine = engine_of(golden_fixture("opt_sparse"));
  CompressOptions options;
  options.methods = parse_methods("magnitude");
  options.target = {DType::kF32, {}};
  options.without_zeros = false;
  const std::vector<float> sorted = sorted_magnitudes(engine, options.roles);
  const float threshold = sorted[sorted.size() / 2];
  for (const PruneScope scope : {PruneScope::kGlobal, PruneScope::kMatrix, PruneScope::kRow}) {
    options.scope = scope;
    const TempFile out;
    compress_weights(engine, random_ids(engine, 300), options, out.path);
    const Engine pruned = engine_of(out.path);
    const std::vector<const Linear*> was = matrices(engine), is = matrices(pruned);
    for (size_t m = 0; m < was.size(); ++m) {
      const std::vector<float> before = floats_of(*engine.compute, *was[m]), after = floats_of(*pruned.compute, *is[m]);
      size_t n_zeros = 0, worst_row = 0;
      for (size_t r = 0; r < was[m]->n_out; ++r) {
        size_t n_row = 0;
        for (size_t c = 0; c < was[m]->n_in; ++c) {
          const size_t i = r * was[m]->n_in + c;
          n_row += after[i] == 0;
          if (scope == PruneScope::kGlobal) EXPECT_EQ(after[i], std::abs(before[i]) <= threshold ? 0 : before[i]);
        }
        n_zeros += n_row;
        worst_row = std::max(worst_row, std::max(n_row, was[m]->n_in - n_row));
      }
      if (scope != PruneScope::kGlobal) EXPECT_NEAR(double(n_zeros) / double(before.size()), 0.5, 0.01);
      if (scope == PruneScope::kRow)
        EXPECT_EQ(worst_row, was[m]->n_in / 2);
      else
        EXPECT_GT(worst_row, was[m]->n_in / 2);
    }
  }
}

}  // namespace
}  // namespace hunch
