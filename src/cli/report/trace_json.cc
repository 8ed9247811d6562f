#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/report/page.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

Json spread_json(const Spread& s) { return {{"mean", s.mean}, {"p10", s.p10}, {"p90", s.p90}}; }
Json spread_json(const std::optional<Spread>& s) { return s ? spread_json(*s) : Json(); }

const char* name_of_rule(ActiveRule rule) {
  switch (rule) {
    case ActiveRule::kNonzero: return "nonzero";
    case ActiveRule::kNeeded: return "needed";
    case ActiveRule::kRouted: return "routed";
  }
  return "?";
}

Json habit_json(const HeadHabit& h) {
  return {{"kind", name_of(kind_of(h))},  {"entropy", h.entropy},   {"to_first", h.to_first},
          {"to_previous", h.to_previous}, {"heaviest", h.heaviest}, {"heaviest_key", h.heaviest_key}};
}

Json addition_json(const LayerTrace::Addition& a) {
  return {{"stream", a.stream}, {"branch", a.branch}, {"ratio", a.ratio}};
}

Json layer_json(size_t layer, const LayerTrace& l) {
  Json json = {{"layer", layer},
               {"rule", name_of_rule(l.rule)},
               {"n_units", l.n_units},
               {"active", spread_json(l.active)},
               {"needed_99", spread_json(l.needed_99)},
               {"needed_90", spread_json(l.needed_90)},
               {"union_near", l.union_near},
               {"union_far", l.union_far},
               {"n_counted", l.n_counted},
               {"counts", l.counts},
               {"heads_99", spread_json(l.heads_99)},
               {"heads_90", spread_json(l.heads_90)},
               {"head_norm", l.head_norm},
               {"heads", Json::array()},
               {"attention", addition_json(l.attention)},
               {"mlp", addition_json(l.mlp)}};
  for (const CapacityPrice& p : l.capacities)
    json["capacities"].push_back({{"factor", p.factor}, {"overflow", p.overflow}, {"dropped", p.dropped}});
  for (const HeadHabit& h : l.habits) json["heads"].push_back(habit_json(h));
  return json;
}

Json curve_json(const std::vector<OraclePoint>& curve) {
  Json json = Json::array();
  for (const OraclePoint& p : curve)
    json.push_back({{"density_mlp", p.neurons},
                    {"density_heads", p.heads},
                    {"perplexity", p.perplexity},
                    {"kl", p.kl},
                    {"top1", p.top1}});
  return json;
}

}  // namespace

Json trace_json(const Trace& t, const ReportInfo& info) {
  Json json = {{"n_tokens", t.n_tokens},   {"n_windows", t.n_windows},     {"n_ctx", t.n_ctx},
               {"n_sampled", t.n_sampled}, {"union_sizes", t.union_sizes}, {"layers", Json::array()}};
  for (size_t l = 0; l < t.layers.size(); ++l) json["layers"].push_back(layer_json(l, t.layers[l]));
  const size_t n = t.layers.size() + 1;
  json["cosine"] = Json::array();
  for (size_t a = 0; a < n; ++a)
    json["cosine"].push_back(
        std::vector<double>(t.cosine.begin() + std::ptrdiff_t(a * n), t.cosine.begin() + std::ptrdiff_t((a + 1) * n)));
  json["command"] = info.command;
  json["machine"] = info.machine;
  json["excerpt"] = {{"ids", t.excerpt}, {"pieces", info.excerpt}};
  json["maps"] = Json::array();
  for (const AttentionMap& m : t.maps) {
    Json map = {{"layer", m.id.layer},
                {"head", m.id.head},
                {"kind", name_of(kind_of(m.habit))},
                {"heavy_hitters", m.heavy},
                {"weights", Json::array()}};
    const size_t n_tokens = t.excerpt.size();
    for (size_t r = 0; r < n_tokens; ++r)
      map["weights"].push_back(std::vector<float>(m.weights.begin() + std::ptrdiff_t(r * n_tokens),
                                                  m.weights.begin() + std::ptrdiff_t(r * n_tokens + r + 1)));
    json["maps"].push_back(std::move(map));
  }
  json["oracle"] = nullptr;
  if (t.oracle_note.empty()) {
    json["oracle"] = {{"n_tokens", t.oracle_tokens},
                      {"perplexity", t.dense_perplexity},
                      {"neurons", curve_json(t.oracle_neurons)},
                      {"heads", curve_json(t.oracle_heads)},
                      {"both", curve_json(t.oracle_both)}};
  } else {
    json["oracle_note"] = t.oracle_note;
  }
  return json;
}

}  // namespace hunch::cli
