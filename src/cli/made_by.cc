#include "cli/made_by.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cli/completion.h"
#include "hunch/version.h"
#include "measure/machine.h"

namespace hunch::cli {

std::string shell_word(std::string_view text) {
  const bool plain = !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) || c >= 0x80 || std::string_view("_-./:@%+=,").find(char(c)) != std::string_view::npos;
  });
  return plain ? std::string(text) : shell_quoted(text);
}

std::string machine_words(const Engine& engine) {
  const MachineInfo machine = machine_info();
  const size_t n = engine.compute->threads.n_threads();
  return fmt::format("hunch {}, {}, {} on {} thread{}", HUNCH_VERSION, machine.cpu, machine.simd_target, n,
                     n == 1 ? "" : "s");
}

}  // namespace hunch::cli
