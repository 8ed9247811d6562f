// Answers: Generation, Model.generate(), Model.stream(), Batch.
#include <hunch/batch.h>
#include <pybind11/stl.h>

#include <deque>

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

// Answers in shared steps, whose callbacks run in the call that makes the step. What Python raises there, or Ctrl-C,
// ends the call after the step in the making, and no answer but that of a callback that raised.
class Answers {
 public:
  Answers(const HeldModel& held, hunch::GenerationBatchOptions options) : held_(held) {
    with_model(held_, [&](hunch::LanguageModel& model, Call&) { batch_.emplace(model, options); });
  }

  std::size_t add(const py::object& prompt, const py::object& on_text, const py::kwargs& given) {
    check_callable(on_text, "on_text");
    return add(prompt, given, "add", [this, on_text](std::string_view piece) {
      return on_text.is_none() || on_text_of(on_text, *present_)(piece);
    });
  }
  // `on_text` is destroyed with Python's lock.
  std::size_t add(const py::object& prompt, const py::kwargs& given, const char* caller, hunch::OnText on_text) {
    Answering options = answering_from(given, caller);
    const Prompt asked(prompt, "prompt");
    callbacks_.push_back(std::make_unique<hunch::OnText>(std::move(on_text)));
    const hunch::OnText* const heard = callbacks_.back().get();
    hunch::Cancel cancel;
    const std::size_t number = with_model(held_, options.draft, cancel, [&](hunch::LanguageModel& model, Call&) {
      begin(options, nullptr);
      return batch_->add(asked.of(model), options, [heard](std::string_view piece) { return (*heard)(piece); });
    });
    drafts_.insert(drafts_.end(), options.draft.begin(), options.draft.end());
    return number;
  }
  // Computes steps as long as `more` says so. False: nothing is left to do.
  bool step(const std::function<bool()>& more) {
    hunch::Cancel cancel;
    return with_model(held_, drafts_, cancel, [&](hunch::LanguageModel&, Call& call) {
      present_ = &call;
      bool goes_on = true;
      do {
        goes_on = batch_->step();
      } while (goes_on && more() && !cancel.requested());
      return goes_on;
    });
  }
  bool step() {
    return step([] { return false; });
  }
  // Until all are done.
  void run() {
    step([] { return true; });
  }
  bool is_done(const py::object& answer) {
    const std::size_t number = number_of(answer);
    return with_model(
        held_, [&](hunch::LanguageModel&, Call&) { return batch_->is_done(number); }, true);
  }
  std::shared_ptr<Generation> result(const py::object& answer) {
    const std::size_t number = number_of(answer);
    return with_model(
        held_, [&](hunch::LanguageModel&, Call&) { return std::make_shared<Generation>(batch_->result(number)); },
        true);
  }
  void remove(const py::object& answer) {
    const std::size_t number = number_of(answer);
    with_model(
        held_, [&](hunch::LanguageModel&, Call&) { batch_->remove(number); }, true);
  }

 private:
  static std::size_t number_of(const py::object& answer) {
    std::size_t number = 0;
    read(answer, "answer", number);
    return number;
  }

  HeldModel held_;
  Call* present_ = nullptr;
  std::vector<std::unique_ptr<hunch::OnText>> callbacks_;
  std::vector<HeldModel> drafts_;
  std::optional<hunch::GenerationBatch> batch_;  // refers to the above
};

// An answer as an iterator of its text: a batch of one, computed as far as it is asked for.
class Stream {
 public:
  Stream(const HeldModel& held, const py::object& prompt, const py::kwargs& given)
      : answers_(held, {.n_sequences = 1}) {
    number_ = answers_.add(prompt, given, "stream", [this](std::string_view piece) {
      pieces_.emplace_back(piece);
      return true;
    });
  }

  py::str next() {
    if (pieces_.empty() && !result_) {
      const bool more = answers_.step([this] { return pieces_.empty(); });
      if (!more) result_ = answers_.result(py::int_(number_));
    }
    if (pieces_.empty()) throw py::stop_iteration();
    const std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    return text_of(piece);
  }
  // None before its end.
  std::shared_ptr<Generation> result() const { return pieces_.empty() ? result_ : nullptr; }

 private:
  std::deque<std::string> pieces_;
  std::shared_ptr<Generation> result_;
  Answers answers_;
  std::size_t number_ = 0;
};

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

OptionTable<hunch::GenerationBatchOptions> batch_options() {
  using B = hunch::GenerationBatchOptions;
  return {option<B, &B::n_sequences>("n_sequences", "answers that may be in the making at once (8)"),
          option<B, &B::n_ctx>("n_ctx", "most tokens of one of them; 0: the model's own (0)"),
          option<B, &B::n_tokens>("n_tokens", "that the cache holds of all together; 0: n_sequences * n_ctx (0)")};
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
  py::class_<Stream>(m, "Stream", "An answer in the making: an iterator of pieces of text.")
      .def("__iter__", [](Stream& stream) -> Stream& { return stream; })
      .def("__next__", &Stream::next)
      .def_property_readonly("result", &Stream::result, "The whole Generation, when it is done; None before.");
  py::class_<Answers>(m, "Batch", "Several answers in shared passes over the weights.")
      .def(py::init([](const HeldModel& held, const py::kwargs& given) {
             hunch::GenerationBatchOptions options;
             take_options(options, given, batch_options(), "Batch");
             return std::make_unique<Answers>(held, options);
           }),
           py::arg("model"), described("Room for answers of the model.", batch_options()).c_str())
      .def("add", py::overload_cast<const py::object&, const py::object&, const py::kwargs&>(&Answers::add),
           py::arg("prompt"), py::arg("on_text") = py::none(),
           described("Asks for an answer, and returns its number.", answer_options()).c_str())
      .def("step", py::overload_cast<>(&Answers::step),
           "A part of the prompts and the next token of each answer; False when nothing is left to do.")
      .def("run", &Answers::run, "Steps until all answers are done.")
      .def("is_done", &Answers::is_done, py::arg("answer"))
      .def("result", &Answers::result, py::arg("answer"), "A done answer; raises the error that ended it.")
      .def("remove", &Answers::remove, py::arg("answer"), "Forgets an answer, and ends it where it is not done.");
  auto model = py::reinterpret_borrow<py::class_<Held, HeldModel>>(m.attr("Model"));
  model.def(
      "generate", &generate, py::arg("prompt"), py::arg("on_text") = py::none(),
      described("Answers a text or token ids, from an empty context. on_text(piece) sees text as it is made; returning "
                "False stops.",
                answer_options())
          .c_str());
  model.def(
      "stream",
      [](const HeldModel& held, const py::object& prompt, const py::kwargs& given) {
        return std::make_unique<Stream>(held, prompt, given);
      },
      py::arg("prompt"),
      described("The same as an iterator of pieces of text, computed as they are asked for.", answer_options())
          .c_str());
  note_options(m, "GenerationOptions", names_of(answer_options()));
  note_options(m, "BatchOptions", names_of(batch_options()));
}

}  // namespace hunch::python
