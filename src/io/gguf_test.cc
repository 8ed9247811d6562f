#include "io/gguf.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// A whole file: one uint32 pair, then tensors a [2, 3] f32 and b [2] f32. Knobs tell the lies.
struct SmallFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t n_tensors = 2, n_pairs = 1;
  std::string key = "k";
  uint64_t a_cols = 3, a_rows = 2, a_offset = 0, b_offset = 32;
  uint32_t a_dims = 2, a_type = 0;
  std::string b_name = "b";

  std::string bytes() const {
    ByteBuilder out;
    out.raw(magic).u32(version).u64(n_tensors).u64(n_pairs);
    out.str(key).u32(4).u32(7);
    out.str("a").u32(a_dims).u64(a_cols).u64(a_rows).u32(a_type).u64(a_offset);
    out.str(b_name).u32(1).u64(2).u32(0).u64(b_offset);
    out.pad_to(32);
    for (int i = 0; i < 6; ++i) out.f32(float(i));
    out.pad_to(32);
    out.f32(8).f32(9);
    return out.bytes;
  }
};

ModelFile parse(const std::string& bytes) { return parse_gguf(as_byte_span(bytes)); }

TEST(Gguf, ReadsTensorsAsViewsInRowMajorOrder) {
  for (uint32_t version : {2u, 3u}) {
    const std::string bytes = SmallFile{.version = version}.bytes();
    const ModelFile model = parse(bytes);
    EXPECT_EQ(model.meta.get_uint("k"), 7u);
    const Tensor& a = model.get("a");
    EXPECT_EQ(a.shape, (std::vector<uint64_t>{2, 3}));
    EXPECT_EQ(a.rows(), 2u);
    EXPECT_EQ(a.cols(), 3u);
    EXPECT_EQ(reinterpret_cast<const float*>(a.data.data())[5], 5.0f);
    EXPECT_EQ(reinterpret_cast<const float*>(model.get("b").data.data())[1], 9.0f);
    const auto* begin = reinterpret_cast<const char*>(a.data.data());
    EXPECT_TRUE(begin >= bytes.data() && begin + a.data.size() <= bytes.data() + bytes.size());
  }
}

TEST(Gguf, AStopEndsTheWritingAndLeavesNothing) {
  const TempDir dir("gguf_stop");
  const std::string bytes = SmallFile{}.bytes();
  const ModelFile model = parse(bytes);
  Stop stop;
  const auto stops = [&](std::string_view, uint64_t, uint64_t) { stop.request(); };
  message_of(ErrorKind::kInterrupted, [&] { write_gguf(dir.path / "a.gguf", model, stops, &stop); });
  EXPECT_TRUE(fs::is_empty(dir.path));
  write_gguf(dir.path / "a.gguf", model, stops);
  EXPECT_TRUE(fs::exists(dir.path / "a.gguf"));
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string bytes = SmallFile{}.bytes();
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::string cut = bytes.substr(0, n);
    EXPECT_THROW(parse(cut), Error) << n << " of " << bytes.size() << " bytes";
  }
}

struct Lie {
  const char* name;
  SmallFile file;
  ErrorKind kind;
  const char* message;  // a part of it
};

