#include "device/device_plan.h"

#include "base/error.h"
#include "device/put_weights.h"
#include "formats/format.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "select/selectors.h"
#include "vulkan/repack.h"

namespace hunch {
namespace {

constexpr Point kFollowed[] = {Point::kNeurons, Point::kLive, Point::kHeads};

const char* words_of(Point point) {
  switch (point) {
    case Point::kInputs: return "the inputs of products";
    case Point::kHeads: return "heads";
    case Point::kNeurons: return "neurons before they are computed";
    case Point::kLive: return "neurons by their gate";
    case Point::kKeys: return "cached tokens";
    case Point::kExperts: return "experts";
    case Point::kVocabulary: return "the vocabulary";
  }
  return "?";
}

// What of its predictor devices do not compute; empty: nothing.
std::string problem_of(const Predictor& predictor) {
  const auto unread = [](const WeightView& W) { return !vulkan::reads_format(W.dtype); };
  if (dynamic_cast<const HotSetPredictor*>(&predictor)) return "";
  if (const auto* linear = dynamic_cast<const LinearPredictor*>(&predictor))
    return unread(linear->W()) ? name_of(linear->W().dtype) : "";
  if (const auto* low_rank = dynamic_cast<const LowRankPredictor*>(&predictor)) {
    for (const WeightView* W : {&low_rank->weights().W_in, &low_rank->weights().W_out})
      if (unread(*W)) return name_of(W->dtype);
    return "";
  }
  return std::string(predictor.kind());
}

bool is_followed(Point point, const Selector& selector) {
  if (point == Point::kLive)
    return dynamic_cast<const ReluZeros*>(&selector) || dynamic_cast<const Magnitude*>(&selector);
  return (point == Point::kNeurons || point == Point::kHeads) && dynamic_cast<const Predicted*>(&selector);
}

// What an activation must exceed; none: nobody says.
std::optional<float> live_threshold(const PlanEntry& entry) {
  if (!entry.selector) return std::nullopt;
  const auto* magnitude = dynamic_cast<const Magnitude*>(entry.selector.get());
  return magnitude ? magnitude->threshold() : 0.0f;
}

}  // namespace

void DevicePlan::require(const Plan& plan, size_t first_layer) {
  if (plan.memory) fail(ErrorKind::kUnsupported, "a memory (memory) is not looked into on devices yet");
  if (plan.prompts) fail(ErrorKind::kUnsupported, "patterns of prompts (prefill) are not computed on devices yet");
  for (size_t layer = first_layer; layer < plan.n_layer(); ++layer)
    for (const Point point :
         {Point::kInputs, Point::kHeads, Point::kNeurons, Point::kLive, Point::kKeys, Point::kExperts})
      for (size_t part = 0; part < (point == Point::kInputs ? kNInputParts : 1); ++part) {
        const std::shared_ptr<const Selector>& selector = plan.at(layer, point, InputPart(part)).selector;
        if (!selector) continue;
        if (!is_followed(point, *selector))
          fail(ErrorKind::kUnsupported,
               "devices follow plans of exact zeros, of large activations and of predictors; the plan '{}' chooses {} "
               "(in "
               "layer {}, by '{}')",
               plan.name, words_of(point), layer, selector->kind());
        if (point == Point::kLive) continue;
        const Predictor& predictor = static_cast<const Predicted&>(*selector).predictor();
        if (const std::string problem = problem_of(predictor); !problem.empty())
          fail(ErrorKind::kUnsupported, "devices do not compute the predictor of {} in layer {}: it is '{}'",
               words_of(point), layer, problem);
      }
}

bool DevicePlan::restricts(const Plan& plan, size_t first_layer) {
  for (size_t layer = first_layer; layer < plan.n_layer(); ++layer)
    for (const Point point : kFollowed)
      if (plan.at(layer, point).selector) return true;
  return false;
}

bool DevicePlan::is(const Plan& plan) const {
  const auto predicted = [](const PlanEntry& entry) { return static_cast<const Predicted*>(entry.selector.get()); };
  if (plan.n_layer() != plan_.n_layer()) return false;
  for (size_t layer = first_layer_; layer < plan.n_layer(); ++layer)
    for (const Point point : kFollowed) {
      const PlanEntry &mine = plan_.at(layer, point), &its = plan.at(layer, point);
      if (bool(mine.selector) != bool(its.selector) || mine.look != its.look) return false;
      if (point == Point::kLive && live_threshold(mine) != live_threshold(its)) return false;
      if (point == Point::kLive || !mine.selector) continue;
      if (&predicted(mine)->predictor() != &predicted(its)->predictor() ||
          predicted(mine)->threshold() != predicted(its)->threshold())
        return false;
    }
  return true;
}

std::optional<DeviceChoice> DevicePlan::choice(const PlanEntry& entry, std::span<const uint32_t> order,
                                               vulkan::Uploader& uploader) {
  if (!entry.selector) return std::nullopt;
  const auto& predicted = static_cast<const Predicted&>(*entry.selector);
  const Predictor& predictor = predicted.predictor();
  DeviceChoice c;
  c.threshold = predicted.threshold();
  c.look = entry.look;
  c.n_out = uint32_t(predictor.n_out());
  const auto zeros = [&](size_t n) {
    const vulkan::Values values{arena_.take(vulkan::padded(n) * sizeof(float)), vulkan::padded(n)};
    uploader.fill_zero(values.piece);
    return values;
  };
  const auto ordered = [&](std::span<const float> values) {
    std::vector<float> own(values.begin(), values.end());
    for (size_t i = 0; i < order.size(); ++i) own[i] = values[order[i]];
    return own;
  };
  c.scores = zeros(c.n_out);
  if (const auto* hot = dynamic_cast<const HotSetPredictor*>(&predictor)) {
    const std::vector<float> scores = ordered(hot->scores());
    uploader.upload(std::as_bytes(std::span(scores)), c.scores.piece);
  } else if (const auto* linear = dynamic_cast<const LinearPredictor*>(&predictor)) {
    c.in = put_matrix(linear->W(), uploader, arena_, order);
    c.bias = uploader.upload(arena_, std::span<const float>(ordered(linear->bias())));
  } else {
    const auto& low_rank = static_cast<const LowRankPredictor&>(predictor);
    c.in = put_matrix(low_rank.weights().W_in, uploader, arena_);
    c.out = put_matrix(low_rank.weights().W_out, uploader, arena_, order);
    c.bias = uploader.upload(arena_, std::span<const float>(ordered(low_rank.weights().bias)));
    c.relu = low_rank.weights().relu;
    c.hidden = zeros(low_rank.rank());
  }
  return c;
}

DevicePlan::DevicePlan(const Plan& plan, size_t first_layer, std::span<const NeuronSplit> split,
                       const ModelConfig& config, std::shared_ptr<vulkan::Gpu> gpu)
    : plan_(plan), first_layer_(first_layer), arena_(gpu) {
  require(plan, first_layer);
  vulkan::Uploader uploader(gpu);
  layers_.resize(first_layer);
  for (size_t i = first_layer; i < config.n_layer; ++i) {
    DevicePlanLayer layer;
    layer.live = live_threshold(plan.at(i, Point::kLive));
    std::vector<uint32_t> order;
    if (!split.empty() && !split[i].cold.empty()) {
      order = split[i].hot;
      order.insert(order.end(), split[i].cold.begin(), split[i].cold.end());
    }
    layer.neurons = choice(plan.at(i, Point::kNeurons), order, uploader);
    layer.heads = choice(plan.at(i, Point::kHeads), {}, uploader);
    // Nobody looks ahead to the first layer: all of its heads count. (From a layer of the processor nobody looks ahead
    // to one of the device.)
    if (i == first_layer && layer.heads && layer.heads->look == Look::kPreviousAttention) layer.heads.reset();
    layers_.push_back(std::move(layer));
  }
}

}  // namespace hunch
