#include "compress/prompt_fit.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "engine/context.h"
#include "model/observer.h"
#include "select/prompt_key_lists.h"
#include "select/prompt_neurons.h"
#include "select/prompt_selector.h"

namespace hunch {
namespace {

constexpr size_t kBlock = PromptPattern::kQueryBlock;

// Looks at the last two whole blocks of queries of every chunk.
class PromptRecorder final : public Observer {
 public:
  PromptRecorder(const Engine& engine, Context& context, const PromptFitOptions& options)
      : engine_(engine), context_(context), options_(options), candidates_(candidate_patterns(options.budget)) {
    for (const LayerConfig& l : engine.config().layers)
      sums_.emplace_back(looks_at(l) ? l.n_kv_head * candidates_.size() : 0);
    n_blocks_.resize(sums_.size());
  }

  void on_attention(size_t layer, MatView<const float> q, MatView<const float>, MatView<const float>) override {
    const LayerConfig& c = engine_.config().layers[layer];
    if (!looks_at(c)) return;
    const KvView view = context_.sequence().cache().view(context_.sequence().id(), c.keys_from);
    const size_t end = view.n_tokens, first = end - q.rows;
    if (end % kBlock != 0 || q.rows < kBlock || end - kBlock <= options_.budget) return;
    AttentionParams params;
    params.scale = c.attn_scale, params.soft_cap = c.attn_soft_cap, params.alibi_slopes = c.alibi_slopes;
    const PromptChunk chunk{layer, q, c.n_head, first, params, view};
    for (size_t block = end - kBlock; block + 2 * kBlock >= end && block >= first && block > options_.budget;
         block -= kBlock)
      look(chunk, c, block);
  }

  // Of every block of the window's tokens: what those neurons that a few of its tokens use most hold of the others'.
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> act) override {
    constexpr size_t kTokens = PromptNeurons::kBlock;
    if (options_.neuron_recall == 0 || !place.is_dense() || !place.tokens.empty()) return;
    const size_t end = context_.sequence().cache().n_tokens(context_.sequence().id()), first = end - act.rows;
    neurons_.resize(sums_.size());
    for (size_t t = (kTokens - first % kTokens) % kTokens; t + kTokens <= act.rows; t += kTokens) {
      const MatView<const float> block = act.row_range(t, kTokens);
      ++neurons_[place.layer].n_blocks;
      statistic_.clear();  // as PromptNeurons::choose(), once for all shares
      statistic_.add(*engine_.compute, PromptNeurons::telling(block));
      for (size_t i = 1; i < kNeuronShares; ++i) {
        Rows chosen;
        statistic_.select(n_kept(double(i) / kNeuronShares, block.cols), chosen);
        neurons_[place.layer].recall[i] += recall_of(block, chosen);
      }
    }
  }

  PromptFit result() const {
    PromptFit fit;
    for (const NeuronSums& layer : neurons_) {  // a layer without neurons of its own leaves nothing out
      size_t i = 1;
      while (i < kNeuronShares && layer.recall[i] < options_.neuron_recall * double(layer.n_blocks)) ++i;
      fit.neurons.push_back(layer.n_blocks ? double(i) / kNeuronShares : 1);
    }
    for (size_t l = 0; l < sums_.size(); ++l) {
      auto& heads = fit.heads.emplace_back();
      const size_t n_heads = sums_[l].size() / candidates_.size();
      for (size_t head = 0; n_blocks_[l] > 0 && head < n_heads; ++head) {
        const double* const own = &sums_[l][head * candidates_.size()];
        const size_t best = size_t(std::max_element(own, own + candidates_.size()) - own);
        const double recall = own[best] / double(n_blocks_[l]);
        heads.push_back(recall < options_.least_recall ? FittedPattern{{}, 1}
                                                       : FittedPattern{candidates_[best], recall});
      }
      fit.n_blocks = std::max(fit.n_blocks, n_blocks_[l]);
    }
    return fit;
  }

 private:
  static bool looks_at(const LayerConfig& c) { return c.has_attention() && c.window == 0 && c.causal; }

  // What each key of the block's queries got, of all, and the share of that which each candidate's keys have.
  void look(const PromptChunk& chunk, const LayerConfig& c, size_t block) {
    Compute& compute = *engine_.compute;
    const Arena::Scope scope(compute.arena);
    const size_t n_heads = chunk.view.n_kv_head, end = block + kBlock, row = block - chunk.first_position;
    const MatView<float> weights(compute.arena.take<float>(n_heads * chunk.view.n_tokens).data(), n_heads,
                                 chunk.view.n_tokens);
    std::fill_n(weights.data, weights.rows * weights.cols, 0.0f);
    const MatView<float> unused(compute.arena.take<float>(kBlock * chunk.Q.cols).data(), kBlock, chunk.Q.cols);
    AttentionSpan span{chunk.view, 0, kBlock, block};
    span.key_weights = weights;
    attention(compute, chunk.Q.row_range(row, kBlock), c.n_head, {&span, 1}, chunk.params, unused);
    for (size_t i = 0; i < candidates_.size(); ++i) {
      AttentionSpan asked{chunk.view, 0, kBlock, block};
      limit_prompt(compute, PromptPatterns(candidates_[i]), chunk, {&asked, 1}, lists_);
      for (size_t head = 0; head < n_heads; ++head) {
        double all = 0, kept = 0;
        for (size_t j = 0; j < end; ++j) all += weights.row(head)[j];
        asked.keys[head].for_each([&](size_t j) { kept += j < end ? weights.row(head)[j] : 0.0f; });
        sums_[c.index][head * candidates_.size() + i] += all > 0 ? kept / all : 1;
      }
    }
    ++n_blocks_[c.index];
  }