TEST(Gguf, RefusesLiesByName) {
  const uint64_t huge = uint64_t{1} << 62;
  const Lie lies[] = {
      {"magic", {.magic = "GGML"}, ErrorKind::kFormat, "does not begin with 'GGUF'"},
      {"version 1", {.version = 1}, ErrorKind::kUnsupported, "version 1"},
      {"version 4", {.version = 4}, ErrorKind::kUnsupported, "version 4"},
      {"big endian", {.version = 3u << 24}, ErrorKind::kUnsupported, "big-endian"},
      {"tensor count", {.n_tensors = huge}, ErrorKind::kFormat, "tensors at offset"},
      {"pair count", {.n_pairs = huge}, ErrorKind::kFormat, "metadata pairs at offset"},
      {"empty key", {.key = ""}, ErrorKind::kFormat, "metadata key"},
      {"five dimensions", {.a_dims = 5}, ErrorKind::kFormat, "'a' has 5 dimensions"},
      {"overflowing shape", {.a_cols = huge, .a_rows = huge}, ErrorKind::kFormat, "'a': the product of its dimensions"},
      {"overflowing bytes", {.a_cols = huge, .a_rows = 1}, ErrorKind::kFormat, "overflows"},
      {"past the end", {.a_rows = 1000}, ErrorKind::kFormat, "'a' spans 12000 bytes"},
      {"offset past the end", {.b_offset = 1 << 20}, ErrorKind::kFormat, "'b' spans 8 bytes from offset 1048576"},
      {"wrapping offset", {.b_offset = UINT64_MAX - 31}, ErrorKind::kFormat, "'b' spans"},
      {"misaligned", {.b_offset = 28}, ErrorKind::kFormat, "multiple of the alignment 32"},
      {"overlap", {.b_offset = 0}, ErrorKind::kFormat, "overlap"},
      {"duplicate", {.b_name = "a"}, ErrorKind::kFormat, "two tensors are named 'a'"},
      {"unknown type", {.a_type = 99}, ErrorKind::kUnsupported, "unknown type 99"},
      {"type that only memory has", {.a_type = 63}, ErrorKind::kUnsupported, "unknown type 63"},
      {"partial block of a type that is only read", {.a_type = 21}, ErrorKind::kFormat, "iq3_s has rows of 3"},
      {"partial block", {.a_type = 8}, ErrorKind::kFormat, "rows of 3 elements; expected a multiple of 32"},
      {"bad alignment", {.key = "general.alignment"}, ErrorKind::kFormat, "general.alignment"},
  };
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.name);
    const std::string message = message_of(lie.kind, [&] { parse(lie.file.bytes()); });
    EXPECT_NE(message.find(lie.message), std::string::npos) << message;
  }
}

// A file with one metadata pair, given as the bytes after the key.
std::string file_with_value(const std::string& value) {
  return ByteBuilder{}.raw("GGUF").u32(3).u64(0).u64(1).str("key").raw(value).bytes;
}

TEST(Gguf, RefusesLyingValues) {
  struct {
    const char* name;
    std::string value;
    ErrorKind kind;
    const char* message;
  } const lies[] = {
      {"unknown type", ByteBuilder{}.u32(13).u64(0).bytes, ErrorKind::kFormat, "unknown type 13"},
      {"bool of 2", ByteBuilder{}.u32(7).u8(2).bytes, ErrorKind::kFormat, "a bool at offset"},
      {"long string", ByteBuilder{}.u32(8).u64(UINT64_MAX).bytes, ErrorKind::kFormat, "a string value"},
      {"long array", ByteBuilder{}.u32(9).u32(5).u64(UINT64_MAX / 2).bytes, ErrorKind::kFormat, "array elements"},
      {"many strings", ByteBuilder{}.u32(9).u32(8).u64(UINT64_MAX).bytes, ErrorKind::kFormat, "strings at offset"},
      {"many bools", ByteBuilder{}.u32(9).u32(7).u64(9).raw("\1").bytes, ErrorKind::kFormat, "bools"},
      {"nested", ByteBuilder{}.u32(9).u32(9).u64(1).u32(4).u64(0).bytes, ErrorKind::kUnsupported, "array of arrays"},
      {"array of 77", ByteBuilder{}.u32(9).u32(77).u64(1).u64(0).bytes, ErrorKind::kFormat, "unknown type 77"},
  };
  for (const auto& lie : lies) {
    SCOPED_TRACE(lie.name);
    const std::string message = message_of(lie.kind, [&] { parse(file_with_value(lie.value)); });
    EXPECT_NE(message.find(lie.message), std::string::npos) << message;
  }
  const ModelFile model = parse(file_with_value(ByteBuilder{}.u32(9).u32(5).u64(0).bytes));
  EXPECT_TRUE(model.meta.get_ints("key").empty());
}

TEST(Gguf, RefusesAKeyThatAppearsTwice) {
  const std::string pair = ByteBuilder{}.str("twin").u32(4).u32(7).bytes;
  const std::string bytes = ByteBuilder{}.raw("GGUF").u32(3).u64(0).u64(2).raw(pair).raw(pair).bytes;
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { parse(bytes); }).find("'twin' appears twice"), std::string::npos);
}

