// Everything that reads a hub's answer, on any bytes: it returns a value or throws Error, and a value it
// returns holds no path that leaves its folder.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "hub/choice.h"
#include "hub/id.h"
#include "hub/listing.h"

namespace {

template <class Body>
void run(Body body) {
  try {
    body();
  } catch (const hunch::Error&) {
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  run([&] {
    const auto files = hunch::parse_hub_files(text);
    for (const auto& file : files) require(hunch::is_safe_relative_path(file.path));
    require(hunch::parse_hub_files(hunch::dump_hub_files(files)).size() == files.size());
    run([&] { hunch::choose_hub_files(files, "", "org/name"); });
    run([&] { hunch::choose_hub_files(files, "Q4_0", "org/name"); });
  });
  run([&] { require(hunch::is_commit(hunch::parse_hub_commit(text))); });
  run([&] {
    for (const auto& shard : hunch::parse_shard_names(text)) require(hunch::is_safe_relative_path(shard));
  });
  run([&] { hunch::next_link(text); });
  run([&] { require(hunch::parse_hub_id(text).repo.find("..") == std::string::npos); });
  return 0;
}
