// Comparing, calibrating and quantising.
#include <hunch/compare.h>
#include <hunch/quantize.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "model.h"

namespace hunch::python {
namespace {

using hunch::LanguageModel;

// ---- Comparisons

struct Mode : hunch::Mode {
  HeldModel held = {};  // the other model
};

OptionTable<Mode> mode_options() {
  using M = Mode;
  return {
      option<M, &M::name>("name", "of its row (its plan's name)"),
      {"model", "another Model with the same tokens",
       [](M& mode, py::handle value, std::string_view name) {
         if (!py::isinstance<Held>(value)) fail_type(name, "a Model", value);
         mode.held = value.cast<HeldModel>();
       }},
      option<M, &M::plan>("plan", "\"dense\", \"exact\", \"sparse\" or a Plan (\"exact\")"),
      option<M, &M::kv_policy>("kv_policy", "which cached tokens stay: \"streaming:256\" (all)"),
      option<M, &M::experts>("experts", "router of a mixture (its own)"),
      option<M, &M::kv>("kv", "type of the cache (the model's own)"),
      option<M, &M::adapters>("adapters", "list of LoRA adapters (none)"),
      option<M, &M::lossless>("lossless", "the speed of drafts, the quality of the plan (False)"),
      option<M, &M::oracle_density>("oracle_density",
                                    "share of the neurons that the two-pass oracle keeps (1: no oracle)"),
      option<M, &M::oracle_head_density>("oracle_head_density", "the same of heads (1)"),
  };
}

OptionTable<hunch::ComparisonOptions> comparison_options() {
  using C = hunch::ComparisonOptions;
  return {option<C, &C::n_ctx>("n_ctx", "tokens per window; 0: the trained context, at most 2048 (0)"),
          option<C, &C::stride>("stride", "from a window's beginning to the next one's; 0: half of n_ctx (0)"),
          option<C, &C::max_tokens>("max_tokens", "score the first so many tokens; 0: all (0)"),
          option<C, &C::n_decode>("n_decode", "tokens that are decoded for speed and bytes (64)"),
          option<C, &C::n_repeats>("n_repeats", "of that; medians are reported (3)")};
}

// A mode as it is given: a Mode, a Plan or its name, "lossless", a Model.
Mode mode_from(py::handle value) {
  Mode mode;
  if (py::isinstance<Mode>(value)) return value.cast<const Mode&>();
  if (py::isinstance<Held>(value)) {
    mode.held = value.cast<HeldModel>();
    mode.name = mode.held->info.name;
    return mode;
  }
  if (is_text(value) && utf8_of(value) == "lossless") {
    mode.lossless = true;
    return mode;
  }
  if (!is_text(value) && !py::isinstance<hunch::PlanChoice>(value))
    fail_type("modes", "each to be \"dense\", \"exact\", \"sparse\", \"lossless\", a Plan, a Model or a Mode", value);
  read(value, "modes", mode.plan);
  return mode;
}

std::vector<hunch::ModeReport> compare(const HeldModel& held, const py::object& text, const py::object& modes,
                                       const py::object& on_progress, const py::kwargs& given) {
  hunch::ComparisonOptions options;
  take_options(options, given, comparison_options(), "compare");
  check_callable(on_progress, "on_progress");
  std::string words;
  read(text, "text", words);
  if (is_text(modes) || !PySequence_Check(modes.ptr())) fail_type("modes", "a list", modes);
  std::vector<Mode> wanted;
  std::vector<HeldModel> others;
  for (const py::object mode : py::reinterpret_borrow<py::sequence>(modes)) {
    wanted.push_back(mode_from(mode));
    if (wanted.back().held) others.push_back(wanted.back().held);
  }
  hunch::Cancel cancel;
  return with_model(held, others, cancel, [&](LanguageModel& model, Call& call) {
    options.cancel = &cancel;
    options.on_progress = on_progress_of(on_progress, call);
    std::vector<hunch::Mode> asked;
    for (Mode& mode : wanted) {
      if (mode.held) mode.model = &mode.held->get();
      asked.push_back(mode);
    }
    return hunch::compare(model, words, asked, options);
  });
}

void bind_compare(py::module_& m, py::class_<Held, HeldModel>& model) {
  py::class_<Mode>(m, "Mode", "A way to compute, for Model.compare().")
      .def(py::init([](const py::kwargs& given) {
             Mode mode;
             take_options(mode, given, mode_options(), "Mode");
             return mode;
           }),
           described("A way to compute.", mode_options()).c_str());
  using R = hunch::ModeReport;
  py::class_<R>(m, "ModeReport", "What a mode costs, and what it changes.")
      .def_readonly("name", &R::name)
      .def_readonly("perplexity", &R::perplexity)
      .def_readonly("perplexity_error", &R::perplexity_error, "one standard error")
      .def_readonly("change", &R::change, "of the perplexity, against the first mode's: 0.01 is 1 % more")
      .def_readonly("change_error", &R::change_error, "one standard error of that, tokens paired")
      .def_readonly("kl", &R::kl, "mean over tokens of KL(first mode || this one), nats")
      .def_readonly("top1", &R::top1, "share of tokens whose most probable next token is the first mode's")
      .def_readonly("density", &R::density, "computed share of the neurons, mean over layers")
      .def_readonly("head_density", &R::head_density)
      .def_readonly("density_per_layer", &R::density_per_layer)
      .def_readonly("bytes_per_token", &R::bytes_per_token, "weights and cache that decoding one token read")
      .def_readonly("kv_bytes_per_token", &R::kv_bytes_per_token)
      .def_readonly("tokens_per_s", &R::tokens_per_s, "decoding; 0 of an oracle")
      .def_readonly("tokens_per_pass", &R::tokens_per_pass)
      .def_readonly("acceptance", &R::acceptance, "share of the drafted tokens")
      .def("__repr__", [](const R& r) {
        return "<hunch.ModeReport '" + r.name + "': perplexity " + std::to_string(r.perplexity) + ", KL " +
               std::to_string(r.kl) + ">";
      });
  model.def("compare", &compare, py::arg("text"), py::arg("modes"), py::arg("on_progress") = py::none(),
            described("One text, several ways to compute: \"dense\", \"exact\", \"sparse\", \"lossless\", Plans, "
                      "Models, Modes. The\n"
                      "first is the reference. on_progress(what, done, total).",
                      comparison_options())
                .c_str());
  note_options(m, "ModeOptions", names_of(mode_options()));
  note_options(m, "ComparisonOptions", names_of(comparison_options()));
}

// ---- Calibration

OptionTable<hunch::CalibrationOptions> calibration_options() {
  using C = hunch::CalibrationOptions;
  return {
      option<C, &C::method>("method", "\"predict\", \"cats\", \"griffin\", \"teal\", \"auto\" (\"auto\")"),
      option<C, &C::max_ppl_increase>("max_ppl_increase", "the budget: a share of the dense perplexity (0.01)"),
      option<C, &C::density>("density", "above 0: a mean share of the neurons to keep instead of that budget (0)"),
      option<C, &C::max_tokens>("max_tokens", "of the text that are used (50000)"),
      option<C, &C::heads>("heads", "leave heads of attention out too, where it pays (True)"),
      option<C, &C::screen>("screen", "compute only likely logits in greedy answers, where it pays (True)"),
      option<C, &C::predictor>("predictor",
                               "\"lowrank\", \"lowrank_relu\", \"svd\", \"signs\", \"hot\", \"auto\" (\"auto\")"),
      option<C, &C::rank>("rank", "of \"lowrank\" and \"svd\"; 0: several (0)"),
      option<C, &C::n_epochs>("n_epochs", "of training, at most (6)"),
      option<C, &C::look_ahead>("look_ahead", "\"attention\": neurons are predicted from attention's input (\"none\")"),
      option<C, &C::head_look_ahead>("head_look_ahead", "\"previous\": heads from the layer before (\"none\")"),
      option<C, &C::head_keys>("head_keys",
                               "keys of heads that are left out: \"write\", \"lazy\", \"auto\" (\"auto\")"),
      option<C, &C::sidecar>("sidecar", "the file to write (MODEL.hunch beside the model)"),
  };
}

hunch::Calibration calibrate(const HeldModel& held, const py::object& text, const py::object& on_progress,
                             const py::kwargs& given) {
  hunch::CalibrationOptions options;
  take_options(options, given, calibration_options(), "calibrate");
  check_callable(on_progress, "on_progress");
  std::string words;
  read(text, "text", words);
  return with_model(held, [&](LanguageModel& model, Call& call) {
    options.cancel = &call.cancel();
    options.on_progress = on_progress_of(on_progress, call);
    return hunch::calibrate(model, words, options);
  });
}

void bind_calibrate(py::module_& m, py::class_<Held, HeldModel>& model) {
  using C = hunch::Calibration;
  py::class_<C>(m, "Calibration", "What calibrate() learned.")
      .def_readonly("sidecar", &C::sidecar, "the file that was written")
      .def_readonly("method", &C::method)
      .def_readonly("met", &C::met, "whether the budget was")
      .def_readonly("perplexity_dense", &C::perplexity_dense, "on a part of the text that nothing was fitted to")
      .def_readonly("perplexity_sparse", &C::perplexity_sparse)
      .def_readonly("kl", &C::kl, "mean KL divergence from the dense distribution, nats")
      .def_readonly("top1", &C::top1, "share of tokens whose most probable next token is the same")
      .def_readonly("speed_up", &C::speed_up, "decoding, measured against dense")
      .def_readonly("notes", &C::notes);
  model.def(
      "calibrate", &calibrate, py::arg("text"), py::arg("on_progress") = py::none(),
      described(
          "Learns which parts of the model a text needs (`hunch sparsify`), and writes the sidecar that the plan\n"
          "\"sparse\" uses from then on. on_progress(what, done, total).",
          calibration_options())
          .c_str());
  note_options(m, "CalibrationOptions", names_of(calibration_options()));
}

// ---- Quantising

OptionTable<hunch::QuantizeOptions> quantize_options() {
  using Q = hunch::QuantizeOptions;
  return {option<Q, &Q::type>("type", "\"q8_0\", \"q4_0\", \"q4_k_m\", \"f16\", ..., \"auto\" (\"q8_0\")"),
          option<Q, &Q::layout>("layout", "of down projections: \"rows\", \"neuron\", \"auto\" (\"auto\")"),
          option<Q, &Q::importance>("importance", "an importance matrix, a file of `hunch imatrix`"),
          option<Q, &Q::replace>("replace", "a file that is there already (False)"),
          option<Q, &Q::n_threads>("n_threads", "0: one per physical core (0)")};
}

hunch::Quantized quantize(const py::object& source, const py::object& output, const py::object& on_progress,
                          const py::kwargs& given) {
  hunch::QuantizeOptions options;
  take_options(options, given, quantize_options(), "quantize");
  check_callable(on_progress, "on_progress");
  std::filesystem::path from, to;
  read(source, "source", from);
  read(output, "output", to);
  hunch::Cancel cancel;
  return called(std::span<Turn* const>(), cancel, [&](Call& call) {
    options.cancel = &cancel;
    options.on_progress = on_progress_of(on_progress, call);
    return hunch::quantize(from, to, options);
  });
}

void bind_quantize(py::module_& m) {
  using Q = hunch::Quantized;
  py::class_<Q>(m, "Quantized", "The file that quantize() wrote.")
      .def_readonly("path", &Q::path)
      .def_readonly("n_tensors", &Q::n_tensors)
      .def_readonly("bytes", &Q::bytes, "of the file")
      .def_readonly("bits_per_weight", &Q::bits_per_weight)
      .def_readonly("notes", &Q::notes, "what could not be written as asked, and why");
  m.def("quantize", &quantize, py::arg("source"), py::arg("output"), py::arg("on_progress") = py::none(),
        described("Writes the model in `source` as a GGUF file of another type. on_progress(what, done, total).",
                  quantize_options())
            .c_str());
  note_options(m, "QuantizeOptions", names_of(quantize_options()));
}

}  // namespace

void bind_tools(py::module_& m) {
  auto model = py::reinterpret_borrow<py::class_<Held, HeldModel>>(m.attr("Model"));
  bind_compare(m, model);
  bind_calibrate(m, model);
  bind_quantize(m);
}

}  // namespace hunch::python
