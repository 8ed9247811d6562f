// Progress of long work, told to whoever prints it. Only the command line prints.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

namespace hunch {

// progress(what, done, total): called now and then, from one thread at a time. total 0 = unknown.
using Progress = std::function<void(std::string_view what, uint64_t done, uint64_t total)>;

}  // namespace hunch
