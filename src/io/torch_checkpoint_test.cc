#include "io/torch_checkpoint.h"

#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/safetensors.h"
#include "io/test_errors.h"
#include "io/test_torch.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// Bytes at an aligned address that is `shift` off, as a memory map or an unlucky file would have them.
struct Input {
  std::vector<double> memory;
  std::span<const std::byte> bytes;
  explicit Input(const std::string& text, size_t shift = 0) : memory(text.size() / 8 + 2) {
    auto* at = reinterpret_cast<char*>(memory.data()) + shift;
    text.copy(at, text.size());
    bytes = {reinterpret_cast<const std::byte*>(at), text.size()};
  }
};

std::string floats(const std::vector<float>& values) {
  ByteBuilder out;
  for (float v : values) out.f32(v);
  return out.bytes;
}

std::vector<float> values_of(const Tensor& tensor) {
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data.data()) % 4, 0u);
  const auto* begin = reinterpret_cast<const float*>(tensor.data.data());
  return {begin, begin + tensor.data.size() / 4};
}

std::string state_dict(const PickleBuilder& items) {
  // An OrderedDict filled in one go, with torch's _metadata as its state.
  return PickleBuilder{}
      .global("collections", "OrderedDict")
      .op(")Rq\x01(")
      .raw(items.bytes.substr(2))
      .raw("u}X\x09")
      .raw(std::string(3, '\0'))
      .raw("_metadata}sb.")
      .bytes;
}

std::vector<ZipFile> archive(const std::string& pickle, const std::string& storage = floats({1, 2, 3, 4, 5, 6})) {
  return {{"m/data.pkl", pickle}, {"m/byteorder", "little"}, {"m/data/0", storage}, {"m/version", "3\n"}};
}

std::string two_tensors() {
  PickleBuilder items;
  items.text("a").tensor("0", 6, 0, {2, 3}, {3, 1});
  items.text("step").integer(7);
  items.text("b").global("torch._utils", "_rebuild_parameter").op("(").tensor("0", 6, 1, {3, 2}, {1, 3});
  items.op("\x89").global("collections", "OrderedDict").op(")RtR");
  return state_dict(items);
}

// With shape [3, 2] and strides [1, 3], offset 1 would reach one past the end: 1 + 2 + 3 = 6.
std::string good_pickle() {
  PickleBuilder items;
  items.text("a").tensor("0", 6, 0, {2, 3}, {3, 1});
  items.text("step").integer(7);
  items.text("b").global("torch._utils", "_rebuild_parameter").op("(").tensor("0", 6, 0, {3, 2}, {1, 3});
  items.op("\x89").global("collections", "OrderedDict").op(")RtR");
  items.text("tied").tensor("0", 6, 0, {2, 3}, {3, 1});
  items.text("tail").tensor("0", 6, 4, {1, 2}, {77, 1});
  items.text("scalar").tensor("0", 6, 5, {}, {});
  items.text("empty").tensor("0", 6, 0, {0, 4}, {4, 1});
  return state_dict(items);
}

