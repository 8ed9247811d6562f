#include "cli/inspect_weights.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/made_by.h"
#include "cli/output_file.h"
#include "cli/report/weights_report.h"
#include "cli/report_files.h"
#include "cli/session_io.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

std::string weights_command(const InspectFlags& flags) {
  std::string command =
      fmt::format("hunch inspect {} --text {} --weights", shell_word(flags.model.model), shell_word(flags.text));
  if (!flags.against.empty()) command += " --against " + shell_word(flags.against);
  if (flags.n_tokens != InspectFlags().n_tokens) command += fmt::format(" --tokens {}", flags.n_tokens);
  if (flags.n_ctx) command += fmt::format(" --ctx {}", flags.n_ctx);
  if (!flags.html.empty()) command += " --html " + shell_word(flags.html);
  return command;
}

}  // namespace

void inspect_weights(const InspectFlags& flags) {
  if (flags.text.empty()) fail(ErrorKind::kUsage, "--weights looks at what a text does too: give --text FILE");
  ModelFlags other = flags.model;
  other.model = flags.against;
  if (!flags.html.empty())
    check_output(flags.html, inputs_of(flags.model, {flags.text, flags.against}), flags.force, "--html");
  const std::string text = read_text(flags.text);
  if (!flags.svg.empty()) make_svg_folder(flags.svg, flags.force);
  const Engine engine = open_engine(flags.model);
  std::optional<Engine> original;
  if (!flags.against.empty()) original.emplace(open_engine(other, engine.compute));
  print_first_line(engine, flags.model, {}, 0, 0);
  const std::vector<int32_t> ids = engine.encode(text);
  WeightsInfo info;
  {
    ProgressBar bar(!flags.model.quiet);
    info.layers =
        distributions(engine, original ? &*original : nullptr, ids, {flags.n_tokens, flags.n_ctx}, bar.progress());
  }
  info.n_tokens = flags.n_tokens ? std::min(flags.n_tokens, ids.size()) : ids.size();
  info.model = display_name(engine, flags.model);
  if (original) info.original = display_name(*original, other);
  info.text_name = flags.text == "-" ? "standard input" : fs::path(flags.text).filename().string();
  info.command = weights_command(flags);
  info.machine = machine_words(engine);
  if (!flags.html.empty() || !flags.svg.empty()) {
    const std::vector<Figure> figures = weights_figures(info);
    if (!flags.html.empty()) write_report_file(flags.html, weights_page(info, figures));
    if (!flags.svg.empty()) write_svg_folder(flags.svg, figures);
  }
  if (flags.model.json) {
    print_json(weights_json(info));
    return;
  }
  print(weights_tables(info));
  if (flags.model.quiet) return;
  note(
      "peak: largest channel over the median one; from 20 times on a channel is an outlier. kurtosis: 3 of a normal "
      "distribution.");
  if (!flags.html.empty()) note(fmt::format("the report is in {}", flags.html));
  if (!flags.svg.empty()) note(fmt::format("the figures are in {}", flags.svg));
}

}  // namespace hunch::cli
