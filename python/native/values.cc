// Numbers of a text: logits, hidden states, vectors, activations, perplexity, likelihoods.
#include <hunch/activations.h>
#include <hunch/embed.h>
#include <hunch/evaluate.h>
#include <pybind11/stl.h>

#include "arrays.h"
#include "model.h"

namespace hunch::python {
namespace {

using hunch::LanguageModel;
using Size = py::ssize_t;

py::array logits(const HeldModel& held, const py::object& text, const py::kwargs& given) {
  hunch::LogitsOptions options;
  take_options(options, given, compute_options<hunch::LogitsOptions>(), "logits");
  const Prompt asked(text, "text");
  hunch::Logits found = with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    return hunch::logits(model, asked.of(model), options);
  });
  return array_of(std::move(found.values), {Size(found.n_tokens), Size(found.n_vocab)});
}

// ---- Activations

struct Layer {
  py::object activations = py::none(), neurons = py::none(), head_groups = py::none(), head_norms = py::none(),
             router = py::none();
};

struct Seen {
  std::vector<std::int32_t> ids;
  std::vector<Layer> layers;
};

Layer layer_of(hunch::LayerActivations&& l, Size n_tokens) {
  Layer out;
  if (l.n_ff > 0) {
    out.activations = array_of(std::move(l.activations), {n_tokens, Size(l.n_ff)}, py::dtype("float16"));
    out.neurons = array_of(std::move(l.neurons), {n_tokens, Size(l.n_ff)}, py::dtype::of<bool>());
  }
  if (!l.head_groups.empty())
    out.head_groups = array_of(std::move(l.head_groups), {n_tokens, Size(l.n_kv_head)}, py::dtype::of<bool>());
  if (!l.head_norms.empty()) out.head_norms = array_of(std::move(l.head_norms), {n_tokens, Size(l.n_head)});
  if (!l.router.empty()) out.router = array_of(std::move(l.router), {n_tokens, Size(l.n_expert)});
  return out;
}

Seen activations(const HeldModel& held, const py::object& text, const py::kwargs& given) {
  hunch::ActivationOptions options;
  take_options(options, given, compute_options<hunch::ActivationOptions>(), "activations");
  const Prompt asked(text, "text");
  Seen out;
  hunch::Activations found = with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    out.ids = asked.of(model);
    return hunch::activations(model, out.ids, options);
  });
  for (hunch::LayerActivations& layer : found.layers)
    out.layers.push_back(layer_of(std::move(layer), Size(found.n_tokens)));
  return out;
}

// ---- Vectors

template <class T>
OptionTable<T> adapter_option() {
  return {option<T, &T::adapters>("adapters", "list of LoRA adapters; []: none (default: the model's)")};
}

py::array hidden_states(const HeldModel& held, const py::object& text, const py::kwargs& given) {
  hunch::HiddenStateOptions options;
  take_options(options, given, adapter_option<hunch::HiddenStateOptions>(), "hidden_states");
  const Prompt asked(text, "text");
  hunch::HiddenStates found = with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    return hunch::hidden_states(model, asked.of(model), options);
  });
  return array_of(std::move(found.values), {Size(found.n_tokens), Size(found.n_embd)});
}

OptionTable<hunch::EmbeddingOptions> embedding_options() {
  using E = hunch::EmbeddingOptions;
  return OptionTable<E>{{"pooling", "\"mean\", \"last\" or \"cls\" (default: as the model's file says)",
                         [](E& options, py::handle value, std::string_view name) {
                           std::string word;
                           read(value, name, word);
                           if (word != "mean" && word != "last" && word != "cls")
                             fail_value(name, "\"mean\", \"last\" or \"cls\"", value);
                           options.pooling = word == "mean"   ? hunch::Pooling::kMean
                                             : word == "last" ? hunch::Pooling::kLast
                                                              : hunch::Pooling::kCls;
                         }},
                        option<E, &E::normalize>("normalize", "to length 1 (True)")} +
         adapter_option<E>();
}

