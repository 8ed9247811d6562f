// Training.
#include <hunch/train.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "model.h"

namespace hunch::python {
namespace {

using hunch::LanguageModel;

struct Options : hunch::TrainingOptions {
  HeldModel held_teacher = {};
};

void read_layers(Options& to, py::handle value, std::string_view name) {
  if (is_text(value) || !PySequence_Check(value.ptr())) fail_type(name, "a list of layers", value);
  for (const py::object layer : py::reinterpret_borrow<py::sequence>(value))
    to.only_layers.push_back(std::size_t(read_int(layer, name, 0, 1 << 20)));
}

OptionTable<Options> training_options() {
  using T = Options;
  return {
      option<T, &T::method>(
          "method",
          "\"lora\", \"rslora\", \"dora\", \"ia3\", \"prompt\", \"prefix\", or \"full\": all weights (\"lora\")"),
      option<T, &T::rank>("rank", "of an adapter (8)"),
      option<T, &T::alpha>("alpha", "of an adapter (twice the rank)"),
      option<T, &T::n_virtual_tokens>("n_virtual_tokens", "of \"prompt\" and \"prefix\" (20)"),
      option<T, &T::precision>("precision", "of matrix products: \"f32\", \"bf16\" (\"f32\")"),
      {"only_layers", "train these alone: a list (all)", read_layers},
      option<T, &T::optimizer>("optimizer",
                               "\"adamw\", \"adamw8\", \"lion\", \"muon\", \"sgd\", \"lomo\", \"mezo\" (\"adamw\")"),
      option<T, &T::learning_rate>("learning_rate", "the peak (by method and optimizer)"),
      option<T, &T::last_rate>("last_rate", "its share at the last step (0.1)"),
      option<T, &T::weight_decay>("weight_decay", "of matrices (0)"),
      option<T, &T::clip>("clip", "largest norm of the gradients; 0: any (1)"),
      option<T, &T::n_steps>("n_steps", "steps; 0: as many as the passes take (0)"),
      option<T, &T::n_epochs>("n_epochs", "passes (1)"),
      option<T, &T::n_ctx>("n_ctx", "tokens of a window (256, or the model's context; of examples the longest one's)"),
      option<T, &T::n_batch>("n_batch", "windows of a step (8)"),
      option<T, &T::seed>("seed", "the same seed gives the same bits (1)"),
      option<T, &T::held_out>("held_out", "text to measure the loss on (the end of what is trained on)"),
      option<T, &T::eval_every>("eval_every", "steps between losses on it (50)"),
      {"teacher", "a Model of the same vocabulary, whose probabilities are learned",
       [](T& to, py::handle value, std::string_view name) {
         if (!py::isinstance<Held>(value)) fail_type(name, "a Model", value);
         to.held_teacher = value.cast<HeldModel>();
       }},
      option<T, &T::distill_share>("distill_share", "of the divergence in the loss (1)"),
      option<T, &T::distill_temperature>("distill_temperature", "flattens both distributions (1)"),
      option<T, &T::reverse_kl>("reverse_kl", "KL(model || teacher) (False)"),
      option<T, &T::type>("type", "with \"full\": what matrices are rounded to in every step, and written in"),
      option<T, &T::keep_zeros>("keep_zeros", "with \"full\": weights that are 0 stay so (False)"),
      option<T, &T::prune>("prune", "with \"full\": this share of each matrix becomes 0, little by little (0)"),
      option<T, &T::checkpoints>("checkpoints", "go on from OUT.checkpoint, and write it on the way (False)"),
      option<T, &T::checkpoint_every>("checkpoint_every", "steps (100)"),
      option<T, &T::replace>("replace", "an output that is there already (False)"),
  };
}

// Pairs of a prompt and an answer.
std::vector<hunch::TrainingExample> examples_from(const py::object& data) {
  std::vector<hunch::TrainingExample> examples;
  if (!PySequence_Check(data.ptr())) fail_type("data", "a text, or a list of (prompt, answer)", data);
  for (const py::object item : py::reinterpret_borrow<py::sequence>(data)) {
    if (is_text(item) || !PySequence_Check(item.ptr()) || PySequence_Size(item.ptr()) != 2)
      fail_type("data", "each to be (prompt, answer)", item);
    const auto pair = py::reinterpret_borrow<py::sequence>(item);
    hunch::TrainingExample& example = examples.emplace_back();
    const py::object prompt = pair[0], answer = pair[1];
    read(prompt, "data", example.prompt);
    read(answer, "data", example.answer);
  }
  return examples;
}

hunch::Training train(const HeldModel& held, const py::object& data, const py::object& out, const py::object& on_step,
                      const py::kwargs& given) {
  Options options;
  take_options(options, given, training_options(), "train");
  check_callable(on_step, "on_step");
  std::filesystem::path path;
  read(out, "out", path);
  std::string text;
  std::vector<hunch::TrainingExample> examples;
  if (is_text(data)) {
    read(data, "data", text);
  } else {
    examples = examples_from(data);
  }
  std::vector<HeldModel> others;
  if (options.held_teacher) others.push_back(options.held_teacher);
  hunch::Cancel cancel;
  return with_model(held, others, cancel, [&](LanguageModel& model, Call& call) {
    options.cancel = &cancel;
    if (options.held_teacher) options.teacher = &options.held_teacher->get();
    if (!on_step.is_none())
      options.on_step = [&](const hunch::TrainingStep& step) {
        bool goes_on = true;
        call.in_python([&] { goes_on = !on_step(step).is(py::bool_(false)); });
        return goes_on;  // what it raised cancels the call
      };
    return is_text(data) ? hunch::train(model, text, path, options) : hunch::train(model, examples, path, options);
  });
}

}  // namespace

void bind_training(py::module_& m) {
  auto model = py::reinterpret_borrow<py::class_<Held, HeldModel>>(m.attr("Model"));
  using S = hunch::TrainingStep;
  py::class_<S>(m, "TrainingStep", "What on_step is told.")
      .def_readonly("step", &S::step, "steps that were done")
      .def_readonly("n_steps", &S::n_steps)
      .def_readonly("loss", &S::loss, "of the step's windows before it, nats per token")
      .def_readonly("held_out", &S::held_out, "the newest that was measured; negative before")
      .def_readonly("learning_rate", &S::learning_rate)
      .def_readonly("tokens_per_s", &S::tokens_per_s)
      .def_readonly("seconds_left", &S::seconds_left);
  using T = hunch::Training;
  py::class_<T>(m, "Training", "What train() came to.")
      .def_readonly("out", &T::out, "what was written")
      .def_readonly("n_parameters", &T::n_parameters)
      .def_readonly("n_steps", &T::n_steps)
      .def_readonly("held_out_before", &T::held_out_before, "negative: nothing was held out")
      .def_readonly("held_out_after", &T::held_out_after)
      .def_readonly("losses", &T::losses, "of every step")
      .def_readonly("seconds", &T::seconds)
      .def_readonly("tokens_per_s", &T::tokens_per_s);
  model.def("train", &train, py::arg("data"), py::arg("out"), py::arg("on_step") = py::none(),
            described("Fits an adapter, or all weights, to a text or to a list of (prompt, answer), and writes `out`: "
                      "NAME.gguf, or a\nPEFT folder. The model stays as it is. on_step(TrainingStep) after every step; "
                      "False ends the training there.",
                      training_options())
                .c_str());
  note_options(m, "TrainingOptions", names_of(training_options()));
}

}  // namespace hunch::python
