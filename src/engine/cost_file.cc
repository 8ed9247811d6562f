#include "engine/cost_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

struct Field {
  const char* name;
  double RowCosts::*value;
};
constexpr Field kFields[] = {{"own_call", &RowCosts::own_call},   {"own_row", &RowCosts::own_row},
                             {"own_first", &RowCosts::own_first}, {"union_call", &RowCosts::union_call},
                             {"union_row", &RowCosts::union_row}, {"all", &RowCosts::all}};

CostTable::Measured measured_of(const Json& json) {
  CostTable::Measured m{};
  const std::string product = json.at("product");
  if (product != name_of(RowProduct::kDot) && product != name_of(RowProduct::kAdd))
    fail(ErrorKind::kFormat, "product '{}', expected dot or add", product);
  m.product = product == name_of(RowProduct::kDot) ? RowProduct::kDot : RowProduct::kAdd;
  const auto dtype = dtype_from_name(json.at("dtype").get<std::string>());
  if (!dtype) fail(ErrorKind::kFormat, "unknown dtype '{}'", json.at("dtype").get<std::string>());
  m.dtype = *dtype;
  m.rows = json.at("rows");
  m.cols = json.at("cols");
  m.n_tokens = json.at("n_tokens");
  if (m.n_tokens == 0 || m.n_tokens > 65536) fail(ErrorKind::kFormat, "n_tokens {}, expected 1 to 65536", m.n_tokens);
  for (const Field& f : kFields) {
    m.costs.*f.value = json.at(f.name);
    if (!std::isfinite(m.costs.*f.value)) fail(ErrorKind::kFormat, "{} is no number of seconds", f.name);
  }
  return m;
}

}  // namespace

void write_costs(const CostTable& costs, const std::filesystem::path& path) {
  Json entries = Json::array();
  for (const CostTable::Measured& m : costs.measured()) {
    Json entry = {{"product", name_of(m.product)},
                  {"dtype", name_of(m.dtype)},
                  {"rows", m.rows},
                  {"cols", m.cols},
                  {"n_tokens", m.n_tokens}};
    for (const Field& f : kFields) entry[f.name] = m.costs.*f.value;
    entries.push_back(std::move(entry));
  }
  AtomicFile file(path);
  file.write(Json{{"row_costs", entries}}.dump(1) + "\n");
  file.commit();
}

void pin_costs(CostTable& costs, const std::filesystem::path& path) {
  const Json json = Json::parse(read_file(path), nullptr, false);
  if (!json.is_object() || !json.contains("row_costs") || !json["row_costs"].is_array())
    fail(ErrorKind::kFormat, "'{}' is no file of row costs: expected JSON with a list row_costs", path.string());
  size_t i = 0;
  for (const Json& entry : json["row_costs"]) try {
      costs.pin(measured_of(entry));
      ++i;
    } catch (const std::exception& e) {
      fail(ErrorKind::kFormat, "'{}': row cost {}: {}", path.string(), i, e.what());
    }
}

}  // namespace hunch