py::array embed(const HeldModel& held, const py::object& text, const py::kwargs& given) {
  hunch::EmbeddingOptions options;
  take_options(options, given, embedding_options(), "embed");
  std::vector<std::string> texts;
  read(text, "text", texts);
  const std::vector<std::vector<float>> found = with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    return hunch::embed_all(model, texts, options);
  });
  if (is_text(text)) return array_of(found[0], {Size(found[0].size())});
  std::vector<float> rows;
  for (const std::vector<float>& row : found) rows.insert(rows.end(), row.begin(), row.end());
  return array_of(std::move(rows), {Size(found.size()), Size(held->info.n_embd)});
}

py::array rerank(const HeldModel& held, const py::object& query, const py::object& documents, const py::kwargs& given) {
  hunch::HiddenStateOptions options;
  take_options(options, given, adapter_option<hunch::HiddenStateOptions>(), "rerank");
  std::string asked;
  read(query, "query", asked);
  if (is_text(documents)) fail_type("documents", "texts, a list of str", documents);
  std::vector<std::string> texts;
  read(documents, "documents", texts);
  std::vector<float> scores = with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    return hunch::rerank(model, asked, texts, options);
  });
  const auto n = Size(scores.size());
  return array_of(std::move(scores), {n});
}

// ---- Likelihoods

OptionTable<hunch::TextPerplexityOptions> perplexity_options() {
  using P = hunch::TextPerplexityOptions;
  return OptionTable<P>{
             option<P, &P::n_ctx>("n_ctx", "tokens per window; 0: the trained context, at most 2048 (0)"),
             option<P, &P::stride>("stride", "from a window's beginning to the next one's; 0: half of n_ctx (0)"),
             option<P, &P::max_tokens>("max_tokens", "score the first so many tokens; 0: all (0)")} +
         compute_options<P>();
}

hunch::TextPerplexity perplexity(const HeldModel& held, const py::object& text, const py::kwargs& given) {
  hunch::TextPerplexityOptions options;
  take_options(options, given, perplexity_options(), "perplexity");
  std::string words;
  read(text, "text", words);
  return with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    return hunch::perplexity(model, words, options);
  });
}

OptionTable<hunch::LikelihoodOptions> likelihood_options() {
  using L = hunch::LikelihoodOptions;
  return OptionTable<L>{
             option<L, &L::n_ctx>("n_ctx", "tokens; 0: the model's own, or the trained context, at most 2048 (0)")} +
         compute_options<L>();
}

class Scorer {
 public:
  Scorer(const HeldModel& held, const py::kwargs& given) : held_(held) {
    hunch::LikelihoodOptions options;
    take_options(options, given, likelihood_options(), "Scorer");
    options.cancel = &cancel_;
    with_model(held_, [&](LanguageModel& model, Call&) { scorer_.emplace(model, options); });
  }

  std::pair<double, bool> score(const py::object& before, const py::object& continuation) {
    const Prompt a(before, "before"), b(continuation, "continuation");
    if (a.text.has_value() != b.text.has_value())
      fail_type("continuation", a.text ? "a text (str)" : "token ids", continuation);
    return with_model(held_, {}, cancel_, [&](LanguageModel&, Call&) {
      cancel_.clear();
      const hunch::Likelihood found = a.text ? scorer_->score(*a.text, *b.text) : scorer_->score(a.ids, b.ids);
      return std::pair(found.log_likelihood, found.greedy);
    });
  }
  std::size_t n_ctx() const { return scorer_->n_ctx(); }

 private:
  HeldModel held_;
  hunch::Cancel cancel_;
  std::optional<hunch::LikelihoodScorer> scorer_;  // knows cancel_
};

