#include "base/file.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include "base/error.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  fs::path dir_ = fs::temp_directory_path() / ("hunch_file_test" + std::to_string(getpid()));
  void SetUp() override { fs::create_directories(dir_); }
  void TearDown() override { fs::remove_all(dir_); }
};

TEST_F(FileTest, AtomicFileAppearsOnlyAfterCommit) {
  const fs::path path = dir_ / "out.bin";
  {
    AtomicFile file(path);
    file.write("half");
  }
  EXPECT_TRUE(fs::is_empty(dir_));
  {
    AtomicFile file(path);
    file.write("whole");
    EXPECT_EQ(file.offset(), 5u);
    EXPECT_FALSE(fs::exists(path));
    file.commit();
  }
  EXPECT_EQ(read_file(path), "whole");
  EXPECT_EQ(MappedFile(path).bytes().size(), 5u);
}

TEST_F(FileTest, UnwritableFolderIsAnError) { EXPECT_THROW(AtomicFile(dir_ / "no_such_folder" / "x"), Error); }

TEST_F(FileTest, MissingFileNamesThePath) {
  try {
    MappedFile file(dir_ / "absent.gguf");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kNotFound);
    EXPECT_NE(std::string(e.what()).find("absent.gguf"), std::string::npos);
  }
  EXPECT_THROW(read_file(dir_), Error);
}

}  // namespace
}  // namespace hunch
