// A model as Python holds it, and what all calls of one share.
#pragma once
#include <hunch/calibrate.h>
#include <hunch/evaluate.h>
#include <hunch/model.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "options.h"

namespace hunch::python {

// Shared by Model and all that was made from it: close() takes the model away from all of them.
struct Held {
  std::optional<hunch::LanguageModel> model = {};
  hunch::ModelInfo info = {};
  std::atomic<bool> closed = false;
  std::shared_ptr<Turn> turn = std::make_shared<Turn>();  // of several where they share threads

  // Raises ValueError when it is closed.
  hunch::LanguageModel& get() {
    if (closed) throw py::value_error("the model is closed");
    return *model;
  }
};

using HeldModel = std::shared_ptr<Held>;

// What `work(model, call)` gives, when it is the turn of this model and of those `beside` it, which are used too. Brief
// work is not interrupted.
template <class Work>
auto with_model(const HeldModel& held, const std::vector<HeldModel>& beside, hunch::Cancel& cancel, Work&& work,
                bool brief = false) {
  held->get();  // raises early
  const HeldModel kept = held;
  std::vector<Turn*> turns = {kept->turn.get()};
  for (const HeldModel& other : beside) turns.push_back(other->turn.get());
  return called(
      turns, cancel, [&](Call& call) { return work(kept->get(), call); }, brief);
}

template <class Work>
auto with_model(const HeldModel& held, Work&& work, bool brief = false) {
  hunch::Cancel cancel;
  return with_model(held, {}, cancel, std::forward<Work>(work), brief);
}

// A prompt: a text or token ids.
struct Prompt {
  std::optional<std::string> text = {};
  std::vector<std::int32_t> ids = {};

  Prompt(py::handle value, std::string_view name) {
    if (is_text(value)) {
      read(value, name, text.emplace());
    } else {
      ids = read_ids(value, name);
    }
  }
  // Without Python's lock.
  std::vector<std::int32_t> of(const hunch::LanguageModel& model) const { return text ? model.tokenize(*text) : ids; }
};

// A callable or None, else TypeError.
inline void check_callable(py::handle value, std::string_view name) {
  if (!value.is_none() && !PyCallable_Check(value.ptr())) fail_type(name, "a callable or None", value);
}

// on_text(piece) of a call; returning False stops. The objects outlive the result.
inline std::function<bool(std::string_view)> on_text_of(const py::object& callback, Call& call) {
  if (callback.is_none()) return {};
  return [&](std::string_view piece) {
    bool goes_on = true;
    return call.in_python([&] { goes_on = !callback(text_of(piece)).is(py::bool_(false)); }) && goes_on;
  };
}

// on_progress(what, done, total) of a call.
inline hunch::OnProgress on_progress_of(const py::object& callback, Call& call) {
  if (callback.is_none()) return {};
  return [&](std::string_view what, std::uint64_t done, std::uint64_t total) {
    call.in_python([&] { callback(text_of(what), done, total); });
  };
}

// How a text is computed, of every struct of options that says it.
template <class T>
OptionTable<T> compute_options() {
  return {option<T, &T::plan>("plan", "\"dense\", \"exact\", \"sparse\" or a Plan (default: the model's)"),
          option<T, &T::kv_policy>("kv_policy",
                                   "which cached tokens stay: \"streaming:256\"; \"\": all (default: the model's)"),
          option<T, &T::experts>("experts", "router of a mixture: \"top:1\"; \"\": its own (default: the model's)"),
          option<T, &T::adapters>("adapters", "list of LoRA adapters; []: none (default: the model's)")};
}

template <class T>
OptionTable<T> operator+(OptionTable<T> a, const OptionTable<T>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The names of all tables, for those who check them.
void note_options(py::module_& m, const char* call, py::list names);

void bind_errors(py::module_& m);
void bind_model(py::module_& m);
void bind_answers(py::module_& m);
void bind_steps(py::module_& m);
void bind_sessions(py::module_& m);
void bind_values(py::module_& m);
void bind_tools(py::module_& m);
void bind_training(py::module_& m);

}  // namespace hunch::python
