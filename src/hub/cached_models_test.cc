// A cache of made-up models: what is listed of it, and what a removal takes and leaves. No network, no hub.
#include "hub/cached_models.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "hub/removal.h"

namespace hunch {
namespace {

namespace fs = std::filesystem;

const std::string kOne(40, '1'), kTwo(40, '2');

class Cache : public testing::Test {
 protected:
  void SetUp() override {
    home_ = fs::path(testing::TempDir()) / ("hunch_cache_" + std::to_string(getpid()) + "_" +
                                            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(home_);
    fs::create_directories(home_);
  }
  void TearDown() override { fs::remove_all(home_); }

  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  // A commit of which the hub lists `files`, all of them here but those in `missing`.
  void add(const std::string& repo, const std::string& commit, const std::map<std::string, std::string>& files,
           const std::set<std::string>& missing = {}, const std::string& ref = "main") {
    const HubCache cache(home_, repo);
    std::vector<HubFile> listing;
    for (const auto& [path, text] : files) {
      listing.push_back({path, text.size(), HubDigest::kGitBlob, std::string(40, 'd')});
      if (!missing.contains(path)) write(cache.snapshot(commit) / path, text);
    }
    fs::create_directories(cache.snapshot(commit));
    cache.write_listing(commit, listing);
    if (!ref.empty()) cache.write_ref(ref, commit);
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> out;
    for (const CachedModel& model : cached_models(home_).models) out.push_back(model.id);
    return out;
  }
  void remove(const std::string& id) { remove_from_cache(plan_removal(home_, id)); }
  std::string refusal(ErrorKind kind, const std::string& id) {
    try {
      remove(id);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      return e.what();
    }
    ADD_FAILURE() << "nothing thrown for " << id;
    return "";
  }
  fs::path folder(const std::string& name) const { return home_ / "models" / name; }

  fs::path home_;
};

using Strings = std::vector<std::string>;

TEST_F(Cache, NoFolderIsAnEmptyCache) {
  EXPECT_TRUE(cached_models(home_).models.empty());
  write(home_ / "models/a--b", "a file");
  write(home_ / "models/-odd-/x", "no repository");
  EXPECT_TRUE(cached_models(home_).models.empty());
}

TEST_F(Cache, ListsFoldersAndEachGguf) {
  add("org/folder", kOne,
      {{"config.json", "{\"torch_dtype\":\"bfloat16\"}"}, {"model.safetensors", "12345"}, {"x.onnx", "not ours"}},
      {"x.onnx"});
  add("org/one-gguf", kOne, {{"m-Q8_0.gguf", "1234567"}, {"README.md", "x"}}, {"README.md"});
  add("org/many", kOne,
      {{"m-q4_k_m-00001-of-00002.gguf", "abc"}, {"m-q4_k_m-00002-of-00002.gguf", "de"}, {"m-f16.gguf", "no"}},
      {"m-f16.gguf"});
  const CacheContent content = cached_models(home_);
  ASSERT_EQ(ids(), (Strings{"org/folder", "org/many:m-q4_k_m-00001-of-00002.gguf", "org/one-gguf"}));
  EXPECT_EQ(content.models[0].type, "bfloat16");
  EXPECT_EQ(content.models[0].path, folder("org--folder") / kOne);
  EXPECT_EQ(content.models[1].type, "q4_k_m");
  EXPECT_EQ(content.models[1].bytes, 5u);
  EXPECT_EQ(content.models[2].type, "Q8_0");
  EXPECT_EQ(content.models[2].path, folder("org--one-gguf") / kOne / "m-Q8_0.gguf");
}

TEST_F(Cache, NamesTheShortNameAndTheRevision) {
  add("Qwen/Qwen3-0.6B-GGUF", kOne, {{"Qwen3-0.6B-Q8_0.gguf", "new"}});
  add("Qwen/Qwen3-0.6B-GGUF", kTwo, {{"Qwen3-0.6B-Q8_0.gguf", "old"}}, {}, "");
  add("facebook/opt-125m", kOne, {{"config.json", "{}"}, {"pytorch_model.bin", "w"}}, {}, "v1");
  EXPECT_EQ(ids(), (Strings{"Qwen/Qwen3-0.6B-GGUF", "Qwen/Qwen3-0.6B-GGUF@" + kTwo, "facebook/opt-125m@v1"}));
  EXPECT_EQ(cached_models(home_).models[0].short_name, "qwen3:0.6b");
  EXPECT_EQ(cached_models(home_).models[1].short_name, "");
}

TEST_F(Cache, WhatIsNotCompleteIsNoModelButTakesRoom) {
  add("org/m", kOne, {{"config.json", "{}"}, {"model.safetensors", "12345"}}, {"model.safetensors"});
  write(folder("org--m") / "parts" / kOne / "model.safetensors.part", "123");
  write(folder("org--m") / (kOne + ".new") / "tokenizer.json", "{}");
  const CacheContent content = cached_models(home_);
  for (const CachedModel& model : content.models) EXPECT_NE(model.id, "org/m");
  EXPECT_EQ(content.unfinished_bytes, 5u);
}

TEST_F(Cache, UseIsNoted) {
  add("org/m", kOne, {{"config.json", "{}"}, {"model.safetensors", "weights"}});
  const fs::path path = cached_models(home_).models.at(0).path;
  const timespec old[2] = {{1000, 0}, {1000, 0}};
  utimensat(AT_FDCWD, (path / "model.safetensors").c_str(), old, 0);
  EXPECT_EQ(cached_models(home_).models.at(0).used_s, 1000);
  EXPECT_EQ(cached_models(home_).models.at(0).used_s, 1000) << "looking is not using";
  mark_used(path);
  EXPECT_GT(cached_models(home_).models.at(0).used_s, 1600000000);
  mark_used(home_ / "nowhere");  // nothing happens
}

TEST_F(Cache, RemovesARepositoryAndNothingElse) {
  add("org/m", kOne, {{"config.json", "{}"}, {"model.safetensors", "w"}});
  add("org/other", kOne, {{"config.json", "{}"}, {"model.safetensors", "w"}});
  write(folder("org--m") / (kOne + ".hunch"), "a sidecar");
  const Removal removal = plan_removal(home_, "org/m");
  EXPECT_EQ(removal.what, (Strings{"org/m", kOne + ".hunch"}));
  EXPECT_GE(removal.bytes, 12u);
  EXPECT_TRUE(fs::exists(folder("org--m"))) << "planning removes nothing";
  remove_from_cache(removal);
  EXPECT_FALSE(fs::exists(folder("org--m")));
  EXPECT_EQ(ids(), Strings{"org/other"});
}

TEST_F(Cache, RemovesOneGgufWithItsShardsAndItsSidecar) {
  add("org/m", kOne, {{"m-q8_0-00001-of-00002.gguf", "a"}, {"m-q8_0-00002-of-00002.gguf", "b"}, {"m-f16.gguf", "c"}});
  const fs::path snapshot = folder("org--m") / kOne;
  write(snapshot / "m-q8_0-00001-of-00002.gguf.hunch", "a sidecar");
  remove("org/m:q8_0");
  EXPECT_EQ(ids(), Strings{"org/m:m-f16.gguf"});
  EXPECT_FALSE(fs::exists(snapshot / "m-q8_0-00002-of-00002.gguf"));
  EXPECT_FALSE(fs::exists(snapshot / "m-q8_0-00001-of-00002.gguf.hunch"));
  remove("org/m:m-f16.gguf");  // the last one: nothing of the repository stays
  EXPECT_FALSE(fs::exists(folder("org--m")));
}

TEST_F(Cache, RemovesOneCommitOfTwo) {
  add("org/m", kOne, {{"config.json", "{}"}, {"model.safetensors", "w"}});
  add("org/m", kTwo, {{"config.json", "{}"}, {"model.safetensors", "w"}}, {}, "old");
  remove("org/m@old");
  EXPECT_EQ(ids(), Strings{"org/m"});
  EXPECT_FALSE(fs::exists(folder("org--m") / "refs/old"));
  EXPECT_FALSE(fs::exists(folder("org--m") / "listings" / (kTwo + ".json")));
  EXPECT_TRUE(fs::exists(folder("org--m") / "refs/main"));
}

TEST_F(Cache, RefusesWhatIsNotThere) {
  EXPECT_NE(refusal(ErrorKind::kNotFound, "org/m").find("hunch list"), std::string::npos);
  add("org/m", kOne, {{"m-q8_0.gguf", "a"}, {"m-f16.gguf", "b"}}, {"m-f16.gguf"});
  refusal(ErrorKind::kNotFound, "org/m:f16");
  refusal(ErrorKind::kNotFound, "org/m@other");
  refusal(ErrorKind::kUsage, "../../etc");
  refusal(ErrorKind::kUsage, "org/m:../../other");
  EXPECT_EQ(ids(), Strings{"org/m:m-q8_0.gguf"});
}

TEST_F(Cache, NeverFollowsALinkOut) {
  const fs::path outside = home_ / "outside";
  write(outside / "precious", "x");
  // The repository's folder is a link.
  fs::create_directories(home_ / "models");
  fs::create_directory_symlink(outside, folder("org--link"));
  EXPECT_NE(refusal(ErrorKind::kUsage, "org/link").find("outside"), std::string::npos);
  // A folder in a snapshot is one.
  write(outside / "m-q8_0.gguf", "abc");
  add("org/m", kOne, {{"sub/m-q8_0.gguf", "abc"}, {"m-f16.gguf", "b"}}, {"sub/m-q8_0.gguf"});
  fs::create_directory_symlink(outside, folder("org--m") / kOne / "sub");
  EXPECT_NE(refusal(ErrorKind::kUsage, "org/m:q8_0").find("outside"), std::string::npos);
  // With the repository goes the link, and not what it leads to.
  remove("org/m");
  EXPECT_FALSE(fs::exists(folder("org--m")));
  EXPECT_EQ(read_file(outside / "precious"), "x");
  EXPECT_EQ(read_file(outside / "m-q8_0.gguf"), "abc");
}

TEST_F(Cache, DoesNotRemoveWhatIsBeingPulled) {
  add("org/m", kOne, {{"config.json", "{}"}, {"model.safetensors", "w"}});
  {
    const FileLock pull(folder("org--m") / "lock", {}, nullptr);
    EXPECT_NE(refusal(ErrorKind::kUsage, "org/m").find("pulling"), std::string::npos);
    EXPECT_EQ(ids(), Strings{"org/m"});
  }
  remove("org/m");
  EXPECT_TRUE(ids().empty());
}

}  // namespace
}  // namespace hunch