void expect_good(const TorchCheckpoint& checkpoint) {
  ASSERT_EQ(checkpoint.tensors.size(), 6u);
  const std::vector<Tensor>& t = checkpoint.tensors;
  EXPECT_EQ(t[0].name, "a");
  EXPECT_EQ(t[0].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(values_of(t[0]), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(t[1].name, "b");
  EXPECT_EQ(values_of(t[1]), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(t[2].data.data(), t[0].data.data());
  EXPECT_EQ(values_of(t[3]), (std::vector<float>{5, 6}));
  EXPECT_EQ(values_of(t[4]), (std::vector<float>{6}));
  EXPECT_TRUE(t[4].shape.empty());
  EXPECT_TRUE(t[5].data.empty());
}

TEST(TorchCheckpoint, ReadsStoredEntriesAsViewsAndStridedTensorsAsCopies) {
  for (bool zip64 : {false, true}) {
    const Input input(make_zip(archive(good_pickle()), {.zip64 = zip64}));
    const TorchCheckpoint checkpoint = parse_torch_checkpoint(input.bytes);
    expect_good(checkpoint);
    EXPECT_EQ(checkpoint.owners.size(), 1u);  // of "b"
    const std::byte* a = checkpoint.tensors[0].data.data();
    EXPECT_TRUE(a > input.bytes.data() && a < input.bytes.data() + input.bytes.size());
  }
}

TEST(TorchCheckpoint, ReadsDeflatedAndMisalignedArchives) {
  std::vector<ZipFile> files = archive(good_pickle());
  expect_good(parse_torch_checkpoint(Input(make_zip(files), 1).bytes));
  for (ZipFile& file : files) file.deflated = true;
  expect_good(parse_torch_checkpoint(Input(make_zip(files)).bytes));
}

const std::string kLegacyHead =
    std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15) + "\x80\x02M\xe9\x03.";
const std::string kLittleEndian = PickleBuilder{}.op("}").text("little_endian").op("\x88s.").bytes;

std::string legacy(const std::string& pickle, uint64_t n_elems = 6, const std::string& keys = "0") {
  return ByteBuilder{}
      .raw(kLegacyHead)
      .raw(kLittleEndian)
      .raw(pickle)
      .raw(PickleBuilder{}.op("](").text(keys).op("e.").bytes)
      .u64(n_elems)
      .raw(floats({1, 2, 3, 4, 5, 6}))
      .bytes;
}

TEST(TorchCheckpoint, AStopEndsTheUnpacking) {
  std::vector<ZipFile> files = archive(good_pickle());
  for (ZipFile& file : files) file.deflated = true;
  const Input input(make_zip(files));
  Stop stop;
  EXPECT_FALSE(parse_torch_checkpoint(input.bytes, &stop).tensors.empty());
  stop.request();
  message_of(ErrorKind::kInterrupted, [&] { parse_torch_checkpoint(input.bytes, &stop); });
}

TEST(TorchCheckpoint, ReadsTheLegacyFormat) {
  for (size_t shift = 0; shift < 8; ++shift)
    expect_good(parse_torch_checkpoint(Input(legacy(good_pickle()), shift).bytes));
}

TEST(TorchCheckpoint, RefusesEveryTruncation) {
  for (const std::string& whole : {make_zip(archive(good_pickle())), legacy(good_pickle())})
    for (size_t n = 0; n < whole.size(); ++n)
      EXPECT_THROW(parse_torch_checkpoint(Input(whole.substr(0, n)).bytes), Error) << n << " of " << whole.size();
}

TEST(TorchCheckpoint, DescendsIntoWrappedStateDicts) {
  PickleBuilder items;
  items.text("a").tensor("0", 6, 0, {6}, {1});
  const std::string inner = state_dict(items).substr(2);
  const std::string dict = inner.substr(0, inner.size() - 1);  // without STOP
  const std::string wrapped = PickleBuilder{}
                                  .op("}(")
                                  .text("epoch")
                                  .integer(3)
                                  .text("model")
                                  .op("}")
                                  .text("state_dict")
                                  .raw(dict)
                                  .raw("su.")
                                  .bytes;
  const Input input(make_zip(archive(wrapped)));
  const TorchCheckpoint checkpoint = parse_torch_checkpoint(input.bytes);
  ASSERT_EQ(checkpoint.tensors.size(), 1u);
  EXPECT_EQ(checkpoint.tensors[0].name, "a");
}

TEST(TorchCheckpoint, KnowsEveryStorageType) {
  const std::pair<const char*, DType> types[] = {{"FloatStorage", DType::kF32},     {"HalfStorage", DType::kF16},
                                                 {"BFloat16Storage", DType::kBF16}, {"DoubleStorage", DType::kF64},
                                                 {"LongStorage", DType::kI64},      {"IntStorage", DType::kI32},
                                                 {"ShortStorage", DType::kI16},     {"CharStorage", DType::kI8},
                                                 {"ByteStorage", DType::kI8},       {"BoolStorage", DType::kI8}};
  for (const auto& [name, dtype] : types) {
    PickleBuilder items;
    items.text("a").tensor("0", 2, 1, {1}, {1}, name);
    const Input input(make_zip(archive(state_dict(items))));
    const TorchCheckpoint checkpoint = parse_torch_checkpoint(input.bytes);
    EXPECT_EQ(checkpoint.tensors[0].dtype, dtype);
    EXPECT_EQ(checkpoint.tensors[0].data.size(), info(dtype).block_bytes);
  }
}

struct Lie {
  const char* name;
  std::string pickle;
  ErrorKind kind;
  const char* message;
};

std::string tensor_pickle(int32_t n_elems, int32_t offset, std::vector<int32_t> shape, std::vector<int32_t> strides,
                          const char* key = "0") {
  PickleBuilder items;
  items.text("a").tensor(key, n_elems, offset, shape, strides);
  return state_dict(items);
}

TEST(TorchCheckpoint, RefusesPicklesThatLieOrWantToRunCode) {
  using P = PickleBuilder;
  const std::string many_copies = [] {
    P items;
    for (int i = 0; i < 6; ++i) items.text(std::string(1, char('a' + i))).tensor("0", 6, 0, {3, 2}, {1, 3});
    return state_dict(items);
  }();
  const Lie lies[] = {
      {"os.system", P{}.global("os", "system").op("(").text("echo").op("tR.").bytes, ErrorKind::kUnsupported,
       "'os.system'"},
      {"builtins.eval", P{}.global("builtins", "eval").bytes, ErrorKind::kUnsupported, "'builtins.eval'"},
      {"long class", P{}.op("c").op(std::string(300, 'x')).bytes, ErrorKind::kFormat, "longer than 256"},
      {"INST", P{}.op("(ios\nsystem\n.").bytes, ErrorKind::kUnsupported, "INST"},
      {"OBJ", P{}.op("o").bytes, ErrorKind::kUnsupported, "OBJ"},
      {"NEWOBJ", P{}.op("\x81").bytes, ErrorKind::kUnsupported, "NEWOBJ"},
      {"protocol 4", "\x80\x04.", ErrorKind::kUnsupported, "protocol 4"},
      {"unknown opcode", P{}.op("\xf0").bytes, ErrorKind::kUnsupported, "0xf0"},
      {"call of a storage class", P{}.global("torch", "FloatStorage").op(")R.").bytes, ErrorKind::kUnsupported,
       "calls"},
      {"call of a number", P{}.op("K\x01)R.").bytes, ErrorKind::kFormat, "no class"},
      {"empty stack", P{}.op(".").bytes, ErrorKind::kFormat, "operand is missing"},
      {"value below a mark", P{}.op("N(.").bytes, ErrorKind::kFormat, "operand is missing"},
      {"no mark", P{}.op("t").bytes, ErrorKind::kFormat, "mark is missing"},
      {"memo", P{}.op("h\x05").bytes, ErrorKind::kFormat, "memo entry"},
      {"append to a number",
       P{}.op("K\x01K\x02"
              "a")
           .bytes,
       ErrorKind::kFormat, "no list"},
      {"odd dictionary", P{}.op("}(K\x01u").bytes, ErrorKind::kFormat, "no value"},
      {"state of a list", P{}.op("]}b").bytes, ErrorKind::kFormat, "no dictionary"},
      {"long integer",
       P{}.op("\x8a\x09"
              "123456789")
           .bytes,
       ErrorKind::kUnsupported, "9 bytes"},
      {"long text", P{}.op("X\xff\xff\xff\xff").bytes, ErrorKind::kFormat, "truncated"},
      {"a number", P{}.op("K\x01.").bytes, ErrorKind::kUnsupported, "no dictionary"},
      {"no tensors", P{}.op("}.").bytes, ErrorKind::kUnsupported, "no tensors"},
      {"own wrapping", P{}.op("}q\x01").text("model").op("h\x01s.").bytes, ErrorKind::kFormat, "or in itself"},
      {"persistent number", P{}.op("K\x01Q").bytes, ErrorKind::kFormat, "persistent id"},
      {"other persistent id", P{}.op("(").text("module").op("NNNNtQ").bytes, ErrorKind::kFormat, "is no storage"},
      {"storage past entry", tensor_pickle(7, 0, {7}, {1}), ErrorKind::kFormat, "should hold 7 elements"},
      {"tensor past storage", tensor_pickle(6, 0, {7}, {1}), ErrorKind::kFormat, "'a' reaches past the 6"},
      {"offset past storage", tensor_pickle(6, 6, {1}, {1}), ErrorKind::kFormat, "reaches past"},
      {"strides past storage", two_tensors(), ErrorKind::kFormat, "'b' reaches past"},
      {"negative shape", tensor_pickle(6, 0, {-1}, {1}), ErrorKind::kFormat, "shape"},
      {"negative offset", tensor_pickle(6, -1, {1}, {1}), ErrorKind::kFormat, "offset"},
      {"negative stride", tensor_pickle(6, 5, {2}, {-1}), ErrorKind::kFormat, "strides"},
      {"strides missing", tensor_pickle(6, 0, {2, 3}, {1}), ErrorKind::kFormat, "as many strides"},
      {"nine dimensions", tensor_pickle(6, 0, std::vector<int32_t>(9, 1), std::vector<int32_t>(9, 1)),
       ErrorKind::kFormat, "at most 8"},
      {"overflow", tensor_pickle(6, 0, std::vector<int32_t>(4, 1 << 30), std::vector<int32_t>(4, 1 << 30)),
       ErrorKind::kFormat, "overflows"},
      {"expanded", tensor_pickle(6, 0, {1 << 30}, {0}), ErrorKind::kUnsupported, "repeats elements"},
      {"missing storage", tensor_pickle(6, 0, {6}, {1}, "1"), ErrorKind::kFormat, "'1' is not in the file"},
      {"many copies", many_copies, ErrorKind::kLimit, "far more memory"},
      {"two of one name",
       [] {
         P items;
         for (int i = 0; i < 2; ++i) items.text("a").tensor("0", 6, 0, {6}, {1});
         return state_dict(items);
       }(),
       ErrorKind::kFormat, "two tensors 'a'"},
  };
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.name);
    const Input input(make_zip(archive(lie.pickle)));
    const std::string message = message_of(lie.kind, [&] { parse_torch_checkpoint(input.bytes); });
    EXPECT_NE(message.find(lie.message), std::string::npos) << message;
  }
}

