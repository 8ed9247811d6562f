// What compressing costs: perplexity of a text that nothing was fitted to.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/flags.h"
#include "engine/engine.h"

namespace hunch::cli {

// Perplexities of --eval's text; 0: none was given.
struct CompressPrice {
  double before = 0, after = 0;
};

// With a progress bar; 0 where no --eval is given. `text`: what that file holds. Throws as perplexity().
double price_before(const Engine& engine, const CompressFlags& flags, const std::string& text);
// Of the file that was written.
double price_after(const CompressFlags& flags, const std::string& text);

// Nothing where there is no price.
void put_price(const CompressPrice& price, nlohmann::ordered_json& json);
void print_price(const CompressPrice& price);

}  // namespace hunch::cli
