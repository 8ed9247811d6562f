#include "cli/inspect_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/made_by.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/report/page.h"
#include "cli/report_files.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "io/printable.h"
#include "measure/machine.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kRelu: return "ReLU";
    case Activation::kReluSquared: return "squared ReLU";
    case Activation::kSilu: return "SiLU";
    case Activation::kGeluErf:
    case Activation::kGeluTanh:
    case Activation::kGeluQuick: return "GELU";
  }
  return "?";
}

// "0:3,2:5" -> layer 0 head 3, layer 2 head 5.
std::vector<HeadId> parse_heads(const std::string& text) {
  std::vector<HeadId> heads;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t colon = item.find(':');
    if (colon == std::string::npos)
      fail(ErrorKind::kUsage, "--heads: expected LAYER:HEAD, as in 0:3,2:5, found '{}'", printable(item));
    heads.push_back({parse_count(item.substr(0, colon), "--heads"), parse_count(item.substr(colon + 1), "--heads")});
    begin = end + 1;
  }
  return heads;
}

ReportInfo info_of(const Engine& engine, const InspectFlags& flags, const Trace& trace) {
  ReportInfo info;
  info.model = display_name(engine, flags.model);
  info.text_name = flags.text == "-" ? "standard input" : fs::path(flags.text).filename().string();
  info.activation = fmt::format("{}{}", name_of(engine.config().activation), engine.config().gated ? ", gated" : "");
  info.command = fmt::format("hunch inspect {} --text {}", shell_word(flags.model.model), shell_word(flags.text));
  if (!flags.html.empty()) info.command += " --html " + shell_word(flags.html);
  if (flags.n_tokens != InspectFlags().n_tokens) info.command += fmt::format(" --tokens {}", flags.n_tokens);
  if (flags.n_ctx) info.command += fmt::format(" --ctx {}", flags.n_ctx);
  if (flags.oracle_tokens != InspectFlags().oracle_tokens)
    info.command += fmt::format(" --oracle-tokens {}", flags.oracle_tokens);
  info.machine = machine_words(engine);
  for (const int32_t id : trace.excerpt) {
    std::string piece;
    for (const char c : engine.need_tokenizer().decode({&id, 1}))
      piece += c == '\n' ? "\\n" : c == '\t' ? "\\t" : std::string(1, c);
    info.excerpt.push_back(std::move(piece));
  }
  return info;
}

std::string layers_table(const Trace& t) {
  const auto share = [](const std::optional<Spread>& s) { return s ? percent(s->mean) : std::string("-"); };
  const size_t eight = t.union_sizes.size() > 3 ? 3 : t.union_sizes.size() - 1;
  std::vector<std::vector<std::string>> rows = {{"layer", unit_name(t), "active", "for 99 %", "for 90 %",
                                                 fmt::format("union of {}", t.union_sizes[eight]), "heads 99 %",
                                                 "heads 90 %", "cosine", "attention adds", "MLP adds"}};
  for (size_t l = 0; l < t.layers.size(); ++l) {
    const LayerTrace& x = t.layers[l];
    rows.push_back({std::to_string(l), std::to_string(x.n_units), percent(x.active.mean), share(x.needed_99),
                    share(x.needed_90), percent(x.union_far[eight]), percent(x.heads_99.mean), percent(x.heads_90.mean),
                    fmt::format("{:.3f}", t.cosine_at(l, l + 1)), fmt::format("{:.2f}", x.attention.ratio),
                    fmt::format("{:.2f}", x.mlp.ratio)});
  }
  return table(rows);
}

std::string oracle_table(const Trace& t) {
  std::vector<std::vector<std::string>> rows = {{"kept by the oracle", "neurons only", "heads only", "both"}};
  for (size_t i = 0; i < t.oracle_both.size(); ++i)
    rows.push_back({percent(t.oracle_both[i].neurons), fmt::format("{:.2f}", t.oracle_neurons[i].perplexity),
                    fmt::format("{:.2f}", t.oracle_heads[i].perplexity),
                    fmt::format("{:.2f}", t.oracle_both[i].perplexity)});
  return table(rows);
}

