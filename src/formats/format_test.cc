#include "formats/format.h"

#include <gtest/gtest.h>

#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "formats/k_scales.h"
#include "formats/table.h"

namespace hunch {
namespace {

std::vector<float> round_trip(DType dtype, const std::vector<float>& x) {
  std::vector<std::byte> blocks(row_bytes(dtype, x.size()));
  std::vector<float> out(x.size());
  codec(dtype).encode(x.data(), blocks.data(), x.size());
  codec(dtype).decode(blocks.data(), out.data(), x.size());
  return out;
}

std::vector<float> normal_values(size_t n, float sigma, uint32_t seed = 7) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

double relative_rms(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
    power += double(x[i]) * x[i];
  }
  return std::sqrt(error / power);
}

// Formats that can be written, and of them those with blocks.
std::vector<Format> writable(bool quantised) {
  std::vector<Format> chosen;
  for (const Format& format : formats())
    if (format.writes() && (!quantised || !is_plain(format.dtype))) chosen.push_back(format);
  return chosen;
}

TEST(Format, EveryTypeIsInTheTableOnce) {
  for (const Format& format : formats()) {
    EXPECT_EQ(find_format(format.dtype), &format) << format.name;
    EXPECT_EQ(dtype_from_name(format.name), format.dtype);
    EXPECT_GT(format.block_bytes, 0u) << format.name;
    EXPECT_TRUE(format.computes() || !format.writes()) << format.name;
    if (format.load) {
      EXPECT_TRUE(format.reads() && info(format.loads_as).computes()) << format.name;
    }
    EXPECT_EQ(format.block_elems % 32 == 0, !is_plain(format.dtype)) << format.name;
  }
  EXPECT_EQ(find_format(DType(4)), nullptr);
  EXPECT_EQ(dtype_from_name("q4_2"), std::nullopt);
}

// Where rows are not whole blocks: every format ends at one whose rows are, and all on the way can be written.
TEST(Format, FallbacksEndAtAPlainType) {
  for (const Format& format : writable(true)) {
    const Format* next = &format;
    for (int i = 0; i < 5 && !is_plain(next->dtype); ++i) {
      EXPECT_TRUE(next->writes()) << format.name;
      next = &info(next->fallback);
    }
    EXPECT_TRUE(is_plain(next->dtype)) << format.name;
  }
}

// A random block of every type that is read, and what ggml decodes it to (tools/make_format_grids.py).
TEST(Format, BlocksDecodeToTheirValues) {
  const MappedFile file(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "formats" / "blocks.bin");
  std::set<DType> seen;
  for (size_t at = 0; at < file.bytes().size();) {
    const auto take = [&](void* to, size_t n) {
      ASSERT_LE(at + n, file.bytes().size());
      std::memcpy(to, file.bytes().data() + at, n);
      at += n;
    };
    uint32_t head[3];
    take(head, sizeof head);
    const Format* format = find_format(DType(head[0]));
    ASSERT_TRUE(format && format->reads()) << head[0];
    ASSERT_EQ(format->block_bytes, head[1]) << format->name;
    ASSERT_EQ(format->block_elems, head[2]) << format->name;
    std::vector<std::byte> block(head[1]);
    std::vector<float> want(head[2]), got(head[2]);
    take(block.data(), block.size());
    take(want.data(), want.size() * sizeof(float));
    format->decode(block.data(), got.data(), got.size());
    float largest = 0;
    for (const float v : want) largest = std::max(largest, std::fabs(v));
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-6f * largest) << format->name << ", " << i;
    seen.insert(format->dtype);
  }
  for (const Format& format : formats()) {
    if (!format.reads() || is_own(format.dtype) || is_plain(format.dtype)) continue;
    EXPECT_TRUE(seen.contains(format.dtype)) << format.name;
  }
}

