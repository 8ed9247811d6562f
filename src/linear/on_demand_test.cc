// A matrix that is read on demand gives the bits of one that is in memory.
#include "linear/on_demand.h"

#include <gtest/gtest.h>

#include <cstring>

#include "formats/format.h"
#include "linear/layouts.h"
#include "linear/stored.h"
#include "linear/test_disk.h"
#include "linear/test_weights.h"

namespace hunch {
namespace {

constexpr size_t kWide = 256, kNeurons = 160;

// An MLP's up (by neuron) and down (by neuron too), in a file and in memory.
class OnDemandForm : public testing::TestWithParam<DType> {
 protected:
  OnDemandForm() : up(GetParam(), kNeurons, kWide, 1), down(GetParam(), kNeurons, kWide, 2) {
    path = std::filesystem::path(HUNCH_BINARY_DIR) / ("on_demand_test" + std::to_string(getpid()));
    std::ofstream file(path, std::ios::binary);
    file << "header";
    for (const Weights* w : {&up, &down})
      file.write(reinterpret_cast<const char*>(w->bytes.data()), long(w->bytes.size()));
  }
  ~OnDemandForm() override { std::filesystem::remove(path); }

  void make(uint64_t room, WeightDisk::Needs needs) {
    const DiskFile& file = disk.open(path);
    const size_t n = up.bytes.size(), row = up.view.row_stride_bytes;
    const uint32_t neurons = disk.add_neurons(0, kNeurons, {{&file, 6, row, row}, {&file, 6 + n, row, row}});
    const auto form = [&](Role role, const Weights& w, uint64_t at, bool by_input, size_t part, auto bias) {
      WeightView shape = w.view;
      shape.data = nullptr;
      const uint32_t piece = disk.add_piece({0, role}, file, at, w.bytes.size(), false);
      return std::make_unique<OnDemand>(
          LinearId{0, role},
          OnDemand::Place{&disk, piece, disk.add_rows(file, at, w.bytes.size()), shape, by_input, neurons, part},
          std::move(bias));
    };
    got_up = form(Role::kUp, up, 6, false, 0, up_bias);
    got_down = form(Role::kDown, down, 6 + n, true, 1, down_bias);
    want_up = std::make_unique<Stored>(LinearId{}, up.view, WeightView(), up_bias, layouts);
    want_down = std::make_unique<Stored>(LinearId{}, WeightView(), down.view, down_bias, layouts);
    disk.set_room(room);
    disk.arrange(needs);
  }
  // Of n tokens of one kind: the products of both matrices with these neurons.
  void expect_bits(size_t n_tokens, bool as_alone, RowSet rows) {
    const std::vector<TokenTraits> tokens(n_tokens, TokenTraits{as_alone});
    const std::vector<float> x = random_values(n_tokens * kWide, 5), a = random_values(n_tokens * kNeurons, 6);
    const MatView<const float> X(x.data(), n_tokens, kWide), A(a.data(), n_tokens, kNeurons);
    std::vector<float> got(n_tokens * kNeurons, NAN), want(got);
    got_up->dot(compute, tokens, X, rows, {got.data(), n_tokens, kNeurons});
    want_up->dot(compute, tokens, X, rows, {want.data(), n_tokens, kNeurons});
    EXPECT_EQ(got, want) << "dot, " << n_tokens << " tokens";
    got.assign(n_tokens * kWide, NAN);
    want = got;
    got_down->add(compute, tokens, A, rows, {got.data(), n_tokens, kWide});
    want_down->add(compute, tokens, A, rows, {want.data(), n_tokens, kWide});
    EXPECT_EQ(got, want) << "add, " << n_tokens << " tokens";
  }

