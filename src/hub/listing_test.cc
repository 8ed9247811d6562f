#include "hub/listing.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/choice.h"
#include "hub/http.h"
#include "hub/id.h"
#include "hub/url.h"

namespace hunch {
namespace {

const std::string kOid(40, '1'), kSha(64, '2');

HubFile file(std::string path, uint64_t size = 1) { return {std::move(path), size, HubDigest::kGitBlob, kOid}; }

std::vector<HubFile> listing(std::initializer_list<const char*> paths) {
  std::vector<HubFile> files;
  for (const char* path : paths) files.push_back(file(path));
  return files;
}

std::vector<std::string> chosen(const std::vector<HubFile>& files, std::string_view selector = "") {
  std::vector<std::string> paths;
  for (const HubFile& f : choose_hub_files(files, selector, "org/m").files) paths.push_back(f.path);
  return paths;
}

// The message of the Error that `body` throws, which must be of `kind`.
template <class Body>
std::string message_of(ErrorKind kind, Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(name_of(error.kind()), std::string(name_of(kind))) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing thrown";
  return "";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST(HubId, TakesIdsApart) {
  const HubId id = parse_hub_id("org/na.me-7B@refs/pr/1:sub/m-Q4_0.gguf");
  EXPECT_EQ(id.repo, "org/na.me-7B");
  EXPECT_EQ(id.revision, "refs/pr/1");
  EXPECT_EQ(id.selector, "sub/m-Q4_0.gguf");
  EXPECT_EQ(parse_hub_id("org/m:Q4_0").selector, "Q4_0");
  EXPECT_EQ(parse_hub_id("org/m:Q4_0").revision, "");
  EXPECT_EQ(parse_hub_id("gpt2").repo, "gpt2");
}

TEST(HubId, RefusesWhatIsNone) {
  for (const char* bad : {"", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a--b/c", "-a/b", "a/b.", "a b/c", "a/b@",
                          "a/b:", "a/b@../x", "a/b:../x", "a/b:/etc/passwd", "a/b:x\\y", "a/b@x/", "./models/x"}) {
    EXPECT_THROW(parse_hub_id(bad), Error) << bad;
  }
  EXPECT_THROW(parse_hub_id("a/" + std::string(95, 'b')), Error);
}

TEST(HubId, LooksLike) {
  for (const char* yes : {"facebook/opt-1.3b", "a/b@main", "a/b:Q4_0", "a/b@v1:x/y.gguf"})
    EXPECT_TRUE(looks_like_hub_id(yes)) << yes;
  for (const char* no :
       {"gpt2", "model.gguf", "dir/model.gguf", "dir/model.bin", "./a/b", "/a/b", "a/b/c", "a/b:", ""}) {
    EXPECT_FALSE(looks_like_hub_id(no)) << no;
  }
}

TEST(HubListing, SafePaths) {
  for (const char* yes : {"a", "a/b.c", "..a/b..", "a b", "\xc3\xa4"}) EXPECT_TRUE(is_safe_relative_path(yes)) << yes;
  for (const char* no :
       {"", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "a/./b", "a\\b", "a\nb", "a\x7f"}) {
    EXPECT_FALSE(is_safe_relative_path(no)) << no;
  }
  EXPECT_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_relative_path(std::string(256, 'x')));
}

TEST(HubListing, ReadsSmallAndLargeFilesAndSkipsFolders) {
  const auto files = parse_hub_tree(R"([{"type":"directory","oid":"x","size":0,"path":"onnx"},
    {"type":"file","oid":")" + kOid +
                                    R"(","size":7,"path":"config.json"},
    {"type":"file","oid":")" + kOid +
                                    R"(","size":130,"path":"a/m.bin","lfs":{"oid":")" + kSha +
                                    R"(","size":9000000000,"pointerSize":130}}])");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].digest_kind, HubDigest::kGitBlob);
  EXPECT_EQ(files[0].size, 7u);
  EXPECT_EQ(files[1].digest_kind, HubDigest::kSha256);
  EXPECT_EQ(files[1].digest, kSha);
  EXPECT_EQ(files[1].size, 9000000000u);
  const auto again = parse_hub_files(dump_hub_files(files));
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[1].path, "a/m.bin");
  EXPECT_EQ(again[1].digest, kSha);
  EXPECT_EQ(again[1].size, 9000000000u);
  EXPECT_EQ(again[1].digest_kind, HubDigest::kSha256);
}

