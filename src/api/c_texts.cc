// The C API: likelihoods and activations of texts.
#include "api/c_common.h"
#include "hunch/activations.h"
#include "hunch/evaluate.h"

using namespace hunch::c;

struct hunch_scorer {
  hunch::LikelihoodScorer scorer;
};
struct hunch_activations {
  hunch::Activations activations;
};

namespace {

int give_score(const hunch::Likelihood& found, double* log_likelihood, int* greedy) {
  *log_likelihood = found.log_likelihood;
  if (greedy) *greedy = found.greedy;
  return 0;
}

template <class T>
const T* pointer_to(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

extern "C" {

hunch_scorer* hunch_scorer_new(hunch_model* model, const hunch_evaluation_options* options) {
  return guarded<hunch_scorer*>(nullptr, [&] {
    require(model, "hunch_scorer_new: model is NULL");
    const hunch_evaluation_options c = take_sized(options, hunch_evaluation_options{});
    auto o = value_options<hunch::LikelihoodOptions>(c);
    o.n_ctx = c.n_ctx;
    return new hunch_scorer{hunch::LikelihoodScorer(model->model, o)};
  });
}

void hunch_scorer_free(hunch_scorer* scorer) { delete scorer; }

int hunch_score(hunch_scorer* scorer, const char* before, const char* continuation, double* log_likelihood,
                int* greedy) {
  return guarded(-1, [&] {
    require(scorer && before && continuation && log_likelihood, "hunch_score: a pointer is NULL");
    return give_score(scorer->scorer.score(before, continuation), log_likelihood, greedy);
  });
}

int hunch_score_ids(hunch_scorer* scorer, const int32_t* before, size_t n_before, const int32_t* continuation,
                    size_t n_continuation, double* log_likelihood, int* greedy) {
  return guarded(-1, [&] {
    require(scorer && log_likelihood, "hunch_score_ids: a pointer is NULL");
    return give_score(scorer->scorer.score(ids_of(before, n_before), ids_of(continuation, n_continuation)),
                      log_likelihood, greedy);
  });
}

hunch_activations* hunch_activations_new(hunch_model* model, const int32_t* ids, size_t n_ids,
                                         const hunch_evaluation_options* options) {
  return guarded<hunch_activations*>(nullptr, [&] {
    require(model, "hunch_activations_new: model is NULL");
    const hunch_evaluation_options c = take_sized(options, hunch_evaluation_options{});
    return new hunch_activations{
        hunch::activations(model->model, ids_of(ids, n_ids), value_options<hunch::ActivationOptions>(c))};
  });
}

void hunch_activations_free(hunch_activations* activations) { delete activations; }

int hunch_activations_layer_sized(const hunch_activations* activations, size_t layer, hunch_layer_activations* out,
                                  size_t size) {
  return guarded(-1, [&] {
    require(activations && out, "hunch_activations_layer: a pointer is NULL");
    require(layer < activations->activations.layers.size(), "hunch_activations_layer: there is no such layer");
    const hunch::LayerActivations& l = activations->activations.layers[layer];
    hunch_layer_activations full{};
    full.n_ff = l.n_ff;
    full.n_kv_head = l.n_kv_head;
    full.n_head = l.n_head;
    full.n_expert = l.n_expert;
    full.activations = pointer_to(l.activations);
    full.neurons = pointer_to(l.neurons);
    full.head_groups = pointer_to(l.head_groups);
    full.head_norms = pointer_to(l.head_norms);
    full.router = pointer_to(l.router);
    give_sized(full, out, size);
    return 0;
  });
}

}  // extern "C"