  Weights up, down;
  std::filesystem::path path;
  const std::vector<float> up_bias = random_values(kNeurons, 3), down_bias = random_values(kWide, 4);
  Layouts layouts;
  WeightDisk disk{make_disk_reader()};
  std::unique_ptr<Linear> got_up, got_down, want_up, want_down;
  Compute compute{2};
};

std::vector<Rows> some_rows(size_t n_tokens, size_t share, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<Rows> own;
  for (size_t t = 0; t < n_tokens; ++t) {
    std::vector<uint32_t> ids;
    for (uint32_t r = 0; r < kNeurons; ++r)
      if (rng() % share == 0) ids.push_back(r);
    own.push_back(Rows::of(std::move(ids), kNeurons));
  }
  return own;
}

// Slots for half of the neurons, and frames for three matrices.
constexpr WeightDisk::Needs kChooses{0, 0, 0};
uint64_t room(const Weights& w) {
  const uint64_t frame = w.bytes.size() + 3 * DiskFile::kMostAlign;
  return 5 * frame + 3 * (64 << 10) + w.bytes.size() * 3 / 2;
}

TEST_P(OnDemandForm, TheBitsOfOneInMemory) {
  make(room(up), kChooses);
  for (uint32_t round = 0; round < 8; ++round) {
    const std::vector<Rows> few = some_rows(3, 5, round), many = some_rows(3, 1, round);
    expect_bits(1, false, {std::span(few).first(1)});
    expect_bits(1, true, {std::span(few).subspan(1, 1)});
    expect_bits(3, true, {few});                        // each its own
    expect_bits(1, false, {std::span(many).first(1)});  // more than there are slots for
    std::vector<Rows> mixed = few;
    mixed[1] = Rows::all(kNeurons);
    expect_bits(3, true, {mixed});
    expect_bits(1 + round, false, {});
  }
  EXPECT_GT(disk.stats().n_neurons, disk.stats().n_neurons_missed);
  EXPECT_LE(disk.kept_bytes(), disk.room_bytes());
}

TEST_P(OnDemandForm, WithoutSlotsAllIsRead) {
  make(room(up), {up.bytes.size() * 2, SIZE_MAX, 0});
  const std::vector<Rows> few = some_rows(1, 5, 1);
  expect_bits(1, false, {few});
  expect_bits(2, false, {});
  EXPECT_EQ(disk.stats().n_neurons, 0u);
}

// As a matrix whose rows lie interleaved, where the SIMD target has that.
TEST_P(OnDemandForm, TheBitsOfStrips) {
  make(room(up), kChooses);
  Linear* const wanted[] = {want_up.get()};
  layouts.interleave(compute, wanted, {});
  dynamic_cast<OnDemand&>(*got_up).interleave();
  dynamic_cast<OnDemand&>(*got_down).interleave();  // lies by neuron: nothing
  disk.arrange({up.bytes.size(), 0, 0});
  for (uint32_t round = 0; round < 4; ++round) {
    const std::vector<Rows> few = some_rows(1, 5, round), many = some_rows(1, 1, round);
    expect_bits(1, false, {});
    expect_bits(1, false, {few});
    expect_bits(1, false, {many});  // rows of more than there are slots for
    expect_bits(5, true, {});
    expect_bits(40, false, {});
  }
}

// Several tokens together read the union: the path of Stored is chosen by costs, so that its bits may be others.
TEST_P(OnDemandForm, TokensTogetherToRounding) {
  make(room(up), kChooses);
  const std::vector<Rows> own = some_rows(4, 6, 9);
  const std::vector<TokenTraits> tokens(4), one(1);
  const std::vector<float> x = random_values(4 * kWide, 5), a = random_values(4 * kNeurons, 6);
  std::vector<float> got(4 * kNeurons), want(kNeurons), got_sum(4 * kWide), want_sum(kWide);
  got_up->dot(compute, tokens, {x.data(), 4, kWide}, {own}, {got.data(), 4, kNeurons});
  got_down->add(compute, tokens, {a.data(), 4, kNeurons}, {own}, {got_sum.data(), 4, kWide});
  for (size_t t = 0; t < 4; ++t) {
    const RowSet rows{std::span(own).subspan(t, 1)};
    want_up->dot(compute, one, {&x[t * kWide], 1, kWide}, rows, {want.data(), 1, kNeurons});
    want_down->add(compute, one, {&a[t * kNeurons], 1, kNeurons}, rows, {want_sum.data(), 1, kWide});
    for (size_t i = 0; i < kNeurons; ++i) EXPECT_NEAR(got[t * kNeurons + i], want[i], 1e-4f);
    for (size_t i = 0; i < kWide; ++i) EXPECT_NEAR(got_sum[t * kWide + i], want_sum[i], 1e-4f);
  }
}

TEST_P(OnDemandForm, DecodesAsItStands) {
  make(room(up), kChooses);
  std::vector<float> values(kNeurons * kWide);
  got_up->decode(compute, {values.data(), kNeurons, kWide});
  EXPECT_EQ(values, up.values);
  got_down->decode(compute, {values.data(), kWide, kNeurons});
  for (size_t i = 0; i < kNeurons; ++i)
    for (size_t c = 0; c < kWide; ++c) ASSERT_EQ(values[c * kNeurons + i], down.values[i * kWide + c]);
}

TEST_P(OnDemandForm, TooLittleMemoryIsSaidWithWhatItTakes) {
  try {
    make(up.bytes.size(), kChooses);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
    EXPECT_NE(std::string(e.what()).find("at least"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, OnDemandForm,
                         testing::Values(DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace hunch