TEST(HubListing, RefusesLyingListings) {
  const auto tree_of = [](const std::string& entry) { return [=] { parse_hub_tree("[" + entry + "]"); }; };
  const std::string oid = "\"oid\":\"" + kOid + "\"";
  for (const char* path : {"../x", "/x", "a/../../x", "a\\\\x", "", "a\\u0000b"}) {
    const std::string text =
        message_of(ErrorKind::kFormat, tree_of("{\"type\":\"file\"," + oid + ",\"size\":1,\"path\":\"" + path + "\"}"));
    EXPECT_TRUE(has(text, "refused")) << text;
  }
  for (const char* size : {"-1", "1.5", "\"1\"", "null", "1e30"}) {
    message_of(ErrorKind::kFormat, tree_of("{\"type\":\"file\"," + oid + ",\"path\":\"x\",\"size\":" + size + "}"));
  }
  message_of(ErrorKind::kFormat, tree_of(R"({"type":"file","path":"x","size":1})"));
  message_of(ErrorKind::kFormat, tree_of(R"({"type":"file","path":"x","size":1,"oid":"zz"})"));
  message_of(ErrorKind::kFormat, tree_of("7"));
  for (const char* text : {"", "{}", "<html>", "[", "[{]"})
    message_of(ErrorKind::kFormat, [&] { parse_hub_tree(text); });
  EXPECT_TRUE(has(message_of(ErrorKind::kFormat, [] { check_hub_files(listing({"a", "b", "a"})); }), "twice"));
  EXPECT_TRUE(has(message_of(ErrorKind::kFormat, [] { check_hub_files(listing({"a", "a/b"})); }), "folder"));
}

TEST(HubListing, CommitsShardsAndLinks) {
  EXPECT_EQ(parse_hub_commit("{\"sha\":\"" + kOid + "\"}"), kOid);
  for (const char* bad : {"{}", "[]", "null", "{\"sha\":\"../../x\"}", "{\"sha\":1}"})
    EXPECT_THROW(parse_hub_commit(bad), Error) << bad;
  EXPECT_EQ(parse_shard_names(R"({"weight_map":{"x":"b","y":"a","z":"b"}})"), (std::vector<std::string>{"a", "b"}));
  for (const char* bad :
       {"{}", R"({"weight_map":{}})", R"({"weight_map":{"x":1}})", R"({"weight_map":{"x":"../a"}})", "[]", "x"}) {
    EXPECT_THROW(parse_shard_names(bad), Error) << bad;
  }
  EXPECT_EQ(next_link("<https://h/a?c=1>; rel=\"next\""), "https://h/a?c=1");
  EXPECT_EQ(next_link("<https://h/1>; rel=\"prev\", <https://h/2>; rel=\"next\""), "https://h/2");
  for (const char* none : {"", "<x", "<x>; rel=\"last\"", ">x<"}) EXPECT_EQ(next_link(none), "") << none;
}

TEST(HubChoice, PrefersSafetensorsAndTakesNothingTwice) {
  const auto files = listing({"README.md", "config.json", "consolidated.00.pth", "flax_model.msgpack", "merges.txt",
                              "model.safetensors", "onnx/model.onnx", "original/params.json", "pytorch_model.bin",
                              "tf_model.h5", "tokenizer.json", "vocab.json"});
  EXPECT_EQ(chosen(files), (std::vector<std::string>{"config.json", "tokenizer.json", "vocab.json", "merges.txt",
                                                     "model.safetensors"}));
  EXPECT_EQ(chosen(listing({"config.json", "pytorch_model.bin", "vocab.json"})),
            (std::vector<std::string>{"config.json", "vocab.json", "pytorch_model.bin"}));
}

TEST(HubChoice, AddsTheShardsThatTheIndexNames) {
  const auto files = listing({"config.json", "model-1.safetensors", "model-2.safetensors", "model-3.safetensors",
                              "model.safetensors.index.json", "pytorch_model.bin.index.json"});
  HubChoice choice = choose_hub_files(files, "", "org/m");
  EXPECT_EQ(choice.index_file, "model.safetensors.index.json");
  add_shards(choice, files, R"({"weight_map":{"x":"model-2.safetensors","y":"model-1.safetensors"}})");
  EXPECT_EQ(choice.index_file, "");
  ASSERT_EQ(choice.files.size(), 4u);
  EXPECT_EQ(choice.files[3].path, "model-2.safetensors");
  choice = choose_hub_files(files, "", "org/m");
  EXPECT_TRUE(has(message_of(ErrorKind::kFormat, [&] { add_shards(choice, files, R"({"weight_map":{"x":"gone"}})"); }),
                  "gone"));
}

