// Which selector speaks at which point of which layer. `dense` is the empty plan.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/memory.h"
#include "select/expert_selector.h"
#include "select/key_selector.h"
#include "select/prompt_pattern.h"
#include "select/vocab_screen.h"

namespace hunch {

// When a selector is shown its evidence.
enum class Look : uint8_t {
  kHere,               // at its point
  kAttention,          // before attention of its layer: a predictor of neurons looks ahead
  kPreviousAttention,  // before attention of the layer before: a predictor of heads looks ahead
};

struct PlanEntry {
  std::shared_ptr<const Selector> selector;  // none: everything
  Look look = Look::kHere;
};

// How a plan was made, where that can be said: whoever has the model makes the same one (model/plan_order.h).
struct PlanSource {
  std::filesystem::path sidecar = {};  // of "sparse"
  double density = 0;                  // Sidecar::plan()
  auto operator<=>(const PlanSource&) const = default;
};

// Copies are cheap and share the selectors.
class Plan {
 public:
  Plan() = default;  // dense
  // What needs no approximation: the neurons that ReLU made zero are left out.
  static Plan exact(const ModelConfig& config);

  // By hand: nobody knows how to make it again (`source`). For kInputs `part` says of which projections; else it does
  // not matter.
  void set(size_t layer, Point point, PlanEntry entry, InputPart part = InputPart::kAttention);
  const PlanEntry& at(size_t layer, Point point, InputPart part = InputPart::kAttention) const;
  // The cache of every layer that has one keeps what `keys` says; throws Error{kUsage} where none has. Where it chooses
  // heads, those stay that the plan's own selector keeps too, when that looks ahead: of what `keys` keep in the layer
  // before.
  void set_keys(const ModelConfig& config, std::shared_ptr<const KeySelector> keys);
  // Prompts read what the patterns say. Throws Error{kUsage} where no layer attends causally, or the patterns are of
  // another number of layers or heads.
  void set_prompts(const ModelConfig& config, std::shared_ptr<const PromptPatterns> prompts);
  // Every mixture's tokens go where `experts` says. Throws Error{kUsage} where the model has none.
  void set_experts(const ModelConfig& config, std::shared_ptr<const ExpertSelector> experts);
  // The vocabulary is the whole model's: the screen stands in the first layer's row.
  void set_screen(std::shared_ptr<const VocabScreen> screen);
  const VocabScreen* screen() const {
    return static_cast<const VocabScreen*>(at(0, Point::kVocabulary).selector.get());
  }
  // Whether any layer has a selector there.
  bool uses(Point point) const;
  bool empty() const { return layers_.empty(); }
  size_t n_layer() const { return layers_.size(); }

  std::string name = "dense";  // for people: dense, exact, sparse, ...
  // How to make its selectors but those of the setters above, whose texts say it; none: set() was called.
  std::optional<PlanSource> source = PlanSource();
  // Keys and values of heads that a token leaves out are computed only when a later token chooses the head, all that
  // are missing at once. Otherwise they are computed with their token.
  bool lazy_keys = false;
  // Who chooses cached tokens, in every layer; none: all stay.
  std::shared_ptr<const KeySelector> keys;
  // Whether cached tokens go, for good.
  bool drops_keys() const { return keys && keys->drops(); }
  // What queries of prompts read of the past; none: everything.
  std::shared_ptr<const PromptPatterns> prompts;
  // What attention looks into beside the cache; none: nothing.
  std::shared_ptr<const MemoryReader> memory;
  // Of what selectors point into.
  std::vector<std::shared_ptr<const void>> owners;

  // Where an entry of a layer lies, 0 to kSlots.
  static constexpr size_t kSlots = kNumPoints - 1 + kNInputParts;
  static constexpr size_t slot(Point point, InputPart part) {
    return point == Point::kInputs ? size_t(part) : kNInputParts + size_t(point) - 1;
  }

 private:
  void put(size_t layer, Point point, PlanEntry entry, InputPart part = InputPart::kAttention);

  std::vector<std::array<PlanEntry, kSlots>> layers_;
};

}  // namespace hunch
