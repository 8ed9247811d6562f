// What a model computes and reads, as tables for a terminal, as JSON, and as a page.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/report/figure.h"
#include "measure/workload.h"

namespace hunch::cli {

struct WorkloadInfo {
  std::string model, command, machine, version;  // for people
  std::string type;                              // that most of the weights have
  Workload work;
  Roofline roof;
  std::string bandwidth_from, peak_from;                         // "measured: ...", "given"
  size_t n_ctx = 0, n_prompt = 0, n_sequences = 1, longest = 0;  // longest: a context that lengths go up to
  KvType kv;
  struct Device {
    std::string name;  // "24G"
    double bytes;
  };
  std::vector<Device> devices;

  // A step of n_sequences, each the last of n_ctx tokens; and one prompt of n_prompt.
  Pass decode() const { return {.n_sequences = n_sequences, .n_before = n_ctx - 1, .kv = kv}; }
  Pass prompt() const { return {.n_tokens = n_prompt, .kv = kv}; }
};

// Layers that are alike in everything that is counted, in the order of the first of each kind.
struct LayerGroup {
  LayerWork work;
  std::vector<size_t> layers;
  std::string numbers() const;  // "0-21", "0,6,12", "0,2,..,30"
};
std::vector<LayerGroup> layer_groups(const Workload& work);

// Powers of four from 256 up to the longest, and n_ctx among them. [at least 1, ascending]
std::vector<size_t> lengths_of(const WorkloadInfo& info);

std::string workload_tables(const WorkloadInfo& info);           // at most 80 columns
nlohmann::ordered_json workload_json(const WorkloadInfo& info);  // its keys are in docs/workload.md
std::vector<Figure> workload_figures(const WorkloadInfo& info);
std::string workload_page(const WorkloadInfo& info, const std::vector<Figure>& figures);

}  // namespace hunch::cli
