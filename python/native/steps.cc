// Answers step by step: Model.stream() and Batch.
#include <hunch/batch.h>
#include <pybind11/stl.h>

#include <deque>

#include "answering.h"

namespace hunch::python {
namespace {

using hunch::Generation;

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
    if (is_asked_) throw py::value_error("another thread is asking this stream");
    is_asked_ = true;
    try {
      const py::str piece = take();
      is_asked_ = false;
      return piece;
    } catch (...) {
      is_asked_ = false;
      throw;
    }
  }
  // None before its end.
  std::shared_ptr<Generation> result() const { return !is_asked_ && pieces_.empty() ? result_ : nullptr; }

 private:
  py::str take() {
    if (pieces_.empty() && !result_) {
      const bool more = answers_.step([this] { return pieces_.empty(); });
      if (!more) result_ = answers_.result(py::int_(number_));
    }
    if (pieces_.empty()) throw py::stop_iteration();
    const std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    return text_of(piece);
  }

  bool is_asked_ = false;  // read and written with Python's lock
  std::deque<std::string> pieces_;
  std::shared_ptr<Generation> result_;
  Answers answers_;
  std::size_t number_ = 0;
};

OptionTable<hunch::GenerationBatchOptions> batch_options() {
  using B = hunch::GenerationBatchOptions;
  return {option<B, &B::n_sequences>("n_sequences", "answers that may be in the making at once (8)"),
          option<B, &B::n_ctx>("n_ctx", "most tokens of one of them; 0: the model's own (0)"),
          option<B, &B::n_tokens>("n_tokens", "that the cache holds of all together; 0: n_sequences * n_ctx (0)")};
}

}  // namespace

void bind_steps(py::module_& m) {
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
      "stream",
      [](const HeldModel& held, const py::object& prompt, const py::kwargs& given) {
        return std::make_unique<Stream>(held, prompt, given);
      },
      py::arg("prompt"),
      described("The same as an iterator of pieces of text, computed as they are asked for.", answer_options())
          .c_str());
  note_options(m, "BatchOptions", names_of(batch_options()));
}

}  // namespace hunch::python
