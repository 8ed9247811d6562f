#include "model/hold_exactly.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "formats/format.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

// A tensor of [rows, 512] random bits whose f16 scales, where the format has them, may be anything finite.
struct Random {
  std::vector<std::byte> bytes;
  Tensor tensor;
  Random(DType dtype, uint64_t rows, uint32_t seed) {
    std::mt19937 rng(seed);
    bytes.resize(rows * row_bytes(dtype, 512));
    for (std::byte& b : bytes) b = std::byte(rng() & 0x3b);  // no exponent of all ones
    tensor = {name_of(dtype), dtype, {rows, 512}, bytes};
  }
};

TEST(HoldExactly, KeepsEveryValueOfWhatIsOnlyRead) {
  std::vector<Random> random;
  ModelFile file;
  uint64_t memory = 0, on_disk = 0;
  for (const Format& format : formats())
    if (format.load) random.emplace_back(format.dtype, 5 + random.size(), 7 + uint32_t(random.size()));
  ASSERT_EQ(random.size(), 12u);
  for (const Random& r : random) {
    file.tensors.push_back(r.tensor);
    on_disk += r.bytes.size();
    memory += r.tensor.n_elems() / 32 * 40;
  }
  const std::vector<float> plain(512, 1.5f);
  file.tensors.push_back({"plain", DType::kF32, {512}, std::as_bytes(std::span(plain))});
  file.index();

  const HeldOtherwise price = held_otherwise(file);
  EXPECT_EQ(price.n_tensors, random.size());
  EXPECT_EQ(price.file_bytes, on_disk);
  EXPECT_EQ(price.memory_bytes, memory);
  EXPECT_NE(describe(price).find("iq2_xxs"), std::string::npos) << describe(price);

  for (const size_t n_threads : {1, 3}) {
    Compute compute(n_threads);
    const ModelFile held = hold_exactly(file, compute);
    for (const Random& r : random) {
      const Tensor& t = held.get(r.tensor.name);
      ASSERT_TRUE(info(t.dtype).computes()) << r.tensor.name;
      std::vector<float> want(t.n_elems()), got(t.n_elems());
      info(r.tensor.dtype).decode(r.tensor.data.data(), want.data(), want.size());
      info(t.dtype).decode(t.data.data(), got.data(), got.size());
      EXPECT_EQ(got, want) << r.tensor.name;
    }
    EXPECT_EQ(held.get("plain").data.data(), file.get("plain").data.data()) << "what computes stays where it is";
  }
}

TEST(HoldExactly, NothingToHoldCostsNothing) {
  ModelFile file;
  const std::vector<float> plain(512, 1.5f);
  file.tensors.push_back({"plain", DType::kF32, {512}, std::as_bytes(std::span(plain))});
  file.index();
  Compute compute(1);
  EXPECT_EQ(describe(held_otherwise(file)), "");
  EXPECT_EQ(hold_exactly(file, compute).owners.size(), 0u);
}

// One number beside a matrix says that it is ternary, and another form holds it; one for each expert says nothing of
// it.
TEST(HoldExactly, LeavesWhatHasOneScaleToTheTernaryForm) {
  const std::vector<float> scales(3, 0.5f);
  for (const size_t n : {1, 3}) {
    Random r(DType::kQ2_0, 4, 9);
    r.tensor.name = "blk.0.x.weight";
    ModelFile file;
    file.tensors.push_back(r.tensor);
    file.tensors.push_back({"blk.0.x.scale", DType::kF32, {n}, std::as_bytes(std::span(scales).first(n))});
    file.index();
    EXPECT_EQ(held_otherwise(file).n_tensors, n == 1 ? 0u : 1u);
    EXPECT_EQ(ternary_scale(file, file.tensors[0]) != nullptr, n == 1);
  }
}

// The fixture with its matrices as ternary blocks of Q2_0, or as the f32 that these stand for.
ModelFile ternary(bool decoded) {
  ModelFile file = open_model(golden_fixture("llama_mha")).file;
  size_t n_changed = 0;
  for (Tensor& t : file.tensors) {
    if (t.shape.size() != 2 || t.cols() % 64 != 0) continue;
    std::vector<float> values(t.n_elems());
    info(t.dtype).decode(t.data.data(), values.data(), values.size());
    auto bytes = std::make_shared<std::vector<std::byte>>(values.size() / 64 * 18);
    for (size_t b = 0; b < values.size() / 64; ++b) {
      const float* x = &values[64 * b];
      float mean = 0;
      for (int i = 0; i < 64; ++i) mean += std::fabs(x[i]) / 64;
      auto* block = reinterpret_cast<uint8_t*>(bytes->data()) + 18 * b;
      const f16 d = to_f16(1.5f * mean);
      std::memcpy(block, &d, 2);
      for (int i = 0; i < 64; ++i) block[2 + i / 4] |= uint8_t((x[i] > mean ? 2 : x[i] < -mean ? 0 : 1) << 2 * (i % 4));
    }
    if (decoded) {
      auto floats = std::make_shared<std::vector<float>>(values.size());
      info(DType::kQ2_0).decode(bytes->data(), floats->data(), floats->size());
      t.dtype = DType::kF32;
      t.data = std::as_bytes(std::span(*floats));
      file.owners.push_back(floats);
    } else {
      t.dtype = DType::kQ2_0;
      t.data = *bytes;
      file.owners.push_back(bytes);
    }
    ++n_changed;
  }
  EXPECT_GT(n_changed, 4u);
  file.index();
  return file;
}

// A whole model: as its values in f32, but for the rounding of activations.
TEST(HoldExactly, AModelInATypeThatIsOnlyReadComputesWithItsValues) {
  Compute compute(2);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 20; ++i) ids.push_back((7 * i + 3) % 60);
  const auto logits = [&](const Model& model) {
    KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 8), 64);
    Transformer transformer(model, cache, compute);
    const auto sequence = cache.create();
    const Plan dense;
    const hunch::Run run{sequence, ids.size(), Phase::kPrompt, &dense};
    const std::vector<uint32_t> rows = rows_up_to(ids.size());
    std::vector<float> all;
    append_rows(transformer.run({ids, {&run, 1}, rows}), all);
    cache.release(sequence);
    return all;
  };
  const Model held(ternary(false), {}, compute), plain(ternary(true), {}, compute);
  EXPECT_GT(held.weights().held.n_tensors, 4u);
  EXPECT_EQ(plain.weights().held.n_tensors, 0u);
  const std::vector<float> got = logits(held), want = logits(plain);
  float largest = 0;
  for (const float v : want) largest = std::max(largest, std::fabs(v));
  ASSERT_GT(largest, 0.0f);
  EXPECT_LT(worst_difference(got, want), 0.04f * largest);
}

TEST(CheckTypes, NamesTheTensorAndTheType) {
  ModelFile file;
  const Random fine(DType::kIQ3_S, 2, 1), not_fine(DType::kQ8_K, 2, 1);
  file.tensors = {fine.tensor};
  EXPECT_NO_THROW(check_types(file));
  file.tensors.push_back(not_fine.tensor);
  file.tensors.back().name = "blk.0.ffn_up.weight";
  try {
    check_types(file);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
    const std::string what = e.what();
    EXPECT_NE(what.find("blk.0.ffn_up.weight"), std::string::npos) << what;
    EXPECT_NE(what.find("q8_k"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace hunch