std::string upper(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = char(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// docs/kernels.md has a row of every format that computes, with what it says of its size and of who takes it, and names
// all that are only read.
TEST(Format, TheTableOfTheDocumentationIsThatOfTheCode) {
  std::ifstream file(std::filesystem::path(HUNCH_SOURCE_DIR) / "docs" / "kernels.md");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const size_t begin = text.find("\n## Formats\n");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = text.substr(begin, text.find("\n## ", begin + 1) - begin);
  size_t n_rows = 0;
  for (size_t at = section.find("\n| "); at != std::string::npos; at = section.find("\n| ", at + 1)) ++n_rows;
  const auto yes = [](bool v) { return v ? "yes" : "no"; };
  size_t n_expected = 1;  // its heading
  for (const Format& format : formats()) {
    if (format.in_memory_only || !format.reads()) continue;
    const std::string name = upper(format.name);
    if (!format.computes()) {
      EXPECT_NE(section.find(name), std::string::npos) << name;
      continue;
    }
    ++n_expected;
    const size_t at = section.find("\n| " + name + " | ");
    ASSERT_NE(at, std::string::npos) << name;
    const std::string row = section.substr(at + 1, section.find('\n', at + 1) - at - 1);
    std::vector<std::string> cells;
    for (size_t from = 2, to; (to = row.find(" | ", from)) != std::string::npos; from = to + 3)
      cells.push_back(row.substr(from, to - from));
    ASSERT_GE(cells.size(), 5u) << row;
    EXPECT_EQ(std::stoul(cells[1]), format.block_elems) << row;
    EXPECT_EQ(std::stod(cells[2]), 8.0 * format.block_bytes / format.block_elems) << row;
    EXPECT_EQ(cells[3], yes(format.writes())) << row;
    EXPECT_EQ(cells[4], yes(format.caches)) << row;
  }
  EXPECT_EQ(n_rows, n_expected);
}

TEST(Format, OnlyTypesThatAreReadHaveACodec) {
  std::vector<uint32_t> ids(64);
  std::iota(ids.begin(), ids.end(), 0u);
  ids.insert(ids.end(), {64, 68, kFirstOwnDType - 1, kFirstOwnDType, kFirstOwnDType + kNumOwnDTypes - 1,
                         kFirstOwnDType + kNumOwnDTypes, UINT32_MAX});
  for (const uint32_t id : ids) {
    const Format* format = find_format(DType(id));
    if (format && format->reads()) {
      EXPECT_EQ(&codec(DType(id)), format);
    } else {
      EXPECT_THROW(codec(DType(id)), Error) << id;
    }
  }
}

TEST(Format, AVisitorGetsTheFormatOfTheType) {
  size_t n = 0;
  for (const Format& format : formats()) {
    if (!format.computes()) continue;
    with_format(format.dtype, [&](auto f) { EXPECT_EQ(f.kFormat.dtype, format.dtype); });
    EXPECT_STREQ(with_format<const char*>(format.dtype, [](auto f) { return f.kFormat.name; }), format.name);
    ++n;
  }
  EXPECT_EQ(n, Computing::kSize);
}

TEST(Format, PlainTypesRoundAsHalfDoes) {
  const std::vector<float> x = normal_values(37, 3);
  const std::vector<float> f32 = round_trip(DType::kF32, x), h = round_trip(DType::kF16, x),
                           b = round_trip(DType::kBF16, x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(f32[i], x[i]);
    EXPECT_EQ(h[i], to_f32(to_f16(x[i])));
    EXPECT_EQ(b[i], to_f32(to_bf16(x[i])));
  }
}

// Hand-made blocks: the layout is a fact, so the expected values are written out independently.
TEST(Format, DecodesQ8_0AndQ4_0ByHand) {
  format::Q8_0::Block q8{to_f16(0.5f), {}};
  for (int i = 0; i < 32; ++i) q8.q[i] = int8_t(i * 8 - 128);
  format::Q4_0::Block q4{to_f16(-2.0f), {}};
  for (int i = 0; i < 16; ++i) q4.q[i] = uint8_t(i | (15 - i) << 4);
  float out[32];
  codec(DType::kQ8_0).decode(reinterpret_cast<std::byte*>(&q8), out, 32);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[i], 0.5f * float(i * 8 - 128));
  codec(DType::kQ4_0).decode(reinterpret_cast<std::byte*>(&q4), out, 32);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i], -2.0f * float(i - 8));
    EXPECT_EQ(out[i + 16], -2.0f * float(7 - i));
  }
}