  // The mean over tokens of the share of their squares that these neurons have.
  static double recall_of(MatView<const float> Z, const Rows& chosen) {
    double recall = 0;
    for (size_t t = 0; t < Z.rows; ++t) {
      double all = 0, kept = 0;
      for (const float z : Z.row(t)) all += double(z) * z;
      chosen.for_each([&](size_t j) { kept += double(Z.row(t)[j]) * Z.row(t)[j]; });
      recall += all > 0 ? kept / all : 1;
    }
    return recall / double(Z.rows);
  }

  struct NeuronSums {
    size_t n_blocks = 0;
    std::array<double, kNeuronShares> recall = {};  // by eighths of the neurons, over blocks
  };
  std::vector<NeuronSums> neurons_;  // [n_layer]
  PromptStatistic statistic_;

  const Engine& engine_;
  Context& context_;
  const PromptFitOptions options_;
  const std::vector<PromptPattern> candidates_;
  std::vector<std::vector<double>> sums_;  // [n_layer][n_kv_head][candidates]
  std::vector<size_t> n_blocks_;           // [n_layer]
  std::vector<Rows> lists_;
};

}  // namespace

std::vector<PromptPattern> candidate_patterns(size_t budget) {
  std::vector<PromptPattern> all;
  const auto add = [&](const std::string& text) { all.push_back(prompt_pattern_from(text)); };
  const size_t sinks = std::min<size_t>(64, budget / 4);
  add(fmt::format("a-shape:{},sinks={}", budget, sinks));
  for (const char* share : {"0.125", "0.5", "0.875"})
    add(fmt::format("vertical-slash:{},sinks={},verticals={}", budget, std::min<size_t>(32, budget / 4), share));
  add(fmt::format("blocks:{}", budget));
  return all;
}

std::shared_ptr<const PromptPatterns> PromptFit::patterns() const {
  std::vector<std::vector<PromptPattern>> all;
  for (const auto& layer : heads) {
    auto& own = all.emplace_back();
    for (const FittedPattern& head : layer) own.push_back(head.pattern);
  }
  auto patterns = std::make_shared<PromptPatterns>(std::move(all));
  patterns->set_neurons(neurons);
  return patterns;
}

PromptFit fit_prompts(const Engine& engine, std::span<const int32_t> ids, const PromptFitOptions& options,
                      const Progress& progress) {
  candidate_patterns(options.budget);  // may throw
  if (!(options.least_recall >= 0 && options.least_recall <= 1))
    fail(ErrorKind::kUsage, "the least recall is {}, expected a share from 0 to 1", options.least_recall);
  if (!(options.neuron_recall >= 0 && options.neuron_recall <= 1))
    fail(ErrorKind::kUsage, "the least recall of neurons is {}, expected a share from 0 to 1", options.neuron_recall);
  ids = ids.first(std::min(ids.size(), options.max_tokens));
  const size_t n_ctx = std::min<size_t>(engine.config().n_ctx_train, 4096) / kBlock * kBlock;
  const size_t longest = std::min(n_ctx, ids.size() / kBlock * kBlock);
  if (longest < options.budget + 2 * kBlock)
    fail(ErrorKind::kUsage,
         "patterns of {} keys say nothing about prompts of {} tokens, which is what {} has; expected at least {}: a "
         "smaller budget{}",
         options.budget, longest, n_ctx <= longest ? "the model's context" : "the text", options.budget + 2 * kBlock,
         n_ctx <= longest ? "" : " or a longer text");
  ContextOptions own;
  own.n_ctx = n_ctx;
  own.mode = "dense";
  Context context(engine, own);
  PromptRecorder recorder(engine, context, options);
  context.set_observer(&recorder);
  const size_t n_windows = std::max<size_t>(1, ids.size() / n_ctx);
  for (size_t w = 0; w < n_windows; ++w) {
    engine.compute->throw_if_stopped();
    const std::span<const int32_t> window = ids.subspan(w * n_ctx, std::min(n_ctx, ids.size() - w * n_ctx));
    context.truncate(0);
    context.append(window.first(window.size() / kBlock * kBlock));
    if (progress) progress("prompts", w + 1, n_windows);
  }
  context.set_observer(nullptr);
  PromptFit fit = recorder.result();
  if (options.neuron_recall > 0 && fit.neurons.empty())
    fail(ErrorKind::kUnsupported,
         "no layer of this model has neurons that all tokens share: there is no share of them to find");
  fit.n_ctx = n_ctx;
  return fit;
}

}  // namespace hunch
