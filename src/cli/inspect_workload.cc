#include "cli/inspect_workload.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/report/workload_report.h"
#include "cli/report_files.h"
#include "cli/session_io.h"
#include "formats/format.h"
#include "hunch/version.h"
#include "io/printable.h"
#include "measure/product_peak.h"
#include "measure/workload_memory.h"

namespace hunch::cli {
namespace {

// "8G,24G": sizes of devices.
std::vector<WorkloadInfo::Device> devices_of(const std::string& text) {
  std::vector<WorkloadInfo::Device> devices;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    devices.push_back({item, parse_bytes(item, "--device-memory")});
    begin = end + 1;
  }
  return devices;
}

double positive(const std::string& text, const char* option) {
  const double value = parse_real(text, option);
  if (!(value > 0) || !std::isfinite(value))
    fail(ErrorKind::kUsage, "{}: expected a number above 0, found '{}'", option, printable(text));
  return value;
}

std::string workload_command(const InspectFlags& flags) {
  std::string command = fmt::format("hunch inspect {} --workload", flags.model.model);
  const WorkloadFlags& w = flags.workload;
  if (flags.n_ctx) command += fmt::format(" --ctx {}", flags.n_ctx);
  if (w.n_prompt != WorkloadFlags().n_prompt) command += fmt::format(" --prompt {}", w.n_prompt);
  if (w.n_sequences != WorkloadFlags().n_sequences) command += fmt::format(" --batch {}", w.n_sequences);
  if (w.kv != WorkloadFlags().kv) command += " --kv " + w.kv;
  if (w.bandwidth) command += " --bandwidth " + *w.bandwidth;
  if (w.peak) command += " --peak " + *w.peak;
  if (w.devices != WorkloadFlags().devices) command += " --device-memory " + w.devices;
  if (!flags.html.empty()) command += " --html " + flags.html;
  return command;
}

void find_roofline(const InspectFlags& flags, const Engine& engine, WorkloadInfo& info) {
  const size_t n_threads = engine.compute->threads.n_threads();
  const std::string threads = fmt::format("{} thread{}", n_threads, n_threads == 1 ? "" : "s");
  if (flags.workload.bandwidth) {
    info.roof.bytes_per_s = positive(*flags.workload.bandwidth, "--bandwidth") * 1e9;
    info.bandwidth_from = "as given";
  } else {
    info.roof.bytes_per_s = machine_speed(*engine.compute, flags.model.quiet).read_gb_per_s * 1e9;
    info.bandwidth_from = fmt::format("measured, {}", threads);
  }
  if (flags.workload.peak) {
    info.roof.flops_per_s = positive(*flags.workload.peak, "--peak") * 1e9;
    info.peak_from = "as given";
  } else {
    const ProductPeak peak = measure_product_peak(engine);
    info.roof.flops_per_s = peak.flops_per_s;
    info.peak_from = fmt::format("measured, 256 tokens by {} x {}", peak.n_out, peak.n_in);
  }
}

WorkloadInfo info_of(const InspectFlags& flags, const Engine& engine) {
  const ModelConfig& c = engine.config();
  if (!c.causal || !c.has_output)
    fail(ErrorKind::kUnsupported,
         "--workload is about models that write text, token by token; this one reads texts only");
  WorkloadInfo info;
  info.model = display_name(engine, flags.model);
  info.command = workload_command(flags);
  const MachineInfo machine = machine_info();
  info.machine = fmt::format("hunch {}, {}, {} on {} threads", HUNCH_VERSION, machine.cpu, machine.simd_target,
                             engine.compute->threads.n_threads());
  info.type = name_of(engine.model->main_dtype());
  info.work = workload_of(*engine.model);
  info.n_ctx = flags.n_ctx ? flags.n_ctx : std::min<size_t>(c.n_ctx_train, 4096);
  info.longest = c.n_ctx_train;
  info.n_prompt = flags.workload.n_prompt;
  info.n_sequences = flags.workload.n_sequences;
  info.kv = *kv_type_from_name(flags.workload.kv);  // the grammar let only names pass
  if (info.n_prompt == 0 || info.n_sequences == 0)
    fail(ErrorKind::kUsage, "--prompt and --batch: expected 1 or more, found 0");
  if (!cache_fits(info.work, info.kv))
    fail(ErrorKind::kUsage, "--kv {}: the heads of this model are no whole blocks of {}", flags.workload.kv,
         kv_block(info.kv));
  info.devices = devices_of(flags.workload.devices);
  find_roofline(flags, engine, info);
  return info;
}

}  // namespace

void inspect_workload(const InspectFlags& flags) {
  devices_of(flags.workload.devices);  // before a large model is read
  if (flags.workload.bandwidth) positive(*flags.workload.bandwidth, "--bandwidth");
  if (flags.workload.peak) positive(*flags.workload.peak, "--peak");
  if (!flags.html.empty()) check_output(flags.html, inputs_of(flags.model), flags.force, "--html");
  if (!flags.svg.empty()) make_svg_folder(flags.svg, flags.force);
  const Engine engine = open_engine(flags.model);
  print_first_line(engine, flags.model, {}, 0, 0);
  const WorkloadInfo info = info_of(flags, engine);
  if (!flags.html.empty() || !flags.svg.empty()) {
    const std::vector<Figure> figures = workload_figures(info);
    if (!flags.html.empty()) write_report_file(flags.html, workload_page(info, figures));
    if (!flags.svg.empty()) write_svg_folder(flags.svg, figures);
  }
  if (flags.model.json) {
    print_json(workload_json(info));
    return;
  }
  print(workload_tables(info));
  if (flags.model.quiet) return;
  note(
      "FLOP: a multiplication and an addition are two. us: at least, by the limit that is met first. turns at: "
      "decoding "
      "sequences from which on computing is the limit. on 8G: devices of so much memory, layers undivided.");
  if (!flags.html.empty()) note(fmt::format("the report is in {}", flags.html));
  if (!flags.svg.empty()) note(fmt::format("the figures are in {}", flags.svg));
}

}  // namespace hunch::cli
