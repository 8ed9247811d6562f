// A mixture of experts: each token goes to its n_expert_used most probable experts, or where the plan says, whose
// outputs are weighted by the router's probabilities; the tokens of one expert make one product (Shazeer et al. 2017).
#include "base/precision_scope.h"
#include "model/layer.h"

namespace hunch {

void Experts::operator()(Step& s, const LayerConfig& c, MatView<const float> router_x, MatView<const float> x,
                         MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope routing(s.compute, Stage::kRouting);
  const TokenGroup all = s.all();
  const size_t n = x.rows;
  const MatView<float> scores = s.take(n, experts.size());
  {
    const PrecisionScope exact(s.compute, Precision::kF32);  // near ties would go elsewhere, and nothing be gained
    router->dot(s.compute, all.traits, router_x, {}, scores);
  }
  if (s.observer) s.observer->on_router(c.index, scores);
  const std::span<const Route> routes = s.route(c.index, c.moe.gate(choice_bias), scores);

  s.read_experts(c.index, routes, router_x);

  const size_t width = c.moe.width(c.n_embd);
  const MatView<float> in = s.take(n, width), out = s.take(n, width);
  const MatView<float> read = latent_in ? s.take(n, width) : MatView<float>(), sum = latent_in ? s.take(n, width) : y;
  if (latent_in) latent_in->dot(s.compute, all.traits, x, {}, read);
  const MatView<const float> stream = latent_in ? MatView<const float>(read) : x;
  fill_rows(0.0f, sum);
  const std::span<uint32_t> tokens = s.compute.arena.take<uint32_t>(n);
  const std::span<TokenTraits> traits = s.compute.arena.take<TokenTraits>(n);
  for (size_t begin = 0, end = 0; begin < routes.size(); begin = end) {
    size_t k = 0;
    for (end = begin; end < routes.size() && routes[end].expert == routes[begin].expert; ++end, ++k) {
      tokens[k] = routes[end].token;
      traits[k] = all.traits[tokens[k]];
      copy_rows(stream.row_range(tokens[k], 1), in.row_range(k, 1));
    }
    const TokenGroup group{traits.first(k), tokens.first(k), routes[begin].expert};
    experts[group.expert](s, c, group, in.row_range(0, k), out.row_range(0, k));
    const float factor = factors.empty() ? 1.0f : factors[group.expert];
    for (size_t i = 0; i < k; ++i)
      add_rows(s.compute, factor * routes[begin + i].weight, out.row_range(i, 1), sum.row_range(tokens[i], 1));
  }
  if (latent_out) latent_out->dot(s.compute, all.traits, sum, {}, y);
  s.count_neurons(c.index, 0, uint64_t{n} * experts.size() * c.moe.n_ff);
  s.for_each_traced(all, c.index, [&](size_t, LayerUse& use) {
    use.experts.of = experts.size();
    use.neurons.of += experts.size() * c.moe.n_ff;
  });
  for (const Route& route : routes)
    if (LayerUse* use = s.traced(route.token, c.index)) ++use->experts.used;

  if (shared.n_ff == 0) return;
  const MatView<float> beside = latent_in ? s.take(n, c.n_embd) : out;
  shared(s, c, s.all(LinearId::kShared), x, beside);
  if (!shared_gate) return add_rows(s.compute, 1.0f, beside, y);
  const MatView<float> gates = s.take(n, 1);
  shared_gate->dot(s.compute, all.traits, x, {}, gates);
  add_gated_rows(gates, beside, y);
}

}  // namespace hunch
