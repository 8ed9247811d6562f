#include "cli/stage_table.h"

#include "cli/console.h"
#include "cli/table.h"

namespace hunch::cli {

std::string stage_table(const BenchRow& row, double read_gb_per_s) {
  const double n = double(row.costs.n_passes());
  double all = 0;
  uint64_t all_bytes = 0;
  for (const Profile::Cost& cost : row.costs.stages) {
    all += cost.seconds;
    all_bytes += cost.bytes;
  }
  std::vector<std::vector<std::string>> cells = {{row.name, "us/pass", "share", "MB/pass", "GB/s", "of bandwidth"}};
  const auto line = [&](std::string name, double seconds, uint64_t bytes) {
    if (seconds / all < 0.0005) return;
    const double rate = double(bytes) / seconds * 1e-9;
    cells.push_back(
        {std::move(name), fmt::format("{:.0f}", seconds / n * 1e6), fmt::format("{:.1f} %", 100 * seconds / all),
         bytes ? fmt::format("{:.1f}", double(bytes) / n * 1e-6) : "", bytes ? fmt::format("{:.2f}", rate) : "",
         bytes ? fmt::format("{:.0f} %", 100 * rate / read_gb_per_s) : ""});
  };
  for (size_t i = 1; i < kNumStages; ++i)
    line(name_of(Stage(i)), row.costs.stages[i].seconds, row.costs.stages[i].bytes);
  const Profile::Cost& other = row.costs.stages[size_t(Stage::kOther)];
  line(name_of(Stage::kOther), other.seconds, other.bytes);
  line("all", all, all_bytes);
  return table(cells);
}

nlohmann::ordered_json stages_json(const StageCosts& costs) {
  auto json = nlohmann::ordered_json::array();
  const double n = double(costs.n_passes());
  for (size_t i = 0; i < kNumStages; ++i)
    json.push_back({{"stage", name_of(Stage(i))},
                    {"us_per_pass", costs.stages[i].seconds / n * 1e6},
                    {"bytes_per_pass", double(costs.stages[i].bytes) / n}});
  return json;
}

}  // namespace hunch::cli