TEST(Format, PackedScalesSurvive) {
  std::mt19937 rng(3);
  for (int trial = 0; trial < 100; ++trial) {
    uint8_t scale[8], min[8], packed[12], scale2[8], min2[8];
    for (int j = 0; j < 8; ++j) scale[j] = rng() & 63, min[j] = rng() & 63;
    pack_scales(scale, min, packed);
    unpack_scales(packed, scale2, min2);
    EXPECT_EQ(std::memcmp(scale, scale2, 8), 0);
    EXPECT_EQ(std::memcmp(min, min2, 8), 0);
  }
}

TEST(Format, DecodesKQuantsByHand) {
  // Sub-block j has scale 5 + j (also beyond 4 bits in the last) and min 2 j + 40.
  const uint8_t scale[8] = {5, 6, 7, 8, 9, 10, 11, 63}, min[8] = {40, 42, 44, 46, 48, 50, 52, 54};
  format::Q4_K::Block q4{to_f16(0.25f), to_f16(0.125f), {}, {}};
  format::Q5_K::Block q5{to_f16(0.25f), to_f16(0.125f), {}, {}, {}};
  // ggml's packing written out: bytes 0..3 and 4..7 carry the top bits of entries 4..7.
  const uint8_t packed[12] = {5,           6,           7,          8 | 3 << 6,  40 | 3 << 6, 42 | 3 << 6,
                              44 | 3 << 6, 46 | 3 << 6, 9 | 0 << 4, 10 | 2 << 4, 11 | 4 << 4, 15 | 6 << 4};
  std::memcpy(q4.scales, packed, 12);
  std::memcpy(q5.scales, packed, 12);
  q4.q[0] = 0x3c;    // element 0 of sub-block 0: 12, of sub-block 1: 3
  q4.q[127] = 0xf1;  // element 31 of sub-block 6: 1, of sub-block 7: 15
  std::memcpy(q5.q, q4.q, 128);
  q5.high[0] = 1;      // element 0 of sub-block 0
  q5.high[31] = 0x80;  // element 31 of sub-block 7
  float out[256];
  codec(DType::kQ4_K).decode(reinterpret_cast<std::byte*>(&q4), out, 256);
  EXPECT_EQ(out[0], 0.25f * 5 * 12 - 0.125f * 40);
  EXPECT_EQ(out[32], 0.25f * 6 * 3 - 0.125f * 42);
  EXPECT_EQ(out[6 * 32 + 31], 0.25f * 11 * 1 - 0.125f * 52);
  EXPECT_EQ(out[255], 0.25f * 63 * 15 - 0.125f * 54);
  for (int j = 0; j < 8; ++j) EXPECT_EQ(out[j * 32 + 5], -0.125f * min[j]) << j;
  codec(DType::kQ5_K).decode(reinterpret_cast<std::byte*>(&q5), out, 256);
  EXPECT_EQ(out[0], 0.25f * scale[0] * 28 - 0.125f * 40);
  EXPECT_EQ(out[32], 0.25f * 6 * 3 - 0.125f * 42);
  EXPECT_EQ(out[255], 0.25f * 63 * 31 - 0.125f * 54);
}