TEST(HubChoice, FindsQuantisationsByWord) {
  const auto files = listing({"config.json", "m-BF16.gguf", "m-F16.gguf", "m-IQ4_0.gguf", "m-Q4_0.gguf",
                              "m-Q4_0-4-4.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "mmproj-m-F16.gguf"});
  const auto only = [](const char* name) { return std::vector<std::string>{name}; };
  EXPECT_EQ(chosen(files, "Q4_0"), only("m-Q4_0.gguf"));
  EXPECT_EQ(chosen(files, "q4_k_m"), only("m-Q4_K_M.gguf"));
  EXPECT_EQ(chosen(files, "F16"), only("m-F16.gguf"));
  EXPECT_EQ(chosen(files, "m-Q4_0-4-4.gguf"), only("m-Q4_0-4-4.gguf"));
  EXPECT_EQ(chosen(files, "config.json"), only("config.json"));
  const std::string none = message_of(ErrorKind::kNotFound, [&] { chosen(files, "Q4_K"); });
  EXPECT_TRUE(has(none, "Q4_K'") && has(none, "m-Q4_K_M.gguf") && !has(none, "mmproj")) << none;
  const std::string unsaid = message_of(ErrorKind::kNotFound, [&] { chosen(files); });
  EXPECT_TRUE(has(unsaid, "choose one") && has(unsaid, "m-Q4_0.gguf")) << unsaid;
  EXPECT_EQ(chosen(listing({"x.Q8_0.gguf", "README.md"})), only("x.Q8_0.gguf"));
  EXPECT_TRUE(has(message_of(ErrorKind::kNotFound,
                             [&] {
                               chosen(listing({"a/x-Q8_0.gguf", "b/x-Q8_0.gguf"}), "Q8_0");
                             }),
                  "more than one"));
}

TEST(HubChoice, TakesAllShardsOfAGguf) {
  const auto files = listing({"q/m-Q8_0-00002-of-00002.gguf", "q/m-Q8_0-00001-of-00002.gguf", "m-Q4_0.gguf"});
  const std::vector<std::string> both = {"q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf"};
  EXPECT_EQ(chosen(files, "q8_0"), both);
  EXPECT_EQ(chosen(files, "q/m-Q8_0-00002-of-00002.gguf"), both);
  EXPECT_EQ(choose_hub_files(files, "q8_0", "org/m").main_file, both[0]);
}

TEST(HubChoice, SaysWhatIsMissing) {
  EXPECT_TRUE(has(message_of(ErrorKind::kUnsupported, [] { chosen(listing({"README.md"})); }), "README.md"));
  EXPECT_TRUE(has(message_of(ErrorKind::kUnsupported,
                             [] {
                               chosen(listing({"config.json", "tf_model.h5"}));
                             }),
                  "tf_model.h5"));
  EXPECT_TRUE(has(message_of(ErrorKind::kNotFound,
                             [] {
                               chosen(listing({"config.json", "model.safetensors"}), "Q4_0");
                             }),
                  "Q4_0"));
}

TEST(Http, Origins) {
  EXPECT_TRUE(same_origin("https://a/x", "https://A:443/y?z"));
  EXPECT_FALSE(same_origin("https://a/x", "http://a/x"));
  EXPECT_FALSE(same_origin("https://a/x", "https://a.b/x"));
  EXPECT_FALSE(same_origin("http://a:1/x", "http://a:2/x"));
  EXPECT_FALSE(same_origin("http://a/x", ""));
  EXPECT_EQ(resolve_url("http://h:1/a/b?c", "/d"), "http://h:1/d");
  EXPECT_EQ(resolve_url("http://h/a", "https://i/b"), "https://i/b");
  EXPECT_THROW(resolve_url("http://h/a", "file:///etc/passwd"), Error);
  EXPECT_THROW(resolve_url("nonsense", "nonsense"), Error);
  EXPECT_EQ(url_escape("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(url_escape("a b/\xc3\xa4.x", true), "a%20b/%C3%A4.x");
}

}  // namespace
}  // namespace hunch
