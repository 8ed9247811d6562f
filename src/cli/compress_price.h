// What compressing costs: perplexity of a text that nothing was fitted to.
#pragma once
#include <string>

#include "cli/flags.h"
#include "engine/engine.h"

namespace hunch::cli {

// With a progress bar. Throws as perplexity().
double perplexity_of(const Engine& engine, const std::string& text, const ModelFlags& flags);

}  // namespace hunch::cli
