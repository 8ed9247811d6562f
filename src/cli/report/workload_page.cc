// The page of a workload.
#include <fmt/format.h>

#include "cli/console.h"
#include "cli/report/frame.h"
#include "cli/report/svg.h"
#include "cli/report/workload_report.h"
#include "formats/format.h"

namespace hunch::cli {
namespace {

std::vector<std::vector<std::string>> layer_rows(const WorkloadInfo& info) {
  std::vector<std::vector<std::string>> rows = {{"layers", "part", "decode: MFLOP", "MB", "FLOP/B", "bound by",
                                                 "turns at", "prompt: MFLOP", "MB", "FLOP/B", "bound by"}};
  const auto cells = [&](const Work& work) {
    return std::vector<std::string>{fmt::format("{:.4g}", work.flops * 1e-6), fmt::format("{:.4g}", work.bytes * 1e-6),
                                    fmt::format("{:.3g}", work.intensity()),
                                    work.bytes == 0            ? "-"
                                    : info.roof.computes(work) ? "compute"
                                                               : "memory"};
  };
  for (const LayerGroup& group : layer_groups(info.work))
    for (size_t p = 0; p < kNumParts; ++p) {
      const Work step = work_of(group.work, Part(p), info.decode()),
                 prompt = work_of(group.work, Part(p), info.prompt());
      if (step.flops == 0 && step.bytes == 0) continue;
      const std::optional<size_t> turns = turning_batch(group.work, Part(p), info.decode(), info.roof);
      std::vector<std::string> row = {group.numbers(), name_of(Part(p))};
      for (const std::string& cell : cells(step)) row.push_back(cell);
      row.push_back(turns ? grouped(*turns) : "never");
      for (const std::string& cell : cells(prompt)) row.push_back(cell);
      rows.push_back(std::move(row));
    }
  return rows;
}

}  // namespace

std::string workload_page(const WorkloadInfo& info, const std::vector<Figure>& figures) {
  const Work step = work_of(info.work, info.decode());
  std::string kinds;
  for (const LayerGroup& group : layer_groups(info.work))
    kinds += fmt::format("{}layers {}: {}, {}", kinds.empty() ? "" : "; ", group.numbers(), group.work.mixer,
                         group.work.mlp);
  std::string body = fmt::format("<p class=\"soft\">{}, mostly {}; {}.</p>\n", escape_xml(info.model),
                                 escape_xml(info.type), escape_xml(kinds));
  body += fmt::format(
      "<p>What the model has to compute and to read for a token, counted from its matrices and layers, against what "
      "this "
      "machine can do: it reads {:.1f} GB/s ({}) and multiplies {:.4g} GFLOP/s ({}).</p>\n",
      info.roof.bytes_per_s * 1e-9, escape_xml(info.bandwidth_from), info.roof.flops_per_s * 1e-9,
      escape_xml(info.peak_from));
  const std::optional<size_t> turns = turning_batch(info.work, info.decode(), info.roof);
  body +=
      tiles_html({{human_bytes(step.bytes), fmt::format("are read by a step of {} sequence{}", info.n_sequences,
                                                        info.n_sequences == 1 ? "" : "s")},
                  {fmt::format("{:.3g}", step.intensity()),
                   fmt::format("FLOP per byte; from {:.3g} on computing is the limit", info.roof.ridge())},
                  {fmt::format("{:.4g}", double(info.n_sequences) / seconds_of(info.work, info.decode(), info.roof)),
                   "tokens/s at most"},
                  {turns ? grouped(*turns) : "never", "sequences at which a step turns to computing"}});
  for (const Figure& f : figures) body += figure_html(f);
  body += table_html("The numbers, of one layer of each kind", layer_rows(info));
  body += fmt::format(
      "<section class=\"soft\"><p>Made by <code>{}</code> ({}). Norms, rotations and activations are not counted: they "
      "are below a hundredth. A step: {} tokens in the cache ({}); the prompt: {} tokens, read at "
      "once.</p></section>\n",
      escape_xml(info.command), escape_xml(info.machine), grouped(info.n_ctx), name_of(info.kv),
      grouped(info.n_prompt));
  return page_frame(info.model + " - workload", fmt::format("What {} computes and reads", info.model), body);
}

}  // namespace hunch::cli
