// Figures of a workload.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.h"
#include "cli/report/svg.h"
#include "cli/report/workload_report.h"
#include "formats/format.h"
#include "measure/workload_memory.h"

namespace hunch::cli {
namespace {

// Powers of ten from below the least to above the largest; every which-th where there are many.
ChartAxis decades(std::string label, double least, double largest) {
  const int from = int(std::floor(std::log10(least))), to = std::max(from + 1, int(std::ceil(std::log10(largest))));
  const int step = (to - from + 7) / 8;
  std::vector<double> ticks;
  for (int e = from; e <= to; e += step) ticks.push_back(std::pow(10.0, e));
  return log_axis(std::move(label), std::pow(10.0, from), std::pow(10.0, to), ticks);
}

// Ticks at powers of two or four, in tokens or sequences.
ChartAxis powers(std::string label, size_t least, size_t largest) {
  std::vector<double> ticks;
  for (size_t n = least; n <= largest; n *= largest / least > 256 ? 4 : 2) ticks.push_back(double(n));
  return log_axis(std::move(label), double(least), double(std::max(largest, least + 1)), ticks);
}

Figure roofline_figure(const WorkloadInfo& info) {
  const Roofline& roof = info.roof;
  Figure f{"roofline", "", "", ""};
  const Work step = work_of(info.work, info.decode()), prompt = work_of(info.work, info.prompt());
  f.title =
      fmt::format("Decoding is bound by {}, a prompt of {} tokens by {}", roof.computes(step) ? "computing" : "memory",
                  grouped(info.n_prompt), roof.computes(prompt) ? "computing" : "memory");
  f.text = fmt::format(
      "The roofline (Williams et al. 2009): with so many operations per byte that is read, no more than so many "
      "operations per second are possible. Left of the edge at {:.3g} memory is the limit, right of it the arithmetic. "
      "Each point is a part of a kind of layer, where it would lie if nothing else held it up.",
      roof.ridge());
  std::vector<Series> series = {{"limit of the machine", {}, {}, {}, {}, {}, 5, false, false}};
  std::vector<Series> points;
  double least = roof.ridge(), largest = roof.ridge();
  size_t color = 0;
  for (const auto& [name, pass] :
       {std::pair<const char*, Pass>{"decoding", info.decode()}, {"prompt", info.prompt()}}) {
    for (size_t p = 0; p < kNumParts; ++p) {
      Series s{p == 0 ? name : "", {}, {}, {}, {}, {}, color};
      for (const LayerGroup& group : layer_groups(info.work)) {
        const Work work = work_of(group.work, Part(p), pass);
        if (work.flops == 0 || work.bytes == 0) continue;
        const double at = work.intensity(), rate = std::min(roof.flops_per_s, at * roof.bytes_per_s);
        least = std::min(least, at), largest = std::max(largest, at);
        s.x = {at}, s.y = {rate * 1e-9};
        s.hover = {fmt::format("{}, layers {}, {}: {:.3g} FLOP/B, at most {:.4g} GFLOP/s, {:.4g} us, bound by {}", name,
                               group.numbers(), name_of(Part(p)), at, rate * 1e-9, roof.seconds(work) * 1e6,
                               roof.computes(work) ? "computing" : "memory")};
        points.push_back(s);
        s.name.clear();
      }
    }
    ++color;
  }
  ChartAxis x = decades("FLOP per byte", least, largest * 2);
  if (x.ticks.back() >= 1e4) x.ticks.pop_back();  // its label would not fit at the edge
  for (const double at : {x.low, roof.ridge(), x.high}) {
    const double rate = std::min(roof.flops_per_s, at * roof.bytes_per_s) * 1e-9;
    series[0].x.push_back(at), series[0].y.push_back(rate);
    series[0].hover.push_back(fmt::format("limit at {:.3g} FLOP/B: {:.4g} GFLOP/s", at, rate));
  }
  series.insert(series.end(), points.begin(), points.end());
  f.svg = line_chart(x, decades("GFLOP/s", series[0].y.front(), roof.flops_per_s * 1e-9), series);
  return f;
}

Figure batch_figure(const WorkloadInfo& info) {
  constexpr size_t kMostSequences = 1024;
  Figure f{"batch", "", "", ""};
  const std::optional<size_t> turns = turning_batch(info.work, info.decode(), info.roof);
  f.title = turns ? fmt::format("From {} sequences on a step is bound by computing", grouped(*turns))
                  : "However many sequences decode together, memory stays the limit";
  f.text = fmt::format(
      "Tokens per second of all sequences together, if every part ran at its limit. A step reads the weights once for "
      "all, but the keys and values of each, so that long contexts gain less from company: dashed, with an empty "
      "cache.{}",
      turns ? "" : " Here the keys of each sequence take longer to read than its token takes to compute.");
  std::vector<Series> series;
  double least = 1e300, largest = 0;
  for (const bool empty : {false, true}) {
    Series s{empty ? "nothing in the cache" : fmt::format("{} tokens in the cache", grouped(info.n_ctx)),
             {},
             {},
             {},
             {},
             {},
             size_t(empty),
             empty};
    for (size_t n = 1; n <= kMostSequences; n *= 2) {
      Pass pass = info.decode();
      pass.n_sequences = n;
      if (empty) pass.n_before = 0;
      const double rate = double(n) / seconds_of(info.work, pass, info.roof);
      s.x.push_back(double(n)), s.y.push_back(rate);
      s.hover.push_back(fmt::format("{} sequences, {}: at most {:.4g} tokens/s", n, s.name, rate));
      least = std::min(least, rate), largest = std::max(largest, rate);
    }
    series.push_back(std::move(s));
  }
  f.svg = line_chart(powers("sequences that decode together", 1, kMostSequences), decades("tokens/s", least, largest),
                     series);
  return f;
}

Figure length_figure(const WorkloadInfo& info) {
  Figure f{"lengths", "", "", ""};
  const std::optional<size_t> outweigh = attention_outweighs_matrices(info.work);
  f.title = outweigh ? fmt::format("Attention costs more than the matrices in prompts of {} tokens or more",
                                   grouped(*outweigh))
                     : "Attention never costs more than the matrices";
  f.text =
      "Shares by length: of the operations of a whole prompt those of attention itself (queries times keys, weights "
      "times values), and of the bytes of a decoding step those of cached keys and values.";
  Series flops{"attention, of a prompt's operations", {}, {}, {}, {}, {}, 0},
      bytes{"keys, of a step's bytes", {}, {}, {}, {}, {}, 1};
  for (const size_t n : lengths_of(info)) {
    const Pass step{.n_sequences = info.n_sequences, .n_before = n - 1, .kv = info.kv},
        prompt{.n_tokens = n, .kv = info.kv};
    Work keys, attention;
    for (const LayerWork& layer : info.work.layers)
      keys += work_of(layer, Part::kKeys, step), attention += work_of(layer, Part::kKeys, prompt);
    const double of_flops = attention.flops / work_of(info.work, prompt).flops,
                 of_bytes = keys.bytes / work_of(info.work, step).bytes;
    flops.x.push_back(double(n)), flops.y.push_back(100 * of_flops);
    bytes.x.push_back(double(n)), bytes.y.push_back(100 * of_bytes);
    flops.hover.push_back(fmt::format("prompt of {} tokens: attention {:.1f} % of the operations", n, 100 * of_flops));
    bytes.hover.push_back(fmt::format("{} tokens in the cache: keys {:.1f} % of the bytes", n, 100 * of_bytes));
  }
  const std::vector<size_t> lengths = lengths_of(info);
  f.svg = line_chart(powers("tokens", std::min<size_t>(256, lengths.front()), lengths.back()),
                     linear_axis("share, %", 100), {flops, bytes});
  return f;
}

Figure layers_figure(const WorkloadInfo& info) {
  Figure f{"layers", "", "", ""};
  const size_t n = info.work.layers.size();
  std::vector<Series> series;
  double most = 0, all = 0, keys = 0;
  for (size_t p = 0; p < kNumParts; ++p) {
    Series s{name_of(Part(p)), {}, {}, {}, {}, {}, p};
    bool any = false;
    for (size_t l = 0; l < n; ++l) {
      const Work work = work_of(info.work.layers[l], Part(p), info.decode());
      const double mb = work.bytes * 1e-6;
      any = any || mb > 0;
      most = std::max(most, mb), all += mb;
      if (Part(p) == Part::kKeys) keys += mb;
      s.x.push_back(double(l)), s.y.push_back(mb > 0 ? mb : NAN);
      s.hover.push_back(
          fmt::format("layer {}, {}: {:.4g} MB, {:.4g} MFLOP", l, name_of(Part(p)), mb, work.flops * 1e-6));
    }
    if (any) series.push_back(std::move(s));
  }
  f.title = fmt::format("A step reads {} of the layers' weights and states and {} of keys",
                        human_bytes((all - keys) * 1e6), human_bytes(keys * 1e6));
  f.text = fmt::format("What a decoding step reads of each layer, with {} tokens in the cache.", grouped(info.n_ctx));
  f.svg = line_chart(layer_axis(n), linear_axis("MB", most), series);
  return f;
}

Figure memory_figure(const WorkloadInfo& info) {
  Figure f{"memory", "", "", ""};
  const std::vector<size_t> lengths = lengths_of(info);
  std::vector<Series> series;
  double least = 1e300, largest = 0;
  size_t color = 0;
  for (const StoredPrecision& p : precisions()) {
    if (p.dtype != DType::kF16 && p.dtype != DType::kQ8_0 && p.dtype != DType::kQ4_K && p.dtype != DType::kQ2_K)
      continue;
    const double weights = weights_need(in_precision(info.work, p)).all();
    Series s{fmt::format("weights of {}", p.name), {}, {}, {}, {}, {}, color++};
    for (const size_t n : lengths) {
      double all = weights;
      for (const double layer : cache_need(info.work, info.kv, n, info.n_sequences)) all += layer;
      s.x.push_back(double(n)), s.y.push_back(all * 1e-9);
      s.hover.push_back(fmt::format("{} and {} x {} tokens: {}", s.name, info.n_sequences, n, human_bytes(all)));
      least = std::min(least, all * 1e-9), largest = std::max(largest, all * 1e-9);
    }
    series.push_back(std::move(s));
  }
  std::string fitting;
  const double now = weights_need(info.work).all() +
                     cache_bytes_per_token(info.work, info.kv) * double(info.n_ctx) * double(info.n_sequences);
  for (const WorkloadInfo::Device& d : info.devices) {
    if (fitting.empty() && now <= d.bytes) fitting = d.name;
    if (d.bytes * 1e-9 < least / 3 || d.bytes * 1e-9 > largest * 3) continue;
    const double y = d.bytes * 1e-9;
    series.push_back({"",
                      {double(lengths.front()), double(lengths.back())},
                      {y, y},
                      {},
                      {},
                      {fmt::format("a device of {}", d.name), fmt::format("a device of {}", d.name)},
                      5,
                      true,
                      false});
    least = std::min(least, y), largest = std::max(largest, y);
  }
  f.title = fmt::format("As it is, with {} in the cache, the model takes {}{}", grouped(info.n_ctx), human_bytes(now),
                        fitting.empty() ? "" : fmt::format(" and fits on a device of {}", fitting));
  f.text = fmt::format(
      "Weights and the caches ({}) of {} sequence{}, by length. Dashed: the sizes of devices, where they lie near. "
      "Scratch "
      "memory is not counted.",
      name_of(info.kv), info.n_sequences, info.n_sequences == 1 ? "" : "s");
  f.svg = line_chart(powers("tokens in the cache", std::min<size_t>(256, lengths.front()), lengths.back()),
                     decades("GB", least, largest), series);
  return f;
}

}  // namespace

std::vector<Figure> workload_figures(const WorkloadInfo& info) {
  return {roofline_figure(info), batch_figure(info), length_figure(info), layers_figure(info), memory_figure(info)};
}

}  // namespace hunch::cli
