#include "io/hf_folder.h"

#include <gtest/gtest.h>

#include <map>

#include "base/test_paths.h"
#include "io/test_errors.h"
#include "io/test_torch.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// A safetensors file of F32 tensors of one element each; `pad` spaces shift the data.
std::string shard(const std::vector<std::pair<std::string, float>>& tensors, size_t pad = 0) {
  std::string header = "{";
  ByteBuilder data;
  for (const auto& [name, value] : tensors) {
    const size_t begin = data.bytes.size();
    data.f32(value);
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}})", begin ? "," : "", name,
                          begin, begin + 4);
  }
  return ByteBuilder{}.str(header + "}" + std::string(pad, ' ')).raw(data.bytes).bytes;
}

std::map<std::string, float> values_of(const HfFolder& folder) {
  std::map<std::string, float> values;
  for (const Tensor& tensor : folder.tensors) values[tensor.name] = *reinterpret_cast<const float*>(tensor.data.data());
  return values;
}

using Values = std::map<std::string, float>;

class HfFolderTest : public ::testing::Test {
 protected:
  TempDir dir_{"hf_folder"};
  void SetUp() override { dir_.write("config.json", R"({"model_type":"opt"})"); }
  std::string refusal(ErrorKind kind) {
    return message_of(kind, [&] { open_hf_folder(dir_.path); });
  }
  void write_index(const std::string& weight_map) {
    dir_.write("model.safetensors.index.json", R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
  }
};

TEST_F(HfFolderTest, ReadsConfigAndASingleFileAtAnyAlignment) {
  EXPECT_TRUE(is_hf_folder(dir_.path));
  EXPECT_FALSE(is_hf_folder(dir_.path / "config.json"));
  for (size_t pad = 0; pad < 8; ++pad) {
    dir_.write("model.safetensors", shard({{"a", 1}, {"b", 2}}, pad));
    const HfFolder folder = open_hf_folder(dir_.path);
    EXPECT_EQ(folder.config_json, R"({"model_type":"opt"})");
    EXPECT_EQ(values_of(folder), (Values{{"a", 1}, {"b", 2}}));
  }
}

TEST_F(HfFolderTest, SafetensorsArePreferredOverBin) {
  PickleBuilder pickle;
  pickle.op("}").text("a").tensor("0", 1, 0, {1}, {1}).op("s.");
  dir_.write("pytorch_model.bin", make_zip({{"m/data.pkl", pickle.bytes}, {"m/data/0", ByteBuilder{}.f32(7).bytes}}));
  EXPECT_EQ(values_of(open_hf_folder(dir_.path)), (Values{{"a", 7}}));
  dir_.write("shard.safetensors", shard({{"a", 2}}));
  write_index(R"({"a":"shard.safetensors"})");
  EXPECT_EQ(values_of(open_hf_folder(dir_.path)), (Values{{"a", 2}}));
  dir_.write("model.safetensors", shard({{"a", 1}}));
  EXPECT_EQ(values_of(open_hf_folder(dir_.path)), (Values{{"a", 1}}));
}

TEST_F(HfFolderTest, ShardsAreJoinedAsTheIndexSays) {
  dir_.write("1.safetensors", shard({{"a", 1}, {"b", 99}, {"unlisted", 3}}));
  dir_.write("2.safetensors", shard({{"b", 2}}));
  write_index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_EQ(values_of(open_hf_folder(dir_.path)), (Values{{"a", 1}, {"b", 2}, {"unlisted", 3}}));
}

TEST_F(HfFolderTest, RefusesShardsOutsideTheFolder) {
  for (const char* name : {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "", "a\\\\b.safetensors",
                           "x\\u0000.safetensors"}) {
    SCOPED_TRACE(name);
    write_index(fmt::format(R"({{"a":"{}"}})", name));
    EXPECT_NE(refusal(ErrorKind::kFormat).find("not a plain file name"), std::string::npos);
  }
  write_index(R"({"a":"config.json"})");
  EXPECT_NE(refusal(ErrorKind::kFormat).find("neither .safetensors nor .bin"), std::string::npos);
}

TEST_F(HfFolderTest, NamesWhatIsMissingOrDamaged) {
  EXPECT_NE(refusal(ErrorKind::kNotFound).find("has no weights"), std::string::npos);
  write_index(R"({"a":"1.safetensors","b":"1.safetensors"})");
  EXPECT_NE(refusal(ErrorKind::kNotFound).find("1.safetensors"), std::string::npos);
  dir_.write("1.safetensors", shard({{"a", 1}}));
  EXPECT_NE(refusal(ErrorKind::kFormat).find("no tensor 'b'"), std::string::npos);
  dir_.write("1.safetensors", "short");
  EXPECT_NE(refusal(ErrorKind::kFormat).find("1.safetensors': the safetensors file is truncated"), std::string::npos);
  for (const char* map : {"7", "{}", R"({"a":7})", "{"}) {
    write_index(map);
    EXPECT_NE(refusal(ErrorKind::kFormat).find("index.json"), std::string::npos) << map;
  }
  fs::remove(dir_.path / "config.json");
  EXPECT_NE(refusal(ErrorKind::kNotFound).find("config.json"), std::string::npos);
}

TEST(HfFolder, EverySharedFolderOpensAndShardsEqualTheSingleFile) {
  const auto shared = shared_path("golden/models");
  if (!shared) GTEST_SKIP() << "golden/models is not here: no real folders were opened";
  size_t n_opened = 0;
  for (const auto& entry : fs::directory_iterator(*shared)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().string());
    EXPECT_GT(open_hf_folder(entry.path()).tensors.size(), 5u);
    ++n_opened;
  }
  EXPECT_GE(n_opened, 46u);
  const HfFolder single = open_hf_folder(*shared / "llama");
  const HfFolder sharded = open_hf_folder(*shared / "llama_sharded");
  std::map<std::string, std::string> left, right;
  for (const Tensor& tensor : single.tensors) left[tensor.name] = as_text(tensor.data);
  for (const Tensor& tensor : sharded.tensors) right[tensor.name] = as_text(tensor.data);
  EXPECT_TRUE(left == right);
}

}  // namespace
}  // namespace hunch