TEST(TorchCheckpoint, RefusesArchivesThatLie) {
  struct {
    const char* name;
    ZipLies lies;
    ErrorKind kind;
    const char* message;
  } const cases[] = {
      {"encrypted", {.flags = 1}, ErrorKind::kUnsupported, "encrypted"},
      {"method", {.method = 12}, ErrorKind::kUnsupported, "method 12"},
      {"stored size", {.size_error = 1}, ErrorKind::kFormat, "is stored, yet"},
      {"content past the directory", {.size_error = 1 << 20, .packed_error = 1 << 20}, ErrorKind::kFormat, "content"},
      {"overlap", {.size_error = 80, .packed_error = 80, .first_honest = 1}, ErrorKind::kFormat, "overlap"},
      {"offset", {.offset_error = 4}, ErrorKind::kFormat, "does not begin at byte"},
      {"offset past the end", {.offset_error = 1 << 30}, ErrorKind::kFormat, "an entry at byte"},
      {"zip64 offset", {.zip64 = true, .offset_error = -(int64_t{1} << 40)}, ErrorKind::kFormat, "an entry at byte"},
      {"count", {.count_error = 60000}, ErrorKind::kFormat, "60004 entries"},
      {"one entry too few", {.count_error = -1}, ErrorKind::kFormat, "directory has"},
      {"zip64 count", {.zip64 = true, .count_error = int64_t{1} << 60}, ErrorKind::kFormat, "entries at offset"},
      {"directory offset", {.directory_error = 1}, ErrorKind::kFormat, "does not begin as one"},
      {"zip64 directory", {.zip64 = true, .directory_error = int64_t{1} << 60}, ErrorKind::kFormat, "the directory at"},
      {"names differ", {.local_name = "m/data.pkx"}, ErrorKind::kFormat, "another name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Input input(make_zip(archive(good_pickle()), c.lies));
    const std::string message = message_of(c.kind, [&] { parse_torch_checkpoint(input.bytes); });
    EXPECT_NE(message.find(c.message), std::string::npos) << message;
  }
}

TEST(TorchCheckpoint, RefusesOtherArchivesAndBombs) {
  const auto message = [](ErrorKind kind, const std::string& zip) {
    return message_of(kind, [&] { parse_torch_checkpoint(Input(zip).bytes); });
  };
  EXPECT_NE(message(ErrorKind::kFormat, make_zip({{"word/document.xml", "x"}})).find("no data.pkl"), std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, make_zip({{"a/data.pkl", "x"}, {"b/data.pkl", "x"}})).find("several data.pkl"),
            std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, make_zip({{"data.pkl", "x"}, {"data.pkl", "x"}})).find("two entries"),
            std::string::npos);
  std::vector<ZipFile> big_endian = archive(good_pickle());
  big_endian[1].content = "big";
  EXPECT_NE(message(ErrorKind::kUnsupported, make_zip(big_endian)).find("big-endian"), std::string::npos);
  const ZipFile deflated{"data.pkl", good_pickle(), true};
  EXPECT_NE(message(ErrorKind::kFormat, make_zip({deflated}, {.size_error = 1 << 30})).find("deflate cannot"),
            std::string::npos);
  for (int64_t error : {-1, 1})
    EXPECT_NE(message(ErrorKind::kFormat, make_zip({deflated}, {.size_error = error})).find("does not unpack"),
              std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, "PK, but no more").find("no end record"), std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, "").find("not a torch checkpoint"), std::string::npos);
}

