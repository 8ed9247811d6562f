// Errors of a parser, which sees only bytes, with the name of the file they came from.
#pragma once
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace hunch {

// The result of action(); an Error that it throws is thrown on with `path` before its message.
template <class Action>
decltype(auto) naming(const std::filesystem::path& path, Action&& action) {
  try {
    return std::forward<Action>(action)();
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("'{}': {}", path.string(), e.what()));
  }
}

}  // namespace hunch