TEST(Format, DecodesQ6_KByHand) {
  format::Q6_K::Block b{};
  b.d = to_f16(0.5f);
  for (int j = 0; j < 16; ++j) b.scales[j] = int8_t(j - 8);
  b.low[64 + 3] = 0xa7;       // second half, l = 3: quarter 0 low 7, quarter 2 low 10
  b.low[64 + 32 + 3] = 0x5b;  // quarter 1 low 11, quarter 3 low 5
  b.high[32 + 3] = 0b10'01'11'00;
  float out[256];
  codec(DType::kQ6_K).decode(reinterpret_cast<std::byte*>(&b), out, 256);
  EXPECT_EQ(out[128 + 3], 0.5f * 0 * (7 - 32));
  EXPECT_EQ(out[128 + 32 + 3], 0.5f * 2 * (11 + 48 - 32));
  EXPECT_EQ(out[128 + 64 + 3], 0.5f * 4 * (10 + 16 - 32));
  EXPECT_EQ(out[128 + 96 + 3], 0.5f * 6 * (5 + 32 - 32));
  EXPECT_EQ(out[0], 0.5f * -8 * -32);
}

// What checkpoints of other tools hold: their numbers come back to the bit.
TEST(Format, OwnBlocksHoldWhatTheyDecodeTo) {
  EXPECT_EQ(sizeof(format::NF4::Block), 36u);
  format::NF4::Block nf4{{0.5f}, {}};
  format::FP4::Block fp4{{3.0f}, {}};
  for (int i = 0; i < 32; ++i) nf4.q[i] = fp4.q[i] = uint8_t(i % 16 | (15 - i % 16) << 4);
  float out[64];
  codec(DType::kNF4).decode(reinterpret_cast<std::byte*>(&nf4), out, 64);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], format::NF4::kValues[size_t(i % 16)] * 0.5f);
    EXPECT_EQ(out[i + 32], format::NF4::kValues[size_t(15 - i % 16)] * 0.5f);
  }
  EXPECT_EQ(out[0], -0.5f);
  EXPECT_EQ(out[15], 0.5f);
  codec(DType::kFP4).decode(reinterpret_cast<std::byte*>(&fp4), out, 64);
  EXPECT_EQ(out[3], 3.0f);
  EXPECT_EQ(out[32], -0.75f);
  format::FP8::Block fp8{{2.0f}, {}};
  fp8.q[1] = 0x01, fp8.q[2] = 0x7e, fp8.q[3] = 0x38, fp8.q[4] = 0xb9, fp8.q[5] = 0x07;
  codec(DType::kFP8).decode(reinterpret_cast<std::byte*>(&fp8), out, 64);
  const float want[] = {0, 0x1p-8f, 896, 2, -2.25f, 7 * 0x1p-8f};
  for (size_t i = 0; i < std::size(want); ++i) EXPECT_EQ(out[i], want[i]) << i;
  format::I8_64::Block i8{{127.0f}, {-127, 1, 64}};
  codec(DType::kI8_64).decode(reinterpret_cast<std::byte*>(&i8), out, 64);
  EXPECT_EQ(out[2], 64.0f * 127.0f * 0.007874015718698502f);
  // Every number is its own nearest.
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7f) == 0x7f || bits == 0x80) continue;
    EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(uint8_t(bits))), bits);
  }
  EXPECT_EQ(f32_to_e4m3(1e9f), 0x7e);
  EXPECT_EQ(f32_to_e4m3(1.0625f), 0x38);  // a tie: to the even mantissa
  EXPECT_EQ(f32_to_e4m3(1.1875f), 0x3a);
  for (const DType dtype : {DType::kNF4, DType::kFP4}) {
    const std::vector<float> once = round_trip(dtype, normal_values(2048, 1));
    EXPECT_EQ(round_trip(dtype, once), once) << name_of(dtype);
  }
}