TEST(TorchCheckpoint, RefusesLegacyFilesThatLie) {
  const auto message = [](ErrorKind kind, const std::string& text) {
    return message_of(kind, [&] { parse_torch_checkpoint(Input(text).bytes); });
  };
  const std::string pickle = good_pickle();
  EXPECT_NE(message(ErrorKind::kFormat, legacy(pickle, 7)).find("truncated"), std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, legacy(pickle, UINT64_MAX / 2)).find("impossible size"), std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, legacy(pickle, 5)).find("should hold 6 elements"), std::string::npos);
  EXPECT_NE(message(ErrorKind::kFormat, legacy(pickle, 6, "9")).find("which no tensor uses"), std::string::npos);
  std::string big_endian = legacy(pickle);
  big_endian[big_endian.find("\x88s.")] = '\x89';
  EXPECT_NE(message(ErrorKind::kUnsupported, big_endian).find("big-endian"), std::string::npos);
}

void expect_same(const TorchCheckpoint& checkpoint, const std::vector<Tensor>& reference, std::string_view prefix) {
  std::map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : checkpoint.tensors) by_name[std::string(prefix) + tensor.name] = &tensor;
  size_t n_compared = 0;
  for (const Tensor& want : reference) {
    const auto it = by_name.find(want.name);
    if (it == by_name.end()) {
      EXPECT_EQ(want.name, "lm_head.weight");
      continue;
    }
    EXPECT_EQ(it->second->dtype, want.dtype) << want.name;
    EXPECT_EQ(it->second->shape, want.shape) << want.name;
    EXPECT_TRUE(as_text(it->second->data) == as_text(want.data)) << want.name;
    ++n_compared;
  }
  EXPECT_GT(n_compared, 10u);
}

