// From a text to what stays of each layer.
#pragma once
#include "compress/block_walk.h"
#include "compress/channel_stats.h"
#include "compress/stand_ins.h"
#include "compress/structured.h"
#include "compress/unit_choice.h"

namespace hunch {

class StructuredWalk {
 public:
  // `options` and `progress` must outlive it. Throws as prune_structured.
  StructuredWalk(const Engine& engine, std::span<const int32_t> ids, const StructuredOptions& options,
                 const Progress& progress);

  // Fills report.layers, influence, n_tokens and the counts of weights. The engine's model is the same afterwards.
  void run(StructuredReport& report);

 private:
  void score(StructuredReport& report);
  void add_scores(const Layer& layer, const UnitObserver& seen);
  std::vector<double> channel_scores(const Linear& matrix, const ChannelStats& stats) const;
  void drop_layers(StructuredReport& report);
  void choose(StructuredReport& report);
  void compensate(StructuredReport& report);
  std::vector<float> without(std::unique_ptr<Linear>& slot, const std::vector<uint32_t>& kept, size_t unit,
                             const ChannelStats& stats);

  const Engine& engine_;
  const std::span<const int32_t> ids_;
  const StructuredOptions& options_;
  const Progress& progress_;
  std::vector<UnitSet> sets_;
  StandIns masked_;  // matrices without the columns of units that go, while a layer is computed with them
};

}  // namespace hunch
