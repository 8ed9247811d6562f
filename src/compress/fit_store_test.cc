#include "compress/fit_store.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/error.h"
#include "base/file.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class FitStoreTest : public ::testing::Test {
 protected:
  FitStoreTest() {
    std::mt19937 rng(1);
    for (int32_t& id : ids_) id = int32_t(rng() % engine_.config().n_vocab);
    options_.n_epochs = 1;
    options_.rank = 32;
    options_.density = 0.4;
    options_.heads = HeadMode::kWrite;  // auto asks the clock
    options_.finished = dir_ / "partial";
    fs::create_directories(dir_);
  }
  ~FitStoreTest() override { fs::remove_all(dir_); }

  std::string bytes_of(const SparsifyReport& report) {
    write_sidecar(dir_ / "out.hunch", report.sidecar);
    return read_file(dir_ / "out.hunch");
  }
  // Stopped while it fits the second layer.
  void interrupted() {
    EXPECT_THROW(sparsify(engine_, ids_, options_,
                          [](std::string_view stage, uint64_t, uint64_t) {
                            if (stage == "layer 1") fail(ErrorKind::kInterrupted, "interrupted");
                          }),
                 Error);
  }
  static bool says_found(const SparsifyReport& report) {
    for (const std::string& note : report.notes)
      if (note == "1 of 2 layers were finished by an earlier run") return true;
    return false;
  }
  fs::path layer(size_t i) const { return options_.finished / fmt::format("layer-{}.fit", i); }

  fs::path dir_ = fs::temp_directory_path() / ("hunch-fit-store-" + std::to_string(::getpid()));
  Engine engine_ = load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / "opt_sparse", {1});
  std::vector<int32_t> ids_ = std::vector<int32_t>(1500);
  SparsifyOptions options_;
};

TEST_F(FitStoreTest, AnInterruptedRunGoesOnAndGivesTheSameFile) {
  SparsifyOptions without = options_;
  without.finished.clear();
  const std::string want = bytes_of(sparsify(engine_, ids_, without));
  interrupted();
  EXPECT_TRUE(fs::exists(layer(0)));
  EXPECT_FALSE(fs::exists(layer(1)));
  const SparsifyReport report = sparsify(engine_, ids_, options_);
  EXPECT_TRUE(says_found(report));
  EXPECT_TRUE(bytes_of(report) == want);
  EXPECT_TRUE(fs::exists(layer(1)));
  // Both are found now; what is chosen among them can be another budget.
  SparsifyOptions denser = options_;
  denser.density = 0.6;
  EXPECT_NE(sparsify(engine_, ids_, denser).notes.at(0).find("2 of 2"), std::string::npos);
}

TEST_F(FitStoreTest, AnotherTextOrOptionOrADamagedFileIsNotTakenUp) {
  interrupted();
  SparsifyOptions other = options_;
  other.rank = 16;
  EXPECT_FALSE(says_found(sparsify(engine_, ids_, other)));
  fs::remove_all(options_.finished);
  interrupted();
  const std::string file = read_file(layer(0));
  std::vector<int32_t> changed = ids_;
  changed[0] = (changed[0] + 1) % int32_t(engine_.config().n_vocab);
  EXPECT_FALSE(says_found(sparsify(engine_, changed, options_)));
  fs::remove_all(options_.finished);
  interrupted();
  EXPECT_TRUE(read_file(layer(0)) == file);
  std::ofstream(layer(0), std::ios::binary) << file.substr(0, file.size() / 2);
  EXPECT_FALSE(says_found(sparsify(engine_, ids_, options_)));
}

TEST_F(FitStoreTest, ClearsWhatItMadeAndNothingElse) {
  interrupted();
  FitStore::clear(options_.finished);
  EXPECT_FALSE(fs::exists(options_.finished));
  interrupted();
  std::ofstream(options_.finished / "mine.txt") << "keep";
  FitStore::clear(options_.finished);
  EXPECT_TRUE(fs::exists(options_.finished / "mine.txt"));
  EXPECT_FALSE(fs::exists(layer(0)));
  FitStore::clear(dir_ / "nowhere");
}

}  // namespace
}  // namespace hunch
