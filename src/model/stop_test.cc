// Opening a model and knowing it again end when their own stop asks for it, and no other.
#include <gtest/gtest.h>

#include "io/test_errors.h"
#include "model/fingerprint.h"
#include "model/open_model.h"

namespace hunch {
namespace {

// BLOOM's fused projection is sorted anew when the folder is opened.
const char* const kFolder = HUNCH_SOURCE_DIR "/tests/data/golden/tiny_bloom";

TEST(ModelStop, EndsTheOpeningOfAFolder) {
  Stop stop, others;
  others.request();
  EXPECT_FALSE(open_model(kFolder, &stop).file.tensors.empty());
  EXPECT_FALSE(open_model(kFolder).file.tensors.empty());
  stop.request();
  message_of(ErrorKind::kInterrupted, [&] { open_model(kFolder, &stop); });
  Stop child(&others);
  message_of(ErrorKind::kInterrupted, [&] { open_model(kFolder, &child); });
}

TEST(ModelStop, EndsAFingerprint) {
  const OpenedModel opened = open_model(kFolder);
  Stop stop;
  size_t n_told = 0;
  const auto stops = [&](std::string_view, uint64_t, uint64_t) { n_told += 1, stop.request(); };
  message_of(ErrorKind::kInterrupted, [&] { tensor_sha256(opened.file, stops, &stop); });
  EXPECT_EQ(n_told, 1u);
  EXPECT_EQ(tensor_sha256(opened.file, stops), tensor_sha256(opened.file));
}

}  // namespace
}  // namespace hunch