// Of a mixture: how its tokens fall on the experts, and what limits would refuse and drop; "" without experts.
std::string experts_table(const Trace& t) {
  constexpr size_t kMostExperts = 16;  // in columns of their own
  std::vector<std::vector<std::string>> rows;
  for (size_t l = 0; l < t.layers.size(); ++l) {
    const LayerTrace& x = t.layers[l];
    if (x.capacities.empty()) continue;
    std::vector<double> load;
    for (uint32_t n : x.counts) load.push_back(double(n) / double(x.n_counted));
    std::vector<std::string> names, cells = {std::to_string(l)};
    if (load.size() <= kMostExperts) {
      for (size_t e = 0; e < load.size(); ++e)
        names.push_back(fmt::format("e{}", e)), cells.push_back(percent(load[e]));
    } else {
      std::ranges::sort(load);
      names = {"least", "a quarter below", "median", "a quarter above", "most"};
      for (size_t i = 0; i < 5; ++i) cells.push_back(percent(load[(load.size() - 1) * i / 4]));
    }
    for (const CapacityPrice& p : x.capacities) {
      names.push_back(fmt::format("over {}", p.factor)), cells.push_back(percent(p.overflow));
      names.push_back(fmt::format("drop {}", p.factor)), cells.push_back(percent(p.dropped));
    }
    if (rows.empty()) {
      names.insert(names.begin(), "layer");
      rows.push_back(names);
    }
    rows.push_back(cells);
  }
  return rows.empty() ? "" : table(rows);
}

}  // namespace

nlohmann::ordered_json inspect_text(const InspectFlags& flags) {
  TraceOptions options;
  options.max_tokens = flags.n_tokens;
  options.n_ctx = flags.n_ctx;
  options.oracle_tokens = flags.oracle_tokens;
  options.heads = parse_heads(flags.heads);
  if (!flags.html.empty())
    check_output(flags.html, inputs_of(flags.model, {flags.text, flags.model.sidecar}), flags.force, "--html");
  const std::string text = read_text(flags.text);
  if (!flags.svg.empty()) make_svg_folder(flags.svg, flags.force);
  const Engine engine = open_engine(flags.model);
  const std::vector<int32_t> ids = engine.encode(text);
  print_first_line(engine, flags.model, {}, 0, 0);
  Trace trace;
  {
    ProgressBar bar(!flags.model.quiet);
    trace = trace_text(engine, ids, options, bar.progress());
  }
  const ReportInfo info = info_of(engine, flags, trace);
  if (!flags.html.empty() || !flags.svg.empty()) {
    const std::vector<Figure> figures = make_figures(trace, info);
    if (!flags.html.empty()) write_report_file(flags.html, report_page(trace, info, figures));
    if (!flags.svg.empty()) write_svg_folder(flags.svg, figures);
  }
  if (!flags.model.json) {
    print(layers_table(trace));
    if (const std::string experts = experts_table(trace); !experts.empty()) print("\nload of the experts\n" + experts);
    if (trace.oracle_note.empty())
      print("\nperplexity of " + std::to_string(trace.oracle_tokens) + " tokens\n" + oracle_table(trace));
  }
  if (!flags.model.quiet) {
    const size_t eight = trace.union_sizes.size() > 3 ? 3 : trace.union_sizes.size() - 1;
    const char* active = trace.layers[0].rule == ActiveRule::kNonzero  ? "not zero after the activation"
                         : trace.layers[0].rule == ActiveRule::kRouted ? "chosen by the router"
                                                                       : "needed for 99 % of the MLP's output";
    note(fmt::format(
        "\n{} tokens in {} window{} of {}. active: {}; for 99 %, 90 %: needed for so much of the output; union of {}: "
        "{} that so many tokens of different places need together; cosine: of the streams entering this layer and "
        "the next; adds: ||F(X)|| / ||X||.",
        trace.n_tokens, trace.n_windows, trace.n_windows == 1 ? "" : "s", trace.n_ctx, active, trace.union_sizes[eight],
        unit_name(trace)));
    if (std::ranges::any_of(trace.layers, [](const LayerTrace& l) { return !l.capacities.empty(); }))
      note(
          "load: share of the tokens that choose the expert; over, drop F: if each expert took at most F times an "
          "equal "
          "share of a batch, so many choices would find it full, and so many tokens no expert at all");
    if (!trace.oracle_note.empty()) note(trace.oracle_note);
    if (!flags.html.empty()) note(fmt::format("the report is in {}", flags.html));
    if (!flags.svg.empty()) note(fmt::format("the figures are in {}", flags.svg));
    if (flags.html.empty() && flags.svg.empty() && !flags.model.json) note("--html FILE draws it");
  }
  return trace_json(trace, info);
}

}  // namespace hunch::cli
