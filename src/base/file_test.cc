#include "base/file.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

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

TEST_F(FileTest, AtomicFileReplacesFilesOnly) {
  const fs::path pipe = dir_ / "pipe", link = dir_ / "link", target = dir_ / "target";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(AtomicFile{pipe}, Error);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_THROW(read_file(pipe), Error);  // and waits for nobody
  EXPECT_THROW(AtomicFile{dir_}, Error);
  std::ofstream(target) << "old";
  fs::create_symlink(target, link);
  AtomicFile file(link);
  file.write("new");
  file.commit();
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_file(target), "new");
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