// A model with every metadata type and a few tensors, and the buffer that these live in.
struct Sample {
  std::vector<float> values = {1, 2, 3, 4, 5, 6, 7};
  ModelFile model;
  explicit Sample(uint32_t alignment = 32) {
    Metadata& meta = model.meta;
    meta.set("u8", uint8_t{255});
    meta.set("i8", int8_t{-128});
    meta.set("u16", uint16_t{65535});
    meta.set("i16", int16_t{-32768});
    meta.set("u32", UINT32_MAX);
    meta.set("i32", INT32_MIN);
    meta.set("u64", UINT64_MAX);
    meta.set("i64", INT64_MIN);
    meta.set("f32", 0.1f);
    meta.set("f64", 0.1);
    meta.set("bool", true);
    meta.set("string", std::string("a\0b\xff", 4));
    meta.set("au8", MetaArray(std::vector<uint8_t>{1, 2, 3}));
    meta.set("ai64", MetaArray(std::vector<int64_t>{-1, INT64_MAX}));
    meta.set("af64", MetaArray(std::vector<double>{0.1}));
    meta.set("abool", MetaArray(std::vector<bool>{true, false, true}));
    meta.set("astring", MetaArray(std::vector<std::string>{"", "x", "yy"}));
    meta.set("aempty", MetaArray(std::vector<float>{}));
    if (alignment != 32) meta.set("general.alignment", alignment);
    add("matrix", {2, 3}, 6);
    add("scalar", {}, 1);
    add("cube", {1, 7, 1}, 7);
    add("empty", {0, 4}, 0);
    model.index();
  }
  void add(const char* name, std::vector<uint64_t> shape, size_t n) {
    model.tensors.push_back({name, DType::kF32, std::move(shape), std::as_bytes(std::span(values).first(n))});
  }
};

void expect_equal(const ModelFile& got, const ModelFile& want) {
  EXPECT_EQ(got.meta.keys(), want.meta.keys());
  for (const std::string& key : want.meta.keys()) EXPECT_TRUE(*got.meta.find(key) == *want.meta.find(key)) << key;
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (size_t i = 0; i < want.tensors.size(); ++i) {
    EXPECT_EQ(got.tensors[i].name, want.tensors[i].name);
    EXPECT_EQ(got.tensors[i].dtype, want.tensors[i].dtype);
    EXPECT_EQ(got.tensors[i].shape, want.tensors[i].shape);
    EXPECT_EQ(as_text(got.tensors[i].data), as_text(want.tensors[i].data)) << want.tensors[i].name;
  }
}

TEST(Gguf, WrittenFilesReadBackEqual) {
  const TempDir dir("gguf_round");
  for (uint32_t alignment : {32u, 8u, 4096u}) {
    SCOPED_TRACE(alignment);
    const Sample sample(alignment);
    write_gguf(dir.path / "m.gguf", sample.model);
    const ModelFile back = open_gguf(dir.path / "m.gguf");
    expect_equal(back, sample.model);
    for (const Tensor& tensor : back.tensors)
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data.data()) % alignment, 0u);
  }
}

TEST(Gguf, WriterReportsProgressInBytesAndPullsOneTensorAtATime) {
  const TempDir dir("gguf_progress");
  std::vector<std::string> events;
  const float value = 3;
  std::vector<TensorToWrite> tensors;
  for (const char* name : {"x", "y"})
    tensors.push_back({name, DType::kF32, {1}, [&events, &value, name] {
                         events.push_back(std::string("produce ") + name);
                         return std::as_bytes(std::span(&value, 1));
                       }});
  write_gguf(dir.path / "m.gguf", Metadata{}, tensors, [&](std::string_view what, uint64_t done, uint64_t total) {
    events.push_back(fmt::format("{} {}/{}", what, done, total));
  });
  EXPECT_EQ(events, (std::vector<std::string>{"x 0/8", "produce x", "y 4/8", "produce y", " 8/8"}));
}

TEST(Gguf, AWriteThatFailsLeavesNothingBehind) {
  const TempDir dir("gguf_fail");
  const TensorToWrite bad{"x", DType::kF32, {1}, []() -> std::span<const std::byte> { fail(ErrorKind::kIo, "gone"); }};
  EXPECT_THROW(write_gguf(dir.path / "m.gguf", Metadata{}, std::span(&bad, 1)), Error);
  EXPECT_TRUE(fs::is_empty(dir.path));
  const TensorToWrite partial{"x", DType::kQ8_0, {31}, {}};
  EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { write_gguf(dir.path / "m.gguf", {}, std::span(&partial, 1)); })
                .find("multiple of 32"),
            std::string::npos);
}

