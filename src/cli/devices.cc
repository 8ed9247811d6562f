// The verb `devices`: the cards that --device takes.
#include "device/devices.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/table.h"

namespace hunch::cli {

int devices(const DevicesFlags& flags) {
  std::vector<DeviceDescription> all;
  std::string problem = "no driver has a device";
  try {
    all = list_devices(flags.measure);
  } catch (const Error& e) {  // that there are none is an answer
    if (e.kind() != ErrorKind::kNotFound && e.kind() != ErrorKind::kUnsupported) throw;
    problem = e.what();
  }
  if (flags.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const DeviceDescription& d : all) {
      nlohmann::ordered_json json = {{"name", d.name},
                                     {"title", d.title},
                                     {"kind", d.kind},
                                     {"driver", d.driver},
                                     {"memory_bytes", d.memory_bytes},
                                     {"free_bytes", d.free_bytes}};
      if (d.read_gb_per_s > 0) json["read_gb_per_s"] = d.read_gb_per_s;
      json["problem"] = d.problem.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(d.problem);
      list.push_back(std::move(json));
    }
    nlohmann::ordered_json json = {{"devices", list}};
    if (all.empty()) json["problem"] = problem;
    print_json(json);
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{"device", "card", "kind", "driver", "memory", "free"}};
  if (flags.measure) rows[0].push_back("GB/s");
  for (const DeviceDescription& d : all) {
    rows.push_back({d.name, d.title, d.kind, d.driver, human_bytes(double(d.memory_bytes)),
                    d.problem.empty() ? human_bytes(double(d.free_bytes)) : "-"});
    if (flags.measure) rows.back().push_back(d.read_gb_per_s > 0 ? fmt::format("{:.1f}", d.read_gb_per_s) : "-");
  }
  if (!all.empty()) print(table(rows, {1, 2, 3}));
  for (const DeviceDescription& d : all)
    if (!d.problem.empty()) note(fmt::format("{} cannot be used: {}", d.name, d.problem));
  if (all.empty()) note("no device but the processor: " + problem);
  return 0;
}

}  // namespace hunch::cli
