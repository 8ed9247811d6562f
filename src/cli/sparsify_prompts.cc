#include "cli/sparsify_prompts.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "compress/calibration.h"
#include "compress/prompt_fit.h"

namespace hunch::cli {
namespace {

void print_fit(const PromptFit& fit) {
  std::vector<std::vector<std::string>> cells = {{"layer", "head", "pattern", "recall"}};
  for (size_t l = 0; l < fit.heads.size(); ++l)
    for (size_t h = 0; h < fit.heads[l].size(); ++h)
      cells.push_back(
          {std::to_string(l), std::to_string(h), name_of(fit.heads[l][h].pattern), share_text(fit.heads[l][h].recall)});
  print(table(cells, {2}));
  if (fit.neurons.empty()) return;
  cells = {{"layer", "neurons that a block computes"}};
  for (size_t l = 0; l < fit.neurons.size(); ++l) cells.push_back({std::to_string(l), share_text(fit.neurons[l])});
  print(table(cells));
}

nlohmann::ordered_json fit_json(const PromptFit& fit, const std::string& out) {
  nlohmann::ordered_json json = {{"out", out}, {"n_ctx", fit.n_ctx}, {"n_blocks", fit.n_blocks}};
  json["layers"] = nlohmann::ordered_json::array();
  for (const auto& layer : fit.heads) {
    auto heads = nlohmann::ordered_json::array();
    for (const FittedPattern& head : layer)
      heads.push_back({{"pattern", name_of(head.pattern)}, {"recall", head.recall}});
    json["layers"].push_back(std::move(heads));
  }
  if (!fit.neurons.empty()) json["neurons"] = fit.neurons;
  return json;
}

}  // namespace

int sparsify_prompts(const SparsifyFlags& flags) {
  if (flags.max_ppl_increase || flags.density || flags.method != "auto" || flags.predictor != "auto")
    fail(ErrorKind::kUsage,
         "--prefill finds patterns of prompts and learns nothing of neurons: leave out --max-ppl-increase, --density, "
         "--method and --predictor, and add the patterns to the sidecar that these make");
  PromptFitOptions options{.budget = flags.prefill, .max_tokens = flags.max_tokens};
  if (flags.prefill_recall) options.least_recall = parse_share(*flags.prefill_recall, "--prefill-recall");
  if (flags.prefill_neurons) options.neuron_recall = parse_share(*flags.prefill_neurons, "--prefill-neurons");
  if (flags.prefill_neurons && options.neuron_recall == 0)
    fail(ErrorKind::kUsage, "--prefill-neurons: expected a share above 0");
  const std::string out = flags.out.empty() ? sidecar_path(resolve_model(flags.model)).string() : flags.out;
  check_output(out, inputs_of(flags.model, {flags.text}), flags.force, "-o");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  const std::vector<int32_t> ids =
      engine.encode(std::string_view(text).substr(0, std::min(text.size(), options.max_tokens * 16)));
  print_first_line(engine, flags.model, {}, 0, 0);
  PromptFit fit;
  Sidecar sidecar;
  {
    ProgressBar bar(!flags.model.quiet);
    fit = fit_prompts(engine, ids, options, bar.progress());
    if (engine.sidecar) {
      sidecar = *engine.sidecar;
    } else {
      sidecar.base = sidecar_base(engine, bar.progress());
      sidecar.layers.resize(engine.config().n_layer);
    }
  }
  sidecar.prompts = fit.patterns();
  write_sidecar(out, sidecar);
  if (flags.model.json) {
    print_json(fit_json(fit, out));
  } else {
    print_fit(fit);
  }
  if (flags.model.quiet) return 0;
  note(
      fmt::format("recall: share of attention's weight on the keys that the pattern reads, of {} blocks of queries a "
                  "head beyond {} tokens",
                  fit.n_blocks, options.budget));
  note(fmt::format("{} {}; --prefill sidecar uses it", engine.sidecar ? "added the patterns to" : "wrote", out));
  return 0;
}

}  // namespace hunch::cli
