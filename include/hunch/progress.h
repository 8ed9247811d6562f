// What long calls tell of how far they are.
//
// Example:
//   hunch::OnProgress show = [](std::string_view what, std::uint64_t done, std::uint64_t total) {
//     std::cout << what << ' ' << done << " of " << total << '\n';
//   };
//   show("quality", 3, 10);  // options.on_progress = show
//
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

namespace hunch {

// Called now and then, from one thread at a time; total 0: unknown.
using OnProgress = std::function<void(std::string_view what, std::uint64_t done, std::uint64_t total)>;

}  // namespace hunch
