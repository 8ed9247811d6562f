// Tables of a workload, 80 columns wide.
#include <fmt/format.h>

#include <algorithm>

#include "cli/console.h"
#include "cli/report/workload_report.h"
#include "cli/table.h"
#include "formats/format.h"
#include "measure/workload_memory.h"

namespace hunch::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string digits(double v) { return v >= 9999.5 ? grouped(uint64_t(v + 0.5)) : fmt::format("{:.4g}", v); }
std::string turning(std::optional<size_t> n) { return n ? grouped(*n) : "never"; }

std::vector<std::string> line(std::string layers, std::string part, const Work& work, const Roofline& roof) {
  return {std::move(layers),
          std::move(part),
          digits(work.flops * 1e-6),
          digits(work.bytes * 1e-6),
          digits(work.intensity()),
          digits(roof.seconds(work) * 1e6),
          work.bytes == 0       ? ""
          : roof.computes(work) ? "compute"
                                : "memory"};
}

// One pass, layer group by layer group; the numbers are of one of its layers.
std::string pass_table(const WorkloadInfo& info, const Pass& pass, bool with_batch) {
  Rows rows = {{"layers", "part", "MFLOP", "MB", "FLOP/B", "us", "bound by"}};
  if (with_batch) rows[0].push_back("turns at");
  const auto add = [&](std::vector<std::string> cells, const std::string& batch) {
    if (with_batch) cells.push_back(batch);
    rows.push_back(std::move(cells));
  };
  for (const LayerGroup& group : layer_groups(info.work)) {
    std::string name = group.numbers();
    for (size_t p = 0; p < kNumParts; ++p) {
      const Work work = work_of(group.work, Part(p), pass);
      if (work.flops == 0 && work.bytes == 0) continue;
      add(line(name, name_of(Part(p)), work, info.roof), turning(turning_batch(group.work, Part(p), pass, info.roof)));
      name.clear();
    }
  }
  add(line("ends", "", ends_of(info.work, pass), info.roof), "");
  std::vector<std::string> all = line("all", "", work_of(info.work, pass), info.roof);
  all[5] = digits(seconds_of(info.work, pass, info.roof) * 1e6);  // parts one after the other
  add(std::move(all), turning(turning_batch(info.work, pass, info.roof)));
  return table(rows, {1});
}

std::string length_table(const WorkloadInfo& info) {
  Rows rows = {{"tokens", "keys, MB", "of the bytes", "tokens/s", "turns at", "of prompt FLOP"}};
  for (const size_t n : lengths_of(info)) {
    const Pass step{.n_sequences = info.n_sequences, .n_before = n - 1, .kv = info.kv};
    const Pass prompt{.n_tokens = n, .kv = info.kv};
    Work keys, attention;
    for (const LayerWork& layer : info.work.layers) {
      keys += work_of(layer, Part::kKeys, step);
      attention += work_of(layer, Part::kKeys, prompt);
    }
    rows.push_back({grouped(n), digits(keys.bytes * 1e-6), share_text(keys.bytes / work_of(info.work, step).bytes),
                    digits(double(info.n_sequences) / seconds_of(info.work, step, info.roof)),
                    turning(turning_batch(info.work, step, info.roof)),
                    share_text(attention.flops / work_of(info.work, prompt).flops)});
  }
  return table(rows);
}

std::string weights_table(const WorkloadInfo& info) {
  Rows rows = {{"weights", "bits", "memory", "tokens/s"}};
  for (const WorkloadInfo::Device& device : info.devices) rows[0].push_back("on " + device.name);
  const std::vector<double> cache = cache_need(info.work, info.kv, info.n_ctx, info.n_sequences);
  const auto add = [&](std::string name, std::string bits, const Workload& work) {
    const MemoryNeed need = weights_need(work);
    rows.push_back({std::move(name), std::move(bits), human_bytes(need.all()),
                    digits(double(info.n_sequences) / seconds_of(work, info.decode(), info.roof))});
    for (const WorkloadInfo::Device& device : info.devices) {
      const std::optional<size_t> n = n_devices(need, cache, device.bytes);
      rows.back().push_back(n ? std::to_string(*n) : "-");
    }
  };
  add("as they are", info.type, info.work);
  for (const StoredPrecision& p : precisions())
    add(fmt::format("{}, {}", p.name, name_of(p.dtype)), fmt::format("{:.2f}", p.bits()), in_precision(info.work, p));
  return table(rows);
}

