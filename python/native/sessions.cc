// Texts that are kept between calls: Session and Chat.
#include <hunch/chat.h>
#include <hunch/session.h>
#include <pybind11/stl.h>

#include "answering.h"

namespace hunch::python {
namespace {

std::shared_ptr<hunch::Generation> kept(hunch::Generation generation) {
  return std::make_shared<hunch::Generation>(std::move(generation));
}

OptionTable<hunch::SessionOptions> session_options() {
  using S = hunch::SessionOptions;
  return OptionTable<S>{option<S, &S::n_ctx>("n_ctx", "most tokens; 0: the model's own (0)")} + compute_options<S>();
}

class Session {
 public:
  Session(const HeldModel& held, const py::kwargs& given) : held_(held) {
    hunch::SessionOptions options;
    take_options(options, given, session_options(), "Session");
    with_model(held_, [&](hunch::LanguageModel& model, Call&) { session_.emplace(model, options); });
  }

  std::shared_ptr<hunch::Generation> generate(const py::object& prompt, const py::object& on_text,
                                              const py::kwargs& given) {
    Answering options = answering_from(given, "generate");
    check_callable(on_text, "on_text");
    const Prompt asked(prompt, "prompt");
    hunch::Cancel cancel;
    return with_model(held_, options.draft, cancel, [&](hunch::LanguageModel&, Call& call) {
      begin(options, &cancel);
      const hunch::OnText heard = on_text_of(on_text, call);
      return kept(asked.text ? session_->generate(*asked.text, options, heard)
                             : session_->generate(asked.ids, options, heard));
    });
  }
  void read(const py::object& text) {
    const Prompt asked(text, "text");
    with_model(held_, [&](hunch::LanguageModel&, Call&) {
      if (asked.text) {
        session_->read(*asked.text);
      } else {
        session_->read(asked.ids);
      }
    });
  }
  void truncate(const py::object& n_tokens) {
    std::size_t n = 0;
    python::read(n_tokens, "n_tokens", n);
    with_model(
        held_, [&](hunch::LanguageModel&, Call&) { session_->truncate(n); }, true);
  }
  std::vector<std::int32_t> ids() {
    return with_model(
        held_,
        [&](hunch::LanguageModel&, Call&) {
          return std::vector<std::int32_t>(session_->ids().begin(), session_->ids().end());
        },
        true);
  }
  std::size_t n_ctx() {
    return with_model(
        held_, [&](hunch::LanguageModel&, Call&) { return session_->n_ctx(); }, true);
  }

 private:
  HeldModel held_;
  std::optional<hunch::Session> session_;
};

OptionTable<hunch::ChatOptions> chat_options() {
  using C = hunch::ChatOptions;
  return OptionTable<C>{
             option<C, &C::system>("system", "the system message; \"\": none"),
             {"template_file", "a file with a Jinja template; \"plain\": User: ... Assistant: ... (the model's own)",
              [](C& options, py::handle value, std::string_view name) {
                std::filesystem::path path;
                python::read(value, name, path);
                options.template_file = path.string();
              }},
             option<C, &C::n_ctx>("n_ctx", "most tokens of the conversation; 0: the model's own (0)")} +
         compute_options<C>();
}

struct ChatAnswer {
  std::shared_ptr<hunch::Generation> generation;
  std::size_t n_forgotten = 0, n_cached = 0;
};

class Chat {
 public:
  Chat(const HeldModel& held, const py::kwargs& given) : held_(held) {
    hunch::ChatOptions options;
    take_options(options, given, chat_options(), "Chat");
    with_model(held_, [&](hunch::LanguageModel& model, Call&) { chat_.emplace(model, options); });
  }

  ChatAnswer say(const py::object& message, const py::object& on_text, const py::kwargs& given) {
    Answering options = answering_from(given, "say");
    check_callable(on_text, "on_text");
    std::string text;
    read(message, "message", text);
    hunch::Cancel cancel;
    return with_model(held_, options.draft, cancel, [&](hunch::LanguageModel&, Call& call) {
      begin(options, &cancel);
      hunch::ChatAnswer answer = chat_->say(text, options, on_text_of(on_text, call));
      return ChatAnswer{kept(std::move(answer.generation)), answer.n_forgotten, answer.n_cached};
    });
  }
  void set_system(const py::object& text) {
    std::string words;
    read(text, "text", words);
    with_model(
        held_, [&](hunch::LanguageModel&, Call&) { chat_->set_system(words); }, true);
  }
  void reset() {
    with_model(
        held_, [&](hunch::LanguageModel&, Call&) { chat_->reset(); }, true);
  }
  py::object messages() {
    const std::string json = with_model(
        held_, [&](hunch::LanguageModel&, Call&) { return chat_->messages_json(); }, true);
    return py::module_::import("json").attr("loads")(text_of(json));
  }

 private:
  HeldModel held_;
  std::optional<hunch::ChatSession> chat_;
};

}  // namespace

void bind_sessions(py::module_& m) {
  py::class_<Session>(m, "Session", "A text that is kept between calls: what was computed of it is not computed again.")
      .def(py::init<const HeldModel&, const py::kwargs&>(), py::arg("model"),
           described("An empty text.", session_options()).c_str())
      .def("generate", &Session::generate, py::arg("prompt"), py::arg("on_text") = py::none(),
           described("Reads the text and answers; both are then part of the session. \"\" goes on where the answer "
                     "ended. On an\n"
                     "error the session is as it was.",
                     answer_options())
               .c_str())
      .def("read", &Session::read, py::arg("text"), "Reads only, so that the next answer begins sooner.")
      .def("truncate", &Session::truncate, py::arg("n_tokens"), "Forgets all but the first n tokens.")
      .def_property_readonly("ids", &Session::ids, "texts and answers")
      .def_property_readonly("n_ctx", &Session::n_ctx, "most tokens of both together");
  py::class_<ChatAnswer>(m, "ChatAnswer", "An answer of a conversation.")
      .def_property_readonly("text", [](const ChatAnswer& answer) { return text_of(answer.generation->text); })
      .def_readonly("generation", &ChatAnswer::generation)
      .def_readonly("n_forgotten", &ChatAnswer::n_forgotten, "oldest turns that no longer fitted into the context")
      .def_readonly("n_cached", &ChatAnswer::n_cached, "tokens that did not have to be computed again")
      .def("__str__", [](const ChatAnswer& answer) { return text_of(answer.generation->text); });
  py::class_<Chat>(m, "Chat", "A conversation by the model's chat template.")
      .def(py::init<const HeldModel&, const py::kwargs&>(), py::arg("model"),
           described("An empty conversation.", chat_options()).c_str())
      .def("say", &Chat::say, py::arg("message"), py::arg("on_text") = py::none(),
           described("Answers the user. On an error the question is taken back.", answer_options()).c_str())
      .def("set_system", &Chat::set_system, py::arg("text"), "From the next answer on; \"\": no system message.")
      .def("reset", &Chat::reset, "Forgets everything but the system message.")
      .def_property_readonly("messages", &Chat::messages, "All that was said: a list of {\"role\", \"content\"}.");
  note_options(m, "SessionOptions", names_of(session_options()));
  note_options(m, "ChatOptions", names_of(chat_options()));
}

}  // namespace hunch::python
