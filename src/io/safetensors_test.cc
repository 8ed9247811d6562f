#include "io/safetensors.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

std::string file_of(std::string_view header, size_t n_data) {
  std::string data(n_data, '\0');
  for (size_t i = 0; i < n_data; ++i) data[i] = char('a' + i % 26);
  return ByteBuilder{}.str(header).raw(data).bytes;
}

std::vector<Tensor> parse(const std::string& bytes) { return parse_safetensors(as_byte_span(bytes)); }

constexpr const char* kGood =
    R"({"__metadata__":{"format":"pt"},
        "b":{"dtype":"F16","shape":[2],"data_offsets":[24,28]},
        "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "none":{"dtype":"F32","shape":[0,4],"data_offsets":[28,28]},
        "scalar":{"dtype":"I64","shape":[],"data_offsets":[28,36]},
        "flag":{"dtype":"BOOL","shape":[1],"data_offsets":[36,37]}}   )";

TEST(Safetensors, ReadsTensorsAsViewsInFileOrder) {
  const std::string bytes = file_of(kGood, 37);
  const auto tensors = parse(bytes);
  ASSERT_EQ(tensors.size(), 5u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].dtype, DType::kF16);
  EXPECT_EQ(as_text(tensors[1].data), "yzab");
  EXPECT_EQ(tensors[2].data.size(), 0u);
  EXPECT_EQ(tensors[3].dtype, DType::kI64);
  EXPECT_TRUE(tensors[3].shape.empty());
  EXPECT_EQ(tensors[4].dtype, DType::kI8);
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string bytes = file_of(kGood, 37);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW(parse(bytes.substr(0, n)), Error) << n;
  EXPECT_TRUE(parse(file_of("{}", 0)).empty());
}

TEST(Safetensors, RefusesLiesByName) {
  struct {
    const char* header;
    ErrorKind kind;
    const char* message;
  } const lies[] = {
      {"", ErrorKind::kFormat, "not valid JSON"},
      {"[1]", ErrorKind::kFormat, "not a JSON object"},
      {"{\"\xff\":1}", ErrorKind::kFormat, "not valid JSON"},
      {R"({"a":[[[[[[1]]]]]]})", ErrorKind::kFormat, "nested too deeply"},
      {R"({"a":7})", ErrorKind::kFormat, "'a' is not described by a JSON object"},
      {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", ErrorKind::kFormat, "has no 'dtype'"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", ErrorKind::kFormat, "has no 'shape'"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", ErrorKind::kFormat, "has no 'data_offsets'"},
      {R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", ErrorKind::kFormat, "dtype is not a string"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", ErrorKind::kUnsupported, "F8_E4M3"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", ErrorKind::kFormat, "shape is not an array"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", ErrorKind::kFormat, "at most 8"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", ErrorKind::kFormat, "a dimension is -2"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", ErrorKind::kFormat, "a dimension is 2.0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", ErrorKind::kFormat, "[begin, end]"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,"8"]}})", ErrorKind::kFormat, "data_offsets is"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", ErrorKind::kFormat, "need 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", ErrorKind::kFormat, "need 12 bytes"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", ErrorKind::kFormat,
       "overflows"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", ErrorKind::kFormat, "ends at byte 16"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551616]}})",
       ErrorKind::kFormat, "data_offsets is"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       ErrorKind::kFormat, "'b' overlaps"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", ErrorKind::kFormat, "4 bytes before tensor 'a'"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", ErrorKind::kFormat, "4 bytes at the end"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       ErrorKind::kFormat, "names 'a' twice"},
  };
  for (const auto& lie : lies) {
    SCOPED_TRACE(lie.header);
    const std::string message = message_of(lie.kind, [&] { parse(file_of(lie.header, 8)); });
    EXPECT_NE(message.find(lie.message), std::string::npos) << message;
  }
}

TEST(Safetensors, RefusesAHeaderLargerThanTheFileOrTheLimit) {
  message_of(ErrorKind::kFormat, [] { parse(ByteBuilder{}.u64(UINT64_MAX).bytes); });
  message_of(ErrorKind::kFormat, [] { parse(ByteBuilder{}.u64(3).raw("{}").bytes); });
}

TEST(Safetensors, EverySharedCheckpointParses) {
  const auto shared = shared_path("golden/models");
  if (!shared) GTEST_SKIP() << "golden/models is not here: no real checkpoints were read";
  size_t n_read = 0;
  for (const auto& entry : fs::recursive_directory_iterator(*shared)) {
    if (entry.path().extension() != ".safetensors") continue;
    SCOPED_TRACE(entry.path().string());
    const MappedFile file(entry.path());
    EXPECT_GT(parse_safetensors(file.bytes()).size(), 5u);
    ++n_read;
  }
  EXPECT_GE(n_read, 46u);
}

}  // namespace
}  // namespace hunch
