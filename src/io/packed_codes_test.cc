// What checkpoints hold, taken apart by the published rules and packed again: the same bytes.
#include "io/packed_codes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "io/hf_folder.h"
#include "io/quantised_config.h"
#include "io/test_quantised_folders.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

struct Unpacked {
  Codes codes;
  std::vector<uint8_t> code, zero;

  Codes of() {
    codes.code = code, codes.zero = zero;
    return codes;
  }
};

uint32_t word(const Tensor& t, size_t i) {
  uint32_t w;
  std::memcpy(&w, t.data.data() + 4 * i, 4);
  return w;
}

// Bit by bit: number i of a stream whose word k is words(k).
template <class WordAt>
uint8_t number(const WordAt& words, size_t bits, size_t i) {
  uint32_t value = 0;
  for (size_t b = 0; b < bits; ++b) {
    const size_t bit = i * bits + b;
    value |= (words(bit / 32) >> bit % 32 & 1) << b;
  }
  return uint8_t(value);
}

const Tensor* find(const HfFolder& folder, const std::string& name) {
  const auto found = std::ranges::find(folder.tensors, name, &Tensor::name);
  return found == folder.tensors.end() ? nullptr : &*found;
}

void expect_same(const Words& words, const Tensor& t) {
  ASSERT_EQ(words.size() * 4, t.data.size()) << t.name;
  EXPECT_EQ(std::memcmp(words.data(), t.data.data(), t.data.size()), 0) << t.name;
}

Unpacked unpack_gptq(const Tensor& qweight, const Tensor& qzeros, size_t bits) {
  Unpacked u;
  u.codes.n_out = qweight.shape[1], u.codes.n_in = qweight.shape[0] * 32 / bits;
  u.codes.n_groups = qzeros.shape[0], u.codes.bits = bits;
  const size_t all = (size_t{1} << bits) - 1;
  for (size_t o = 0; o < u.codes.n_out; ++o)
    for (size_t i = 0; i < u.codes.n_in; ++i)
      u.code.push_back(number([&](size_t k) { return word(qweight, k * u.codes.n_out + o); }, bits, i));
  for (size_t o = 0; o < u.codes.n_out; ++o)
    for (size_t g = 0; g < u.codes.n_groups; ++g)
      u.zero.push_back(
          uint8_t((number([&](size_t k) { return word(qzeros, g * qzeros.shape[1] + k); }, bits, o) + 1u) & all));
  return u;
}

Unpacked unpack_awq(const Tensor& qweight, const Tensor& qzeros) {
  constexpr size_t kColumns[] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble i belongs to column 8 word + kColumns[i]
  Unpacked u;
  u.codes.n_out = qweight.shape[1] * 8, u.codes.n_in = qweight.shape[0], u.codes.n_groups = qzeros.shape[0];
  u.code.resize(u.codes.n_out * u.codes.n_in), u.zero.resize(u.codes.n_out * u.codes.n_groups);
  const auto take = [&](const Tensor& t, size_t n_lines, std::vector<uint8_t>& to) {
    for (size_t line = 0; line < n_lines; ++line)
      for (size_t w = 0; w < t.shape[1]; ++w)
        for (size_t i = 0; i < 8; ++i)
          to[(8 * w + kColumns[i]) * n_lines + line] = word(t, line * t.shape[1] + w) >> 4 * i & 15;
  };
  take(qweight, u.codes.n_in, u.code);
  take(qzeros, u.codes.n_groups, u.zero);
  return u;
}

TEST(PackedCodes, AreTheBytesThatTheToolsWrite) {
  size_t n_gptq = 0, n_awq = 0, n_packed = 0, n_zeros = 0;
  for (const auto& path : quantised_folders()) {
    const HfFolder folder = open_hf_folder(path);
    const QuantisedConfig config = parse_quantised_config(folder.config_json, folder.quantiser_json);
    for (const Tensor& t : folder.tensors) {
      if (config.method == QuantMethod::kGptq && config.zeros_minus_one && t.name.ends_with(".qweight")) {
        const Tensor& zeros = *find(folder, t.name.substr(0, t.name.size() - 7) + "qzeros");
        Unpacked u = unpack_gptq(t, zeros, config.bits);
        expect_same(gptq_weights(u.of()), t);
        expect_same(gptq_zeros(u.of()), zeros);
        ++n_gptq;
      } else if (config.method == QuantMethod::kAwq && t.name.ends_with(".qweight")) {
        const Tensor& zeros = *find(folder, t.name.substr(0, t.name.size() - 7) + "qzeros");
        Unpacked u = unpack_awq(t, zeros);
        expect_same(awq_weights(u.of()), t);
        expect_same(awq_zeros(u.of()), zeros);
        ++n_awq;
      } else if (t.name.ends_with(".weight_packed")) {
        const Tensor& scale = *find(folder, t.name.substr(0, t.name.size() - 13) + "weight_scale");
        Unpacked u;
        u.codes.n_out = t.shape[0], u.codes.n_groups = scale.shape[1];
        const Tensor& shape = *find(folder, t.name.substr(0, t.name.size() - 13) + "weight_shape");
        int64_t n_in;
        std::memcpy(&n_in, shape.data.data() + 8, 8);
        u.codes.n_in = size_t(n_in), u.codes.bits = 32 * t.shape[1] / size_t(n_in);
        for (size_t o = 0; o < u.codes.n_out; ++o)
          for (size_t i = 0; i < u.codes.n_in; ++i)
            u.code.push_back(number([&](size_t k) { return word(t, o * t.shape[1] + k); }, u.codes.bits, i));
        expect_same(compressed_weights(u.of()), t);
        ++n_packed;
        const Tensor* zeros = find(folder, t.name.substr(0, t.name.size() - 13) + "weight_zero_point");
        if (!zeros) continue;
        for (size_t o = 0; o < u.codes.n_out; ++o)
          for (size_t g = 0; g < u.codes.n_groups; ++g)
            u.zero.push_back(number([&](size_t k) { return word(*zeros, k * u.codes.n_groups + g); }, u.codes.bits, o));
        expect_same(compressed_zeros(u.of()), *zeros);
        ++n_zeros;
      }
    }
  }
  EXPECT_GT(n_gptq, 0u);
  EXPECT_GT(n_awq, 0u);
  EXPECT_GT(n_packed, 0u);
  if (!shared_path("golden/quantised")) GTEST_SKIP() << "no shared data: only the repository's fixtures were packed";
  EXPECT_GT(n_zeros, 0u);
}

TEST(PackedCodes, WhatFillsNoWholeWordsIsRefused) {
  EXPECT_NO_THROW(check_gptq("m", 64, 96, 3));
  EXPECT_THROW(check_gptq("m", 64, 80, 3), Error);
  EXPECT_THROW(check_gptq("m", 63, 96, 4), Error);
  EXPECT_THROW(check_gptq("m", 64, 96, 5), Error);
  EXPECT_NO_THROW(check_awq("m", 8, 5, 4));
  EXPECT_THROW(check_awq("m", 12, 8, 4), Error);
  EXPECT_THROW(check_awq("m", 8, 8, 3), Error);
  EXPECT_NO_THROW(check_compressed("m", 5, 8, 4, true));
  EXPECT_THROW(check_compressed("m", 5, 8, 4, false), Error);
  EXPECT_THROW(check_compressed("m", 8, 12, 4, true), Error);
  EXPECT_THROW(check_compressed("m", 8, 8, 3, true), Error);
}

}  // namespace
}  // namespace hunch