TEST(Gguf, MessagesOfOpenNameThePath) {
  const TempDir dir("gguf_path");
  dir.write("bad.gguf", "GGUF");
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { open_gguf(dir.path / "bad.gguf"); }).find("bad.gguf"),
            std::string::npos);
  message_of(ErrorKind::kNotFound, [&] { open_gguf(dir.path / "absent.gguf"); });
}

class GgufSplit : public ::testing::Test {
 protected:
  TempDir dir_{"gguf_split"};
  const float value_ = 5;
  void write_part(const std::string& file, uint16_t no, uint16_t count, const char* tensor, int32_t n_tensors = 2) {
    ModelFile part;
    if (no == 0) part.meta.set("general.architecture", std::string("llama"));
    part.meta.set("split.no", no);
    part.meta.set("split.count", count);
    part.meta.set("split.tensors.count", n_tensors);
    part.tensors.push_back({tensor, DType::kF32, {1}, std::as_bytes(std::span(&value_, 1))});
    write_gguf(dir_.path / file, part);
  }
};

TEST_F(GgufSplit, PartsAreJoinedWhicheverIsNamed) {
  write_part("m-00001-of-00002.gguf", 0, 2, "x");
  write_part("m-00002-of-00002.gguf", 1, 2, "y");
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const ModelFile model = open_gguf(dir_.path / name);
    EXPECT_EQ(model.meta.keys(), std::vector<std::string>{"general.architecture"});
    EXPECT_EQ(model.get("x").data.size(), 4u);
    EXPECT_EQ(model.get("y").data.size(), 4u);
    EXPECT_EQ(model.owners.size(), 2u);
  }
}

TEST_F(GgufSplit, MissingMisnamedAndContradictingPartsAreRefused) {
  write_part("m-00001-of-00002.gguf", 0, 2, "x");
  EXPECT_NE(message_of(ErrorKind::kNotFound, [&] { open_gguf(dir_.path / "m-00001-of-00002.gguf"); })
                .find("m-00002-of-00002.gguf"),
            std::string::npos);
  write_part("m-00002-of-00002.gguf", 0, 2, "y");
  message_of(ErrorKind::kFormat, [&] { open_gguf(dir_.path / "m-00001-of-00002.gguf"); });
  write_part("m-00002-of-00002.gguf", 1, 2, "x");
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { open_gguf(dir_.path / "m-00001-of-00002.gguf"); }).find("named 'x'"),
            std::string::npos);
  write_part("alone.gguf", 0, 2, "x");
  message_of(ErrorKind::kFormat, [&] { open_gguf(dir_.path / "alone.gguf"); });
  write_part("m-00001-of-00002.gguf", 0, 2, "x", 3);
  write_part("m-00002-of-00002.gguf", 1, 2, "y", 3);
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { open_gguf(dir_.path / "m-00001-of-00002.gguf"); }).find("expected 3"),
            std::string::npos);
}

TEST(Gguf, SharedVocabulariesParseAndSurviveARoundTrip) {
  const auto shared = shared_path("tokenizers/ggml-vocab");
  if (!shared) GTEST_SKIP() << "tokenizers/ggml-vocab is not here: no real vocabularies were read";
  const TempDir dir("gguf_vocab");
  size_t n_read = 0;
  for (const auto& entry : fs::directory_iterator(*shared)) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const ModelFile model = open_gguf(entry.path());
    EXPECT_GT(model.meta.get_strings("tokenizer.ggml.tokens").size(), 1000u);
    write_gguf(dir.path / "copy.gguf", model);
    expect_equal(open_gguf(dir.path / "copy.gguf"), model);
    ++n_read;
  }
  EXPECT_GT(n_read, 5u);
}

TEST(Gguf, SharedStoriesModelParses) {
  const auto shared = shared_path("models/stories260K/stories260K.gguf");
  if (!shared) GTEST_SKIP() << "no shared data: stories260K.gguf was not read";
  const ModelFile model = open_gguf(*shared);
  EXPECT_EQ(model.meta.get_string("general.architecture"), "llama");
  EXPECT_EQ(model.get("blk.0.attn_k.weight").shape, (std::vector<uint64_t>{32, 64}));
}

}  // namespace
}  // namespace hunch
