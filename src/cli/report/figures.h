// A trace told in figures: each has a title that states what the numbers say.
#pragma once
#include <string>
#include <vector>

#include "cli/report/figure.h"
#include "measure/trace.h"

namespace hunch::cli {

struct ReportInfo {
  std::string model, text_name;      // as people call them
  std::string activation;            // "relu", "silu, gated"
  std::string command;               // that made the report
  std::string machine;               // hunch's version, processor, SIMD target and threads
  std::vector<std::string> excerpt;  // the text of each token of Trace::excerpt
};

// All figures, in the order of the story.
std::vector<Figure> make_figures(const Trace& trace, const ReportInfo& info);

// The parts of it, by subject.
void add_mlp_figures(const Trace& trace, const ReportInfo& info, std::vector<Figure>& out);
void add_attention_figures(const Trace& trace, const ReportInfo& info, std::vector<Figure>& out);
void add_stream_figures(const Trace& trace, std::vector<Figure>& out);
Figure oracle_figure(const Trace& trace);

// "12 %", "3.4 %", "0.2 %": a share in [0, 1] with two digits that count.
std::string percent(double share);
// Mean over layers of a number of each.
template <class Of>
double mean_over_layers(const Trace& trace, Of&& of) {
  double sum = 0;
  for (const LayerTrace& layer : trace.layers) sum += of(layer);
  return trace.layers.empty() ? 0.0 : sum / double(trace.layers.size());
}
// "neurons" or "experts"; a model with both is told by its experts.
const char* unit_name(const Trace& trace);

}  // namespace hunch::cli