void bind_results(py::module_& m) {
  py::class_<Layer>(m, "LayerActivations", "Of one layer; None where it has no such thing.")
      .def_readonly("activations", &Layer::activations, "float16 [n_tokens, n_ff], what the down projection reads")
      .def_readonly("neurons", &Layer::neurons, "bool [n_tokens, n_ff], False: left out by the plan")
      .def_readonly("head_groups", &Layer::head_groups,
                    "bool [n_tokens, n_kv_head], likewise of groups of heads that share keys")
      .def_readonly("head_norms", &Layer::head_norms,
                    "float32 [n_tokens, n_head], length of the head's output, before W_o")
      .def_readonly("router", &Layer::router, "float32 [n_tokens, n_expert], logits of a mixture's gate");
  py::class_<Seen>(m, "Activations", "What each token of a text activates, layer by layer.")
      .def_readonly("ids", &Seen::ids)
      .def_readonly("layers", &Seen::layers);
  using P = hunch::TextPerplexity;
  py::class_<P>(m, "Perplexity", "Of a text.")
      .def_readonly("perplexity", &P::perplexity, "exp(nll / n_tokens)")
      .def_readonly("nll", &P::nll, "nats, summed")
      .def_readonly("n_tokens", &P::n_tokens, "scored tokens: all but the first")
      .def("__float__", [](const P& p) { return p.perplexity; })
      .def("__repr__", [](const P& p) {
        return "<hunch.Perplexity " + std::to_string(p.perplexity) + " of " + std::to_string(p.n_tokens) + " tokens>";
      });
}

}  // namespace

void bind_values(py::module_& m) {
  bind_results(m);
  auto model = py::reinterpret_borrow<py::class_<Held, HeldModel>>(m.attr("Model"));
  model.def(
      "logits", &logits, py::arg("text"),
      described(
          "Logits of every position of a text or of token ids: float32 [n_tokens, n_vocab], which own their memory.",
          compute_options<hunch::LogitsOptions>())
          .c_str());
  model.def("activations", &activations, py::arg("text"),
            described("What each token activates in each layer, and what the plan chose for it, as decoding would.",
                      compute_options<hunch::ActivationOptions>())
                .c_str());
  model.def("hidden_states", &hidden_states, py::arg("text"),
            described("The stream after the final norm: float32 [n_tokens, n_embd].",
                      adapter_option<hunch::HiddenStateOptions>())
                .c_str());
  model.def("embed", &embed, py::arg("text"),
            described("One vector for a text, float32 [n_embd], or one for each of a list, [n_texts, n_embd].",
                      embedding_options())
                .c_str());
  model.def("rerank", &rerank, py::arg("query"), py::arg("documents"),
            described("How well each document answers the query, by a cross-encoder: float32 [n_documents].",
                      adapter_option<hunch::HiddenStateOptions>())
                .c_str());
  model.def("perplexity", &perplexity, py::arg("text"),
            described("Perplexity of a text in sliding windows.", perplexity_options()).c_str());
  py::class_<Scorer>(
      m, "Scorer",
      "How likely texts are after others, by the rules of `hunch eval --task`. What a text has in common with the\n"
      "one before it is computed once.")
      .def(py::init<const HeldModel&, const py::kwargs&>(), py::arg("model"),
           described("A scorer with a context of its own.", likelihood_options()).c_str())
      .def("score", &Scorer::score, py::arg("before"), py::arg("continuation"),
           "(log-likelihood in nats, whether each token was the most probable one) of the continuation: two texts, or "
           "two lists\n"
           "of token ids.")
      .def_property_readonly("n_ctx", &Scorer::n_ctx);
  note_options(m, "ComputeOptions", names_of(compute_options<hunch::LogitsOptions>()));
  note_options(m, "HiddenStateOptions", names_of(adapter_option<hunch::HiddenStateOptions>()));
  note_options(m, "EmbeddingOptions", names_of(embedding_options()));
  note_options(m, "PerplexityOptions", names_of(perplexity_options()));
  note_options(m, "LikelihoodOptions", names_of(likelihood_options()));
}

}  // namespace hunch::python