TEST(TorchCheckpoint, SharedCheckpointsAgreeBitwiseWithTheirSafetensors) {
  const auto shared = shared_path("golden/models");
  if (!shared) GTEST_SKIP() << "golden/models is not here: no real checkpoints were read";
  size_t n_read = 0;
  for (const auto& entry : fs::directory_iterator(*shared)) {
    if (!fs::exists(entry.path() / "pytorch_model.bin")) continue;
    SCOPED_TRACE(entry.path().string());
    const MappedFile bin(entry.path() / "pytorch_model.bin"), safe(entry.path() / "model.safetensors");
    expect_same(parse_torch_checkpoint(bin.bytes()), parse_safetensors(safe.bytes()), "");
    ++n_read;
  }
  EXPECT_GE(n_read, 3u);
  const MappedFile safe(*shared / "opt/model.safetensors");
  const std::pair<const char*, const char*> variants[] = {{"pytorch_model_decoder_prefix.bin", "model."},
                                                          {"pytorch_model_legacy_nonzip.bin", ""}};
  for (const auto& [name, prefix] : variants) {
    SCOPED_TRACE(name);
    const MappedFile bin(shared->parent_path() / "opt_bin_variants" / name);
    expect_same(parse_torch_checkpoint(bin.bytes()), parse_safetensors(safe.bytes()), prefix);
  }
}

}  // namespace
}  // namespace hunch
