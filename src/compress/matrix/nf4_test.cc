#include "compress/matrix/nf4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "base/sha256.h"
#include "compress/matrix/golden_matrices.h"
#include "formats/nf4.h"
#include "io/safetensors.h"

namespace hunch {
namespace {

// What bitsandbytes made of golden/quantised/base.
struct Checkpoint {
  explicit Checkpoint(const std::filesystem::path& folder)
      : bytes(read_file(folder / "model.safetensors")), tensors(parse_safetensors(std::as_bytes(std::span(bytes)))) {}
  const Tensor& get(const std::string& name) const {
    const auto found = std::ranges::find(tensors, name, &Tensor::name);
    HUNCH_CHECK(found != tensors.end(), "no tensor {}", name);
    return *found;
  }
  std::string bytes;
  std::vector<Tensor> tensors;
};

Matrix decoded(const Tensor& t) {
  Matrix out(t.rows(), t.cols());
  codec(t.dtype).decode(t.data.data(), out.values.data(), out.values.size());
  return out;
}

TEST(Nf4, IsWhatBitsandbytesMakesOfEveryMatrix) {
  const auto root = shared_path("golden/quantised");
  if (!root) GTEST_SKIP() << "needs golden/quantised of the shared data";
  const Checkpoint base(*root / "base"), plain(*root / "bnb_nf4"), nested(*root / "bnb_nf4_double");
  const auto json = nlohmann::json::parse(read_file(*root / "bnb_nf4" / "golden" / "golden.json"));
  size_t n = 0;
  for (const auto& [name, sha256] : json.at("dequantised_sha256").items()) {
    SCOPED_TRACE(name);
    const Matrix W = decoded(base.get(name));
    const Nf4Matrix Q = nf4(W, false);
    const Matrix values = decode(Q);
    EXPECT_EQ(sha256_hex(std::as_bytes(std::span(values.values))), sha256.get<std::string>());
    std::vector<uint8_t> pairs;
    for (size_t i = 0; i < Q.codes.size(); i += 2) pairs.push_back(uint8_t(Q.codes[i] << 4 | Q.codes[i + 1]));
    const Tensor& stored = nested.get(name);
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(pairs)), stored.data));
    const Nf4Matrix D = nf4(W, true);
    const auto nested_bytes = nested.get(name + ".absmax").data;
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(D.absmax_codes)), nested_bytes));
    const Matrix nested_absmax = decoded(nested.get(name + ".nested_absmax")),
                 map = decoded(nested.get(name + ".nested_quant_map"));
    for (size_t i = 0; i < D.nested_absmax.size(); ++i) EXPECT_NEAR(D.nested_absmax[i], nested_absmax.values[i], 1e-7f);
    const std::array<float, 256> own = dynamic_map();
    for (size_t i = 0; i < 256; ++i) EXPECT_NEAR(own[i], map.values[i], 1e-7f) << i;
    ++n;
  }
  EXPECT_EQ(n, 14u);
}

TEST(Nf4, EveryValueIsTheNearestAndBlocksHaveTheirOwnScale) {
  Matrix W(2, 64);
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (float& v : W.values) v = normal(rng);
  for (float& v : W.row(1)) v *= 100;
  const Matrix Q = decode(nf4(W, false));
  for (size_t r = 0; r < 2; ++r) {
    float absmax = 0;
    for (float v : W.row(r)) absmax = std::max(absmax, std::abs(v));
    for (size_t c = 0; c < 64; ++c) {
      float least = INFINITY;
      for (float v : format::NF4::kValues) least = std::min(least, std::abs(v * absmax - W.row(r)[c]));
      EXPECT_NEAR(std::abs(Q.row(r)[c] - W.row(r)[c]), least, 1e-5f * absmax);
    }
  }
  Matrix many(64, 64);
  for (float& v : many.values) v = normal(rng);
  const Nf4Matrix plain = nf4(many, false), nested = nf4(many, true);
  EXPECT_EQ(plain.codes, nested.codes);
  for (size_t b = 0; b < 64; ++b) EXPECT_NEAR(nested.absmax[b], plain.absmax[b], 0.03f * plain.absmax[b]);
  for (float v : decode(nf4(Matrix(1, 64), true)).values) EXPECT_EQ(v, 0);
}

}  // namespace
}  // namespace hunch
