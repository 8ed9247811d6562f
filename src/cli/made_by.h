// What a report and a note say so that somebody can do it again.
#pragma once
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace hunch::cli {

// `text` as a word of a command: as it is, in quotes where a shell would read it otherwise.
std::string shell_word(std::string_view text);

// "hunch 0.2, AMD EPYC 9R14, avx3 on 2 threads".
std::string machine_words(const Engine& engine);

}  // namespace hunch::cli
