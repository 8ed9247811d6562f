#include "cli/inspect_sidecar.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/console.h"
#include "cli/table.h"
#include "io/printable.h"
#include "model/sidecar.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(Look look) {
  switch (look) {
    case Look::kHere: return "here";
    case Look::kAttention: return "attention";
    case Look::kPreviousAttention: return "previous attention";
  }
  return "?";
}

Json point_json(const DensityCurve& curve, size_t point) {
  const CurvePoint& p = curve[point];
  return {{"threshold", p.threshold}, {"density", p.density}, {"loss", p.loss}, {"recall", p.recall}};
}

Json layer_json(const SidecarLayer& l) {
  Json json = {{"kind", "exact"}};
  if (l.neurons) {
    json = {{"kind", l.neurons->kind()}, {"reads", name_of(l.input)}, {"bytes", l.neurons->bytes()}};
  } else if (l.family) {
    json = {{"kind", l.family->kind()}};
  }
  if (l.learned()) {
    json["chosen"] = point_json(l.curve, l.point);
    json["curve"] = Json::array();
    for (size_t i = 0; i < l.curve.size(); ++i) json["curve"].push_back(point_json(l.curve, i));
  }
  if (l.heads.groups)
    json["heads"] = {{"kind", l.heads.groups->kind()},
                     {"reads", name_of(l.heads.input)},
                     {"chosen", point_json(l.heads.curve, l.heads.point)}};
  return json;
}

// "8 of 12 heads read a part of a prompt's keys".
std::string patterns_text(const Sidecar& s) {
  if (!s.prompts) return "read whole";
  size_t n = 0, n_sparse = 0;
  for (const auto& layer : s.prompts->heads())
    for (const PromptPattern& p : layer) ++n, n_sparse += p.kind != PatternKind::kDense;
  std::string text = fmt::format("{} of {} heads have patterns", n_sparse, n);
  if (const std::vector<double>& shares = s.prompts->neurons(); !shares.empty())
    text += fmt::format(", blocks compute {:.0f} % of the neurons",
                        100 * std::accumulate(shares.begin(), shares.end(), 0.0) / double(shares.size()));
  return text + " (--prefill sidecar)";
}

Json patterns_json(const Sidecar& s) {
  if (!s.prompts) return {};
  Json layers = Json::array();
  for (const auto& layer : s.prompts->heads()) {
    Json heads = Json::array();
    for (const PromptPattern& p : layer) heads.push_back(name_of(p));
    layers.push_back(std::move(heads));
  }
  return layers;
}

Json sidecar_json(const Sidecar& s) {
  const SidecarBase& b = s.base;
  const SidecarQuality& q = s.quality;
  Json json = {{"made_for",
                {{"name", b.name},
                 {"arch", b.arch},
                 {"n_layer", b.n_layer},
                 {"n_embd", b.n_embd},
                 {"n_ff", b.n_ff},
                 {"sha256", b.sha256},
                 {"other_types", !b.vectors.empty()}}},
               {"method", s.family() ? s.family()->kind() : "predict"},
               {"budget", q.budget},
               {"perplexity_dense", q.perplexity_dense},
               {"perplexity_sparse", q.perplexity_sparse},
               {"kl", q.kl},
               {"agreement", q.top1},
               {"n_tokens", q.n_tokens},
               {"screen_rank", s.screen ? Json(s.screen->rank()) : Json()},
               {"lazy_keys", s.lazy_keys},
               {"prompts", patterns_json(s)},
               {"prompt_neurons", s.prompts ? Json(s.prompts->neurons()) : Json()},
               {"layers", Json::array()}};
  for (const SidecarLayer& l : s.layers) json["layers"].push_back(layer_json(l));
  return json;
}

std::string layers_table(const Sidecar& s) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "neurons", "reads", "density", "recall", "from", "to", "heads", "reads", "density"}};
  for (size_t i = 0; i < s.layers.size(); ++i) {
    const SidecarLayer& l = s.layers[i];
    std::vector<std::string> row = {std::to_string(i)};
    if (l.learned()) {
      const CurvePoint& p = l.curve[l.point];
      row.insert(row.end(), {std::string(l.neurons ? l.neurons->kind() : l.family->kind()),
                             l.neurons ? name_of(l.input) : "-", share_text(p.density), share_text(p.recall),
                             share_text(l.curve.front().density), share_text(l.curve.back().density)});
    } else {
      row.insert(row.end(), {"exact", "-", "-", "-", "-", "-"});
    }
    if (l.heads.groups) {
      row.insert(row.end(), {std::string(l.heads.groups->kind()), name_of(l.heads.input),
                             share_text(l.heads.curve[l.heads.point].density)});
    } else {
      row.insert(row.end(), {"all", "-", "-"});
    }
    rows.push_back(row);
  }
  return table(rows, {1, 2, 7, 8});
}

}  // namespace

bool is_sidecar(const ModelFile& file) { return file.meta.get_string("general.architecture", "") == "hunch-sidecar"; }

void inspect_sidecar(const InspectFlags& flags, ModelFile file) {
  uint64_t bytes = 0;
  for (const Tensor& t : file.tensors) bytes += t.data.size();
  const Sidecar s = parse_sidecar(std::move(file));
  if (flags.model.json) {
    Json json = sidecar_json(s);
    json["bytes"] = bytes;
    print_json(json);
    return;
  }
  const SidecarBase& b = s.base;
  const SidecarQuality& q = s.quality;
  const std::string found =
      q.perplexity_dense > 0
          ? fmt::format("{:.3f}, dense {:.3f} ({:+.2f} %), on {} tokens", q.perplexity_sparse, q.perplexity_dense,
                        100 * (q.perplexity_sparse / q.perplexity_dense - 1), grouped(q.n_tokens))
          : "not measured";
  print(table(
      {{"sidecar", printable(flags.model.model, 300)},
       {"made for", fmt::format("{} ({}, {} layers of {}, {} neurons each)", printable(b.name.empty() ? "-" : b.name),
                                printable(b.arch), b.n_layer, b.n_embd, b.n_ff)},
       {"its weights", b.sha256.substr(0, 16)},
       {"serves", b.vectors.empty() ? "that file" : "that file, and the same weights in other types"},
       {"method", std::string(s.family() ? s.family()->describe() : "predict")},
       {"asked for", q.budget > 0 ? fmt::format("at most {:.2g} % of perplexity", q.budget * 100) : "a density"},
       {"perplexity", found},
       {"agreement", fmt::format("{} of the tokens, KL {:.4f} nats", share_text(q.top1), q.kl)},
       {"vocabulary", s.screen ? fmt::format("screened by rank {}", s.screen->rank()) : "computed whole"},
       {"prompts", patterns_text(s)},
       {"keys", s.lazy_keys ? "of heads that were left out: when next needed" : "always computed"},
       {"size", human_bytes(double(bytes))}},
      {1}));
  print("\n" + layers_table(s));
  if (!flags.model.quiet)
    note("density, recall: at the point that calibration chose; from, to: the curve that --density can choose from");
}

}  // namespace hunch::cli
