// Distributions of weights and activations, as tables for a terminal, as JSON, and as a page.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/report/figure.h"
#include "measure/distributions.h"

namespace hunch::cli {

struct WeightsInfo {
  std::string model, original, text_name, command, machine;  // for people; original: none
  size_t n_tokens = 0;
  std::vector<LayerDistributions> layers;
  bool compares() const { return !original.empty(); }
};

std::string weights_tables(const WeightsInfo& info);
nlohmann::ordered_json weights_json(const WeightsInfo& info);  // its keys are in docs/distributions.md
std::vector<Figure> weights_figures(const WeightsInfo& info);
std::string weights_page(const WeightsInfo& info, const std::vector<Figure>& figures);

}  // namespace hunch::cli
