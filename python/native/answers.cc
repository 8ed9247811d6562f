// Answers: their options, Generation, Model.generate().
#include <pybind11/stl.h>

#include "answering.h"
#include "arrays.h"

namespace hunch::python {
namespace {

OptionTable<Answering> make_answer_options() {
  using A = Answering;
  OptionTable<A> table = {
      option<A, &A::n_tokens>("n_tokens", "at most so many new tokens (128)"),
      option<A, &A::temperature>("temperature", "1: the model's own distribution; 0: greedy (1)"),
      option<A, &A::top_k>("top_k", "0: all (0)"),
      option<A, &A::typical_p>("typical_p", "(1)"),
      option<A, &A::top_p>("top_p", "(1)"),
      option<A, &A::min_p>("min_p", "(0)"),
      option<A, &A::repeat_penalty>("repeat_penalty", "(1)"),
      option<A, &A::frequency_penalty>("frequency_penalty", "(0)"),
      option<A, &A::presence_penalty>("presence_penalty", "(0)"),
      option<A, &A::penalty_last_n>("penalty_last_n", "tokens that penalties look back on (64)"),
      option<A, &A::logit_bias>("logit_bias", "dict of token ids and what is added to their logits"),
      option<A, &A::seed>("seed", "(0)"),
      option<A, &A::stop>("stop", "a text or several: the answer ends before the first of them"),
      option<A, &A::ignore_end>("ignore_end", "go on past end-of-text tokens (False)"),
      option<A, &A::log_probs>("log_probs", "fill Generation.log_probs (True)"),
      option<A, &A::n_top_log_probs>("n_top_log_probs", "alternatives to report for each token (0)"),
      option<A, &A::as_alone>("as_alone", "the bits do not depend on who shares a batch's steps (False)"),
  };
  table = std::move(table) + compute_options<A>();
  table.push_back({"lossless", "check what the sparse plan and n-grams draft: the answer of the whole model (False)",
                   [](A& o, py::handle value, std::string_view name) { read(value, name, o.drafts.lossless); }});
  table.push_back({"ngram", "draft what followed earlier endings like the present one (False)",
                   [](A& o, py::handle value, std::string_view name) { read(value, name, o.drafts.ngram); }});
  table.push_back({"draft_model", "a smaller Model with the same vocabulary that drafts",
                   [](A& o, py::handle value, std::string_view name) {
                     if (!py::isinstance<Held>(value)) fail_type(name, "a Model", value);
                     o.draft = {value.cast<HeldModel>()};
                   }});
  table.push_back({"n_draft", "tokens that are drafted at a time; 0: as many as pays (0)",
                   [](A& o, py::handle value, std::string_view name) { read(value, name, o.drafts.n_tokens); }});
  return table;
}

using hunch::Generation;

std::shared_ptr<Generation> generate(const HeldModel& held, const py::object& prompt, const py::object& on_text,
                                     const py::kwargs& given) {
  Answering options = answering_from(given, "generate");
  check_callable(on_text, "on_text");
  const Prompt asked(prompt, "prompt");
  hunch::Cancel cancel;
  return with_model(held, options.draft, cancel, [&](hunch::LanguageModel& model, Call& call) {
    begin(options, &cancel);
    return std::make_shared<Generation>(hunch::generate(model, asked.of(model), options, on_text_of(on_text, call)));
  });
}

std::vector<std::vector<std::pair<std::int32_t, float>>> top_log_probs(const Generation& g) {
  std::vector<std::vector<std::pair<std::int32_t, float>>> out;
  for (const auto& token : g.top_log_probs) {
    auto& pairs = out.emplace_back();
    for (const hunch::TokenLogProb& t : token) pairs.emplace_back(t.id, t.log_prob);
  }
  return out;
}

void bind_generation(py::module_& m) {
  py::class_<Generation, std::shared_ptr<Generation>>(m, "Generation", "An answer.")
      .def_property_readonly("text", [](const Generation& g) { return text_of(g.text); })
      .def_readonly("ids", &Generation::ids)
      .def_property_readonly(
          "log_probs",
          [](const std::shared_ptr<Generation>& g) {
            return py::array(py::dtype::of<float>(), {py::ssize_t(g->log_probs.size())}, g->log_probs.data(),
                             py::cast(g));
          },
          "of the ids, under the model's own distribution: float32 [n], a view of this answer")
      .def_property_readonly("top_log_probs", &top_log_probs, "for each token the most probable (id, log-probability)")
      .def_readonly("n_prompt", &Generation::n_prompt)
      .def_readonly("stop_reason", &Generation::stop_reason,
                    "\"length\", \"end_of_text\", \"stop_string\", \"context_full\", \"interrupted\"")
      .def_readonly("prompt_tokens_per_s", &Generation::prompt_tokens_per_s)
      .def_readonly("tokens_per_s", &Generation::tokens_per_s)
      .def_readonly("gb_per_s", &Generation::gb_per_s, "of weights and cache that were read")
      .def_readonly("density", &Generation::density, "share of the neurons that were chosen, or not zero")
      .def_readonly("n_drafted", &Generation::n_drafted)
      .def_readonly("n_accepted", &Generation::n_accepted)
      .def("__str__", [](const Generation& g) { return text_of(g.text); })
      .def("__repr__", [](const Generation& g) {
        return "<hunch.Generation of " + std::to_string(g.ids.size()) +
               " tokens: " + py::repr(text_of(g.text)).cast<std::string>() + ">";
      });
}

}  // namespace

const OptionTable<Answering>& answer_options() {
  static const OptionTable<Answering> table = make_answer_options();
  return table;
}

Answering answering_from(const py::kwargs& given, const char* caller) {
  Answering options;
  take_options(options, given, answer_options(), caller);
  return options;
}

void bind_answers(py::module_& m) {
  bind_generation(m);
  auto model = py::reinterpret_borrow<py::class_<Held, HeldModel>>(m.attr("Model"));
  model.def(
      "generate", &generate, py::arg("prompt"), py::arg("on_text") = py::none(),
      described("Answers a text or token ids, from an empty context. on_text(piece) sees text as it is made; returning "
                "False stops.",
                answer_options())
          .c_str());
  note_options(m, "GenerationOptions", names_of(answer_options()));
}

}  // namespace hunch::python
