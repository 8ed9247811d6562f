// Model, ModelInfo, Plan and Adapter.
#include "model.h"

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

namespace hunch::python {
namespace {

struct Loading : hunch::LoadOptions {
  HeldModel shares = {};
};

OptionTable<Loading> load_options() {
  using L = Loading;
  return {
      option<L, &L::n_threads>("n_threads", "0: one per physical core that the process may use"),
      option<L, &L::n_ctx>("n_ctx", "tokens of context; 0: the model's own, at most 4096"),
      option<L, &L::kv>("kv",
                        "type of cached keys and values: \"f32\" is exact, \"q8_0\" and others are smaller (\"f16\")"),
      option<L, &L::precision>(
          "precision",
          "of products of many tokens with F32, F16, BF16, FP8, NF4, FP4 and I8_64 weights: \"bf16\" rounds both "
          "factors, and is faster on processors that multiply bf16 (\"f32\")"),
      option<L, &L::plan>("plan", "\"dense\", \"exact\", \"sparse\" or a Plan, of calls that say none (\"exact\")"),
      option<L, &L::kv_policy>("kv_policy", "which cached tokens stay: \"streaming:256\", \"h2o:128\"; \"\": all"),
      option<L, &L::experts>("experts",
                             "router of a mixture instead of its own: \"top:1\", \"capacity:1.25\"; \"\": its own"),
      option<L, &L::adapters>("adapters", "list of LoRA adapters: paths, (path, scale) or Adapter"),
      option<L, &L::sidecar>("sidecar",
                             "what `calibrate` learned; not given: MODEL.hunch beside the model, where there is one"),
      option<L, &L::device>("device", "where it is computed: vulkan:0, auto; what `hunch devices` lists (cpu)"),
      option<L, &L::gpu_layers>("gpu_layers", "its last layers that the device computes (all; of auto as many as fit)"),
      option<L, &L::gpu_neurons>("gpu_neurons", "share of their neurons, the busiest; 0: as many as pays (1: all)"),
      option<L, &L::costs>("costs", "what rows cost to read, a file of `hunch bench --batch N --costs FILE`"),
      {"threads_of", "take turns with this Model's threads",
       [](L& options, py::handle value, std::string_view name) {
         if (!py::isinstance<HeldModel::element_type>(value)) fail_type(name, "a Model", value);
         options.shares = value.cast<HeldModel>();
       }},
  };
}

HeldModel load(const py::object& path, const py::kwargs& given) {
  Loading options;
  take_options(options, given, load_options(), "Model");
  std::filesystem::path file;
  read(path, "path", file);
  auto held = std::make_shared<Held>();
  if (options.shares) held->turn = options.shares->turn;
  hunch::Cancel cancel;
  Turn* const turn = held->turn.get();
  called({&turn, 1}, cancel, [&](Call& call) {
    options.cancel = &call.cancel();
    if (options.shares) options.threads_of = &options.shares->get();
    held->model.emplace(file, options);
    held->info = held->model->info();
  });
  return held;
}

void close(const HeldModel& held) {
  if (held->closed) return;
  hunch::Cancel cancel;
  Turn* const turn = held->turn.get();
  called({&turn, 1}, cancel, [&](Call&) {
    held->closed = true;
    held->model.reset();
  });
}

constexpr std::size_t kBriefText = 1 << 14;  // bytes that are tokenised in no time

std::string shown(const HeldModel& held) {
  if (held->closed) return "<hunch.Model, closed>";
  const hunch::ModelInfo& info = held->info;
  return "<hunch.Model " + (info.name.empty() ? "" : info.name + ", ") + info.architecture + ", " + info.dtype + ", " +
         std::to_string(info.n_layer) + " layers>";
}

std::vector<std::int32_t> tokenize(const HeldModel& held, const py::object& text, bool add_special,
                                   bool parse_special) {
  std::string words;
  read(text, "text", words);
  return with_model(
      held, [&](hunch::LanguageModel& model, Call&) { return model.tokenize(words, add_special, parse_special); },
      words.size() < kBriefText);
}

py::str detokenize(const HeldModel& held, const py::object& ids, bool skip_special) {
  const std::vector<std::int32_t> wanted = read_ids(ids, "ids");
  return text_of(with_model(
      held, [&](hunch::LanguageModel& model, Call&) { return model.detokenize(wanted, skip_special); },
      wanted.size() < kBriefText));
}

py::str apply_chat_template(const HeldModel& held, const py::object& messages, bool add_generation_prompt) {
  std::string json;
  if (is_text(messages)) {
    json = utf8_of(messages);
  } else {
    json = utf8_of(py::module_::import("json").attr("dumps")(messages));
  }
  return text_of(with_model(held, [&](hunch::LanguageModel& model, Call&) {
    return model.apply_chat_template(json, add_generation_prompt);
  }));
}

void bind_choices(py::module_& m) {
  py::class_<hunch::PlanChoice>(m, "Plan", "How much of a model is computed: \"dense\", \"exact\" or \"sparse\".")
      .def(py::init([](const py::object& name, const py::object& density, const py::object& sidecar) {
             hunch::PlanChoice plan;
             read(name, "name", plan.name);
             read(density, "density", plan.density);
             if (!sidecar.is_none()) read(sidecar, "sidecar", plan.sidecar);
             return plan;
           }),
           py::arg("name") = "exact", py::arg("density") = 0.0, py::arg("sidecar") = py::none(),
           "density: of \"sparse\", mean share of the neurons to keep; 0: as it was calibrated. sidecar: of "
           "\"sparse\", a "
           "file of `calibrate`; None: the model's own.")
      .def_readonly("name", &hunch::PlanChoice::name)
      .def_readonly("density", &hunch::PlanChoice::density)
      .def_property_readonly("sidecar",
                             [](const hunch::PlanChoice& plan) -> std::optional<std::filesystem::path> {
                               if (plan.sidecar.empty()) return std::nullopt;
                               return plan.sidecar;
                             })
      .def(
          "__eq__", [](const hunch::PlanChoice& a, const hunch::PlanChoice& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const hunch::PlanChoice& plan) {
        std::string text = "Plan('" + plan.name + "'";
        if (plan.density > 0) text += ", density=" + py::repr(py::float_(plan.density)).cast<std::string>();
        if (!plan.sidecar.empty()) text += ", sidecar=" + py::repr(text_of(plan.sidecar.string())).cast<std::string>();
        return text + ")";
      });
  py::class_<hunch::LoraAdapter>(m, "Adapter", "What a fine-tuning adds to a model: a PEFT folder or a GGUF file.")
      .def(py::init([](const py::object& path, const py::object& scale) {
             hunch::LoraAdapter adapter;
             read(path, "path", adapter.path);
             read(scale, "scale", adapter.scale);
             return adapter;
           }),
           py::arg("path"), py::arg("scale") = 1.0, "scale: 0 the base model, 1 all of the difference.")
      .def_readonly("path", &hunch::LoraAdapter::path)
      .def_readonly("scale", &hunch::LoraAdapter::scale)
      .def(
          "__eq__", [](const hunch::LoraAdapter& a, const hunch::LoraAdapter& b) { return a == b; }, py::is_operator());
}

void bind_info(py::module_& m) {
  using I = hunch::ModelInfo;
  py::class_<I>(m, "ModelInfo", "What a model's file says of it.")
      .def_readonly("architecture", &I::architecture, "as in GGUF: \"opt\", \"llama\"")
      .def_readonly("name", &I::name)
      .def_readonly("dtype", &I::dtype, "of most weights: \"f16\", \"q4_k\"")
      .def_readonly("n_params", &I::n_params, "numbers in all tensors")
      .def_readonly("weight_bytes", &I::weight_bytes, "that these take in the file")
      .def_readonly("n_layer", &I::n_layer)
      .def_readonly("n_embd", &I::n_embd, "values of a token between the layers")
      .def_readonly("n_head", &I::n_head)
      .def_readonly("n_kv_head", &I::n_kv_head)
      .def_readonly("n_ff", &I::n_ff, "neurons of each MLP that is no expert")
      .def_readonly("n_vocab", &I::n_vocab, "tokens that it can predict")
      .def_readonly("n_ctx_train", &I::n_ctx_train, "tokens of context that it was trained with")
      .def_readonly("n_ctx", &I::n_ctx, "tokens that a call has room for")
      .def_readonly("device", &I::device, "where it is computed: \"cpu\", \"vulkan:0 (its name)\"")
      .def_property_readonly(
          "bos", [](const I& i) { return i.bos < 0 ? std::nullopt : std::optional(i.bos); },
          "token that begins a text, or None")
      .def_property_readonly(
          "eos", [](const I& i) { return i.eos < 0 ? std::nullopt : std::optional(i.eos); },
          "token that ends a text, or None")
      .def_readonly("has_tokenizer", &I::has_tokenizer, "without one, ids only")
      .def_readonly("has_chat_template", &I::has_chat_template);
}

}  // namespace

void bind_model(py::module_& m) {
  bind_choices(m);
  bind_info(m);
  py::class_<Held, HeldModel>(
      m, "Model",
      "A language model from a file. One call at a time: others, from any thread, wait for their turn. Python goes on\n"
      "meanwhile, and Ctrl-C ends the call.")
      .def(py::init(&load), py::arg("path"),
           described("Opens a GGUF file, a Hugging Face folder or a llama2.c .bin.", load_options()).c_str())
      .def_property_readonly(
          "info", [](const Held& held) { return held.info; }, "What its file says of it.")
      .def_property_readonly("closed", [](const Held& held) { return held.closed.load(); })
      .def("close", &close,
           "Lets go of it. Later calls of it, and of all that was made from it, raise ValueError; arrays stay.")
      .def("__enter__", [](const HeldModel& held) { return held; })
      .def("__exit__", [](const HeldModel& held, const py::args&) { close(held); })
      .def("__repr__", &shown)
      .def("tokenize", &tokenize, py::arg("text"), py::arg("add_special") = true, py::arg("parse_special") = false,
           "Token ids of a text. add_special: with BOS and EOS as the model's family wants them; parse_special: "
           "\"<s>\" and\n"
           "the like in the text are control tokens.")
      .def("detokenize", &detokenize, py::arg("ids"), py::arg("skip_special") = true, "Text of token ids.")
      .def("apply_chat_template", &apply_chat_template, py::arg("messages"), py::arg("add_generation_prompt") = true,
           "The model's chat template rendered for messages: a list of {\"role\", \"content\"}, or its JSON.");
  note_options(m, "LoadOptions", names_of(load_options()));
}

}  // namespace hunch::python
