// What --reblock-down costs in quality, measured: it is never applied silently.
#pragma once
#include <span>

#include "cli/flags.h"
#include "engine/generate.h"

namespace hunch::cli {

// Where `engine` re-encoded its down projections, loads the model a second time as the file has it and
// prints the mean KL divergence of the next-token distributions on `ids` (a built-in text when there
// are fewer than 32 of them), in nats. Nothing otherwise, and nothing with --quiet.
void print_reblock_price(const Engine& engine, const ModelFlags& flags, std::span<const int32_t> ids);

}  // namespace hunch::cli
