// Tables and numbers of distributions.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/report/weights_report.h"
#include "cli/table.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

Json json_of(const Magnitudes& m) {
  return {{"n", m.n},          {"n_zeros", m.n_zeros}, {"rms", m.rms}, {"largest", m.largest}, {"kurtosis", m.kurtosis},
          {"counts", m.counts}};
}

Json json_of(const InputDistribution& d) {
  Json json = json_of(d.values);
  json["channel_largest"] = d.largest;
  json["peak"] = d.peak();
  json["outliers"] = d.outliers();
  return json;
}

}  // namespace

std::string weights_tables(const WeightsInfo& info) {
  Rows rows = {{"layer", "input", "rms", "largest", "kurtosis", "peak", "outlier channels"}};
  for (size_t l = 0; l < info.layers.size(); ++l) {
    std::string name = std::to_string(l);
    for (size_t i = 0; i < kNumInputs; ++i) {
      const InputDistribution& d = info.layers[l].inputs[i];
      if (d.n_tokens == 0) continue;
      const std::vector<uint32_t> outliers = d.outliers();
      std::string listed =
          fmt::format("{}", fmt::join(std::span(outliers).first(std::min<size_t>(3, outliers.size())), ","));
      if (outliers.size() > 3) listed += fmt::format(" .. {} of them", outliers.size());
      rows.push_back({name, name_of(InputOf(i)), fmt::format("{:.3g}", d.values.rms),
                      fmt::format("{:.3g}", d.values.largest), fmt::format("{:.3g}", d.values.kurtosis),
                      fmt::format("{:.3g}", d.peak()), listed});
      name.clear();
    }
  }
  std::string out = table(rows, {1, 6});
  rows = {{"layer", "matrix", "rms", "largest", "kurtosis"}};
  if (info.compares()) rows[0].insert(rows[0].end(), {"weight error", "output error"});
  for (size_t l = 0; l < info.layers.size(); ++l) {
    std::string name = std::to_string(l);
    for (const auto& [role, m] : info.layers[l].weights) {
      rows.push_back({name, name_of(role), fmt::format("{:.3g}", m.rms), fmt::format("{:.3g}", m.largest),
                      fmt::format("{:.3g}", m.kurtosis)});
      name.clear();
      if (!info.compares()) continue;
      const MatrixError& error = info.layers[l].errors.at(role);
      rows.back().push_back(share_text(error.weights));
      rows.back().push_back(error.outputs ? share_text(*error.outputs) : "-");
    }
  }
  return out + "\n" + table(rows, {1});
}

Json weights_json(const WeightsInfo& info) {
  Json layers = Json::array();
  for (const LayerDistributions& layer : info.layers) {
    Json weights = Json::object(), inputs = Json::object(), errors = Json::object();
    for (const auto& [role, m] : layer.weights) weights[name_of(role)] = json_of(m);
    for (size_t i = 0; i < kNumInputs; ++i)
      if (layer.inputs[i].n_tokens > 0) inputs[name_of(InputOf(i))] = json_of(layer.inputs[i]);
    for (const auto& [role, error] : layer.errors)
      errors[name_of(role)] = {{"weights", error.weights}, {"outputs", error.outputs ? Json(*error.outputs) : Json()}};
    layers.push_back({{"weights", weights}, {"inputs", inputs}});
    if (info.compares()) layers.back()["errors"] = errors;
  }
  Json bins = Json::array();
  for (size_t b = 0; b < Magnitudes::kBins; ++b) bins.push_back(Magnitudes::begin_of(b));
  return {{"model", info.model},    {"original", info.compares() ? Json(info.original) : Json()},
          {"text", info.text_name}, {"n_tokens", info.n_tokens},
          {"bins", bins},           {"layers", layers}};
}

}  // namespace hunch::cli