TEST(Format, RoundTripErrorStaysWithinHalfAStep) {
  const std::vector<float> x = normal_values(64 * 256, 0.02f);
  const std::vector<float> q8 = round_trip(DType::kQ8_0, x), q4 = round_trip(DType::kQ4_0, x);
  for (size_t block = 0; block < x.size(); block += 32) {
    float absmax = 0;
    for (size_t i = block; i < block + 32; ++i) absmax = std::max(absmax, std::fabs(x[i]));
    for (size_t i = block; i < block + 32; ++i) {
      // 2^-11: the f16 rounding of the scale moves the extreme by as much. Q4_0 has no code +8: the
      // value opposite the extreme may lose a whole step.
      ASSERT_LE(std::fabs(q8[i] - x[i]), absmax / 127 * 0.5f + absmax * 0x1p-11f) << i;
      ASSERT_LE(std::fabs(q4[i] - x[i]), absmax / 8 * 1.0f + absmax * 0x1p-10f) << i;
    }
  }
}

TEST(Format, NormalValuesKeepTheirKnownPrecision) {
  const std::vector<float> x = normal_values(256 * 256, 0.02f);
  EXPECT_LT(relative_rms(x, round_trip(DType::kQ8_0, x)), 0.0058);
  EXPECT_LT(relative_rms(x, round_trip(DType::kQ4_0, x)), 0.092);
  EXPECT_LT(relative_rms(x, round_trip(DType::kQ4_K, x)), 0.072);
  EXPECT_LT(relative_rms(x, round_trip(DType::kQ6_K, x)), 0.0185);
  EXPECT_LT(relative_rms(x, round_trip(DType::kNF4, x)), 0.098);
  EXPECT_LT(relative_rms(x, round_trip(DType::kFP4, x)), 0.14);
  EXPECT_LT(relative_rms(x, round_trip(DType::kFP8, x)), 0.029);
  EXPECT_LT(relative_rms(x, round_trip(DType::kI8_64, x)), 0.0065);
}

TEST(Format, EncodingIsIdempotentForSimpleFormats) {
  const std::vector<float> x = normal_values(2048, 1);
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    const std::vector<float> once = round_trip(dtype, x);
    const std::vector<float> twice = round_trip(dtype, once);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(twice[i], once[i], 1e-3f * std::fabs(once[i])) << name_of(dtype);
  }
}

// The error of x rounded to a format, weighed by importance: [0] of an encoder that does not know it, [1] of one that
// does.
std::array<double, 2> weighted_errors(const Format& format, const std::vector<float>& x,
                                      const std::vector<float>& importance) {
  std::vector<std::byte> blocks(row_bytes(format.dtype, x.size()));
  std::vector<float> y(x.size());
  std::array<double, 2> error{};
  for (const bool weighted : {false, true}) {
    format.encode(x.data(), blocks.data(), x.size(), weighted ? importance.data() : nullptr);
    format.decode(blocks.data(), y.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) error[weighted] += importance[i] * std::pow(double(x[i]) - y[i], 2);
  }
  return error;
}

// Without shared data: half of the columns a hundred times as important as the others.
TEST(Format, ImportantColumnsAreKeptBetter) {
  const std::vector<float> x = normal_values(64 * 256, 1);
  std::vector<float> importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) importance[i] = i % 2 ? 1.0f : 0.01f;
  for (const Format& format : writable(true)) {
    if (format.dtype == DType::kQ8_0 || format.dtype == DType::kMXFP4 || format.float_products) continue;
    const auto error = weighted_errors(format, x, importance);
    EXPECT_LT(error[true], 0.95 * error[false]) << format.name;
  }
}

