#include <nlohmann/json.hpp>

#include "cli/report/workload_report.h"
#include "formats/format.h"
#include "measure/workload_memory.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(std::optional<size_t> n) { return n ? Json(*n) : Json(); }

Json json_of(const Work& work, const Roofline& roof) {
  return {{"flops", work.flops},
          {"bytes", work.bytes},
          {"flops_per_byte", work.intensity()},
          {"us", roof.seconds(work) * 1e6},
          {"bound", work.bytes == 0 ? Json() : Json(roof.computes(work) ? "compute" : "memory")}};
}

Json parts_json(const LayerWork& layer, const Pass& pass, const Roofline& roof, bool with_batch) {
  Json json = Json::object();
  for (size_t p = 0; p < kNumParts; ++p) {
    const Work work = work_of(layer, Part(p), pass);
    if (work.flops == 0 && work.bytes == 0) continue;
    Json part = json_of(work, roof);
    if (with_batch) part["turns_at"] = or_null(turning_batch(layer, Part(p), pass, roof));
    json[name_of(Part(p))] = std::move(part);
  }
  return json;
}

Json pass_json(const WorkloadInfo& info, const Pass& pass) {
  Json json = json_of(work_of(info.work, pass), info.roof);
  json["us"] = seconds_of(info.work, pass, info.roof) * 1e6;
  json["ends"] = json_of(ends_of(info.work, pass), info.roof);
  return json;
}

Json weights_json(const WorkloadInfo& info, const Workload& work) {
  const MemoryNeed need = weights_need(work);
  Json devices = Json::object();
  for (const WorkloadInfo::Device& device : info.devices)
    devices[device.name] =
        or_null(n_devices(need, cache_need(info.work, info.kv, info.n_ctx, info.n_sequences), device.bytes));
  return {{"bytes", need.all()},
          {"tokens_per_s", double(info.n_sequences) / seconds_of(work, info.decode(), info.roof)},
          {"devices", devices}};
}

Json layers_json(const WorkloadInfo& info) {
  Json layers = Json::array();
  for (const LayerWork& layer : info.work.layers)
    layers.push_back({{"mixer", layer.mixer},
                      {"mlp", layer.mlp},
                      {"n_weights", layer.weights()},
                      {"bytes", layer.bytes()},
                      {"n_expert", layer.n_expert},
                      {"n_expert_used", layer.n_used},
                      {"window", layer.keys.window},
                      {"decode", parts_json(layer, info.decode(), info.roof, true)},
                      {"prompt", parts_json(layer, info.prompt(), info.roof, false)}});
  return layers;
}

Json lengths_json(const WorkloadInfo& info) {
  Json lengths = Json::array();
  for (const size_t n : lengths_of(info)) {
    const Pass step{.n_sequences = info.n_sequences, .n_before = n - 1, .kv = info.kv};
    const Pass prompt{.n_tokens = n, .kv = info.kv};
    Work keys, attention;
    for (const LayerWork& layer : info.work.layers) {
      keys += work_of(layer, Part::kKeys, step);
      attention += work_of(layer, Part::kKeys, prompt);
    }
    lengths.push_back({{"n_tokens", n},
                       {"key_bytes", keys.bytes},
                       {"step_bytes", work_of(info.work, step).bytes},
                       {"step_us", seconds_of(info.work, step, info.roof) * 1e6},
                       {"turns_at", or_null(turning_batch(info.work, step, info.roof))},
                       {"attention_flops", attention.flops},
                       {"prompt_flops", work_of(info.work, prompt).flops}});
  }
  return lengths;
}

Json memory_json(const WorkloadInfo& info) {
  Json weights = Json::array(), cache = Json::array();
  Json as_held = weights_json(info, info.work);
  as_held["type"] = nullptr;
  weights.push_back(std::move(as_held));
  for (const StoredPrecision& p : precisions()) {
    Json row = weights_json(info, in_precision(info.work, p));
    row["type"] = name_of(p.dtype);
    row["bits"] = p.bits();
    weights.push_back(std::move(row));
  }
  for (const StoredPrecision& p : cache_precisions()) {
    if (!cache_fits(info.work, p.dtype)) continue;
    double all = 0;
    for (const double layer : cache_need(info.work, p.dtype, info.n_ctx, info.n_sequences)) all += layer;
    cache.push_back({{"type", name_of(p.dtype)},
                     {"bits", p.bits()},
                     {"bytes_per_token", cache_bytes_per_token(info.work, p.dtype)},
                     {"bytes", all}});
  }
  return {{"weights", weights}, {"cache", cache}, {"state_bytes", state_bytes(info.work)}};
}

}  // namespace

Json workload_json(const WorkloadInfo& info) {
  return {{"model", info.model},
          {"machine",
           {{"bytes_per_s", info.roof.bytes_per_s},
            {"flops_per_s", info.roof.flops_per_s},
            {"flops_per_byte", info.roof.ridge()},
            {"bandwidth_from", info.bandwidth_from},
            {"peak_from", info.peak_from}}},
          {"n_ctx", info.n_ctx},
          {"n_prompt", info.n_prompt},
          {"n_sequences", info.n_sequences},
          {"kv", name_of(info.kv)},
          {"decode", pass_json(info, info.decode())},
          {"decode_turns_at", or_null(turning_batch(info.work, info.decode(), info.roof))},
          {"prompt", pass_json(info, info.prompt())},
          {"layers", layers_json(info)},
          {"lengths", lengths_json(info)},
          {"keys_outweigh_weights", or_null(keys_outweigh_weights(info.work, info.kv))},
          {"attention_outweighs_matrices", or_null(attention_outweighs_matrices(info.work))},
          {"memory", memory_json(info)}};
}

}  // namespace hunch::cli