std::string cache_table(const WorkloadInfo& info) {
  Rows rows = {
      {"keys and values", "bits", "of a token", fmt::format("of {} x {}", info.n_sequences, grouped(info.n_ctx))}};
  for (const StoredPrecision& p : cache_precisions()) {
    if (!cache_fits(info.work, p.dtype)) continue;
    double all = 0;
    for (const double layer : cache_need(info.work, p.dtype, info.n_ctx, info.n_sequences)) all += layer;
    rows.push_back({fmt::format("{}, {}", p.name, name_of(p.dtype)), fmt::format("{:.2f}", p.bits()),
                    human_bytes(cache_bytes_per_token(info.work, p.dtype)), human_bytes(all)});
  }
  return table(rows);
}

}  // namespace

std::vector<LayerGroup> layer_groups(const Workload& work) {
  std::vector<LayerGroup> groups;
  for (size_t l = 0; l < work.layers.size(); ++l) {
    const auto same = std::ranges::find(groups, work.layers[l], &LayerGroup::work);
    if (same == groups.end()) {
      groups.push_back({work.layers[l], {l}});
    } else {
      same->layers.push_back(l);
    }
  }
  return groups;
}

std::string LayerGroup::numbers() const {
  const size_t first = layers.front(), last = layers.back();
  if (layers.size() == 1) return std::to_string(first);
  if (last - first + 1 == layers.size()) return fmt::format("{}-{}", first, last);
  if (layers.size() <= 3) return fmt::format("{}", fmt::join(layers, ","));
  return fmt::format("{},{},..,{}", first, layers[1], last);
}

std::vector<size_t> lengths_of(const WorkloadInfo& info) {
  std::vector<size_t> lengths = {info.n_ctx};
  for (size_t n = 256; n <= std::max(info.longest, info.n_ctx); n *= 4) lengths.push_back(n);
  std::ranges::sort(lengths);
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  return lengths;
}

std::string workload_tables(const WorkloadInfo& info) {
  const Workload& w = info.work;
  std::string out = fmt::format(
      "machine: reads {:.1f} GB/s ({}),\n         multiplies {} GFLOP/s ({});\n         bound by computing from {:.3g} "
      "FLOP/B on\n",
      info.roof.bytes_per_s * 1e-9, info.bandwidth_from, digits(info.roof.flops_per_s * 1e-9), info.peak_from,
      info.roof.ridge());
  for (const LayerGroup& group : layer_groups(w))
    out += fmt::format("layers {}: {}; {}; {} weights each\n", group.numbers(), group.work.mixer, group.work.mlp,
                       human_count(double(group.work.weights())));
  out +=
      fmt::format("\ndecoding {}, with {} tokens in the cache ({})\n",
                  info.n_sequences == 1 ? "a token" : fmt::format("a token of each of {} sequences", info.n_sequences),
                  grouped(info.n_ctx), name_of(info.kv)) +
      pass_table(info, info.decode(), true);
  out += fmt::format("\na prompt of {} tokens\n", grouped(info.n_prompt)) + pass_table(info, info.prompt(), false);
  out += "\nby tokens in the cache; of the FLOP of a prompt of so many, those of attention\n" + length_table(info);
  const auto from = [](std::optional<size_t> n) { return n ? fmt::format("from {} tokens on", grouped(*n)) : "never"; };
  out += fmt::format("a step reads more keys than weights: {}\nattention exceeds the matrices in prompts: {}\n",
                     from(keys_outweigh_weights(w, info.kv)), from(attention_outweighs_matrices(w)));
  out += "\n" + weights_table(info) + "\n" + cache_table(info);
  if (const double state = state_bytes(w); state > 0)
    out += fmt::format("states of recurrent layers: {} a sequence, whatever its length\n", human_bytes(state));
  return out;
}

}  // namespace hunch::cli