// What it is worth where a few columns count for most: the weighted error against that of an encoder that does not
// know.
TEST(Format, AFewColumnsThatCountForMostAreFitted) {
  const std::map<std::string_view, double> most = {{"q4_0", 0.67},   {"q4_1", 0.51}, {"q5_0", 0.65},  {"q5_1", 0.53},
                                                   {"iq4_nl", 0.67}, {"q2_k", 0.55}, {"q3_k", 0.70},  {"q4_k", 0.63},
                                                   {"q5_k", 0.66},   {"q6_k", 0.65}, {"iq4_xs", 0.69}};
  const std::vector<float> x = normal_values(64 * 256, 0.02f);
  std::vector<float> importance = normal_values(x.size(), 1.5f, 8);
  for (float& v : importance) v = std::exp(v);
  for (const auto& [name, bound] : most) {
    const Format& format = info(*dtype_from_name(name));
    const auto error = weighted_errors(format, x, importance);
    EXPECT_LT(error[true], bound * error[false]) << name;
  }
}

// Encoders fit four blocks side by side: what a block becomes does not depend on its neighbours, nor on how many there
// are.
TEST(Format, ABlockIsEncodedAsAlone) {
  for (const Format& format : writable(true))
    for (const size_t n_blocks : {1, 2, 3, 5, 7}) {
      const size_t n = format.block_elems;
      std::vector<float> x = normal_values(n * n_blocks, 1), importance = normal_values(n * n_blocks, 1);
      for (float& v : importance) v *= v;
      std::vector<std::byte> together(n_blocks * format.block_bytes), alone(format.block_bytes);
      for (const bool weighted : {false, true}) {
        format.encode(x.data(), together.data(), x.size(), weighted ? importance.data() : nullptr);
        for (size_t b = 0; b < n_blocks; ++b) {
          format.encode(&x[b * n], alone.data(), n, weighted ? &importance[b * n] : nullptr);
          EXPECT_EQ(std::memcmp(alone.data(), &together[b * format.block_bytes], alone.size()), 0)
              << format.name << ", block " << b << " of " << n_blocks;
        }
      }
    }
}

// A block whose columns have no importance at all, as those of an expert that no text reached.
TEST(Format, NoImportanceIsAsGoodAsEqualImportance) {
  const std::vector<float> x = normal_values(1024, 1), none(1024, 0.0f), equal(1024, 1.0f);
  for (const Format& format : writable(true)) {
    std::vector<std::byte> a(row_bytes(format.dtype, x.size())), b(a.size());
    format.encode(x.data(), a.data(), x.size(), none.data());
    format.encode(x.data(), b.data(), x.size(), equal.data());
    EXPECT_EQ(a, b) << format.name;
  }
}

TEST(Format, DegenerateBlocksStayFiniteAndNear) {
  std::vector<std::vector<float>> cases(8, std::vector<float>(256, 0.0f));
  cases[1].assign(256, 3.5f);  // constant
  cases[2].assign(256, -3.5f);
  cases[3][77] = -1.0f;  // one spike
  cases[4][77] = 1.0f;
  cases[5].assign(256, 1e-39f);  // subnormal: may become zero
  cases[6].assign(256, 3e38f);   // beyond every f16 scale: saturates
  for (size_t i = 0; i < 256; ++i) cases[7][i] = (i / 32 % 2 ? 1e-3f : 1e3f) * float(int(i % 32) - 16);
  for (const Format& format : writable(true))
    for (size_t c = 0; c < cases.size(); ++c) {
      SCOPED_TRACE(std::string(format.name) + " case " + std::to_string(c));
      const std::vector<float> y = round_trip(format.dtype, cases[c]);
      float absmax = 0;
      for (const float v : cases[c]) absmax = std::max(absmax, std::fabs(v));
      for (size_t i = 0; i < 256; ++i) {
        ASSERT_TRUE(std::isfinite(y[i]));
        if (c != 6) {
          const bool coarse = format.block_bytes * 8 < format.block_elems * 9 / 2 || format.dtype == DType::kFP4;
          ASSERT_NEAR(y[i], cases[c][i], absmax * (coarse ? 0.34f : 0.13f) + 1e-6f) << i;
        }
      }
    }
  for (const Format& format : writable(true))
    for (const float v : round_trip(format.dtype, cases[0])) ASSERT_EQ(v, 0.0f);
}

}  // namespace
}  // namespace hunch
