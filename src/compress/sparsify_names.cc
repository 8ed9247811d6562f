#include "compress/sparsify_names.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

template <class Value, size_t N>
Value value_of(std::string_view name, const char* what, const std::array<std::pair<const char*, Value>, N>& all) {
  std::string names;
  for (const auto& [known, value] : all) {
    if (name == known) return value;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  fail(ErrorKind::kUsage, "{} '{}', expected one of {}", what, printable(name), names);
}

}  // namespace

const std::vector<std::string>& predictor_names() {
  static const std::vector<std::string> names = {"auto", "lowrank", "lowrank_relu", "svd", "signs", "hot"};
  return names;
}

HeadMode head_mode_from(std::string_view name) {
  return value_of(name, "heads are left out",
                  std::array{std::pair("auto", HeadMode::kAuto), std::pair("off", HeadMode::kOff),
                             std::pair("write", HeadMode::kWrite), std::pair("lazy", HeadMode::kLazy)});
}

Look look_ahead_from(std::string_view name) {
  return value_of(name, "neurons are predicted ahead from",
                  std::array{std::pair("none", Look::kHere), std::pair("attention", Look::kAttention)});
}

Look head_look_ahead_from(std::string_view name) {
  return value_of(name, "heads are predicted ahead from",
                  std::array{std::pair("none", Look::kHere), std::pair("previous", Look::kPreviousAttention)});
}

}  // namespace hunch
