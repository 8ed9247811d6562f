// hunch chat: talk with a model.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/home_folder.h"
#include "base/interrupt.h"
#include "cli/answer_view.h"
#include "cli/chat_command.h"
#include "cli/chat_file.h"
#include "cli/console.h"
#include "cli/drafting_flags.h"
#include "cli/line_editor.h"
#include "cli/message_reader.h"
#include "cli/option_words.h"
#include "cli/output_file.h"
#include "cli/reblock_price.h"
#include "cli/session_io.h"
#include "cli/variables.h"
#include "engine/conversation.h"

namespace hunch::cli {
namespace {

std::filesystem::path history_file() {
  try {
    return hunch_home() / "chat_history";
  } catch (const Error&) {
    return {};  // no home folder: no history
  }
}

class Chat {
 public:
  Chat(const ChatFlags& flags, const Engine& engine, Context& context, ChatText text, GenerateOptions options)
      : flags_(flags),
        context_(context),
        options_(std::move(options)),
        editor_(history_file()),
        conversation_(engine, std::move(text)),
        name_(display_name(engine, flags.model)) {
    conversation_.set_system(flags.system);
  }

  // Until the end of the input.
  void talk() {
    if (editor_.interactive() && !flags_.model.quiet) note("Type a message, or /help.");
    while (std::optional<ChatInput> input = next_input()) {
      if (input->is_command) {
        if (!obey(parse_chat_command(input->text))) return;
      } else if (input->text.find_first_not_of(" \t\r\n") != input->text.npos) {
        n_again_ = 0;
        answer([&](const auto&... with) { return conversation_.say(context_, input->text, with...); });
      }
      if (interrupted_) return;
    }
  }

  const Speed& speed() const { return speed_; }
  // Whether Ctrl-C ended the conversation.
  bool interrupted() const { return interrupted_; }
  const nlohmann::ordered_json& messages() const { return conversation_.messages(); }

 private:
  // None at the end. Ctrl-C forgets what was begun, and asks for a second one.
  std::optional<ChatInput> next_input() {
    MessageReader reader;
    bool warned = false;
    for (std::string line;;) {
      switch (editor_.read(reader.is_open() ? "| " : "> ", line)) {
        case LineEditor::Result::kEnd:
          if (editor_.interactive()) note("");
          return reader.finish();
        case LineEditor::Result::kInterrupted:
          if (!editor_.interactive() || warned) {
            interrupted_ = true;
            return std::nullopt;
          }
          warned = true;
          reader.clear();
          note("(Ctrl-C again or Ctrl-D to leave)");
          continue;
        case LineEditor::Result::kLine: break;
      }
      warned = false;
      if (std::optional<ChatInput> input = reader.push(line)) return input;
    }
  }

  // False to leave.
  bool obey(const ChatCommand& command) {
    using Kind = ChatCommand::Kind;
    switch (command.kind) {
      case Kind::kLeave: return false;
      case Kind::kWrong: note(fmt::format("({})", command.message)); break;
      case Kind::kHelp: note(chat_command_help()); break;
      case Kind::kClear:
        conversation_.reset();
        note("(forgotten)");
        break;
      case Kind::kSystem:
        conversation_.set_system(command.argument);
        note(command.argument.empty() ? "(no system message)" : "(system message set)");
        break;
      case Kind::kRegenerate:
        if (std::ranges::none_of(messages(), [](const auto& m) { return m["role"] == "user"; })) {
          note("(there is no question yet)");
          break;
        }
        ++n_again_;
        if (options_.sampler.temperature == 0) note("(at temperature 0 the answer stays the same)");
        answer([&](const auto&... with) { return conversation_.say_again(context_, with...); });
        break;
      case Kind::kSave:
      case Kind::kSaveOver: save(expand_home(command.argument), command.kind == Kind::kSaveOver); break;
      case Kind::kLoad: load(expand_home(command.argument)); break;
    }
    return true;
  }

  void save(const std::string& path, bool over) {
    try {
      write_conversation(path, messages(), inputs_of(flags_.model, {flags_.template_file}), over || path == saved_);
      saved_ = path;
      note(fmt::format("(saved {})", path));
    } catch (const Error& e) {
      note(fmt::format("({})", e.what()));
    }
  }

  void load(const std::string& path) {
    try {
      conversation_.load(read_conversation(path));
      n_again_ = 0;
      note(fmt::format("(loaded {}: {} message{})", path, messages().size(), messages().size() == 1 ? "" : "s"));
    } catch (const Error& e) {
      note(fmt::format("({})", with_flags(e.what())));
    }
  }

  // `ask` is say() or say_again(), but for what they have in common.
  template <class Ask>
  void answer(const Ask& ask) {
    AnswerView view({.terminal = stdout_is_terminal() && !terminal_is_dumb(),
                     .columns = stdout_columns(),
                     .hide_thinking = flags_.hide_thinking,
                     .progress = stderr_is_terminal() && !terminal_is_dumb() && !flags_.model.quiet,
                     .name = name_});
    const auto show = [&](const std::string& text) {
      if (flags_.model.json) return;
      if (const std::string status = view.status(); !status.empty()) fmt::print(stderr, "{}", status);
      print(text);
    };
    GenerateOptions options = options_;
    options.sampler.seed += n_again_;
    bool begun = false, shown = false;
    const auto begin = [&] {
      if (!std::exchange(begun, true)) show(view.begin());
    };
    try {
      const Conversation::Answer a = ask(
          options,
          [&](const GeneratedToken& token) {
            begin();
            shown = true;
            show(view.raw(token.text));
            return true;
          },
          [&](const SplitText& part) { show(view.text(part)); });
      show(view.finish());
      count(a.generated);
      tell(a);
    } catch (const Error& e) {
      // What one message did wrong does not end the conversation; without a person, it does.
      if (shown) show(view.finish());
      if (!editor_.interactive()) throw;
      note(fmt::format("({})", with_flags(e.what())));
    }
  }

  void count(const Generated& g) {
    speed_.n_prompt += g.n_prompt;
    speed_.n_generated += g.ids.size();
    speed_.prompt_seconds += g.prompt_seconds;
    speed_.n_decoded += g.n_decoded;
    speed_.seconds += g.seconds;
    speed_.prompt_stats += g.prompt_stats;
    speed_.stats += g.stats;
  }

  // What is worth knowing about an answer.
  void tell(const Conversation::Answer& a) {
    if (a.n_forgotten)
      note(fmt::format("(the context is full: the oldest {} forgotten)",
                       a.n_forgotten == 1 ? "turn was" : fmt::format("{} turns were", a.n_forgotten)));
    switch (a.generated.stop_reason) {
      case StopReason::kInterrupted:
        note("(stopped)");
        take_interrupt();
        interrupted_ = !editor_.interactive();  // a person goes on talking; a script's Ctrl-C ends the program
        break;
      case StopReason::kLength: note("(cut at the length of --tokens)"); break;
      case StopReason::kContextFull: note("(cut: the context is full)"); break;
      default: break;
    }
  }

  const ChatFlags& flags_;
  Context& context_;
  const GenerateOptions options_;
  LineEditor editor_;
  Conversation conversation_;
  const std::string name_;  // the model's
  Speed speed_;
  std::string saved_;     // the file that /save wrote last, which it may write over
  uint64_t n_again_ = 0;  // how often the last question was asked again: each time has a seed of its own
  bool interrupted_ = false;
};

}  // namespace

int chat(const ChatFlags& flags) {
  GenerateOptions options;
  options.log_probs = false;
  options.n_tokens = flags.n_tokens;
  options.stop = flags.stop;
  options.sampler = sampler_options(flags.sampler);
  const nlohmann::ordered_json variables = parse_variables(flags.variables);
  const Engine engine = open_engine(flags.model);
  ChatText text = chat_text(&engine.need_tokenizer(), flags.template_file);
  use_variables(text, variables);
  ContextOptions own = context_options(flags.context);
  const std::shared_ptr<const KeySelector> draft_keys = take_draft_keys(flags.drafting, own);
  Context context(engine, own);
  print_first_line(engine, flags.model, flags.context, context.n_ctx(), context.kv_bytes());
  print_reblock_price(engine, flags.model, {});
  const DraftingOptions drafting_with = drafting_options(flags.drafting, flags.model, engine, draft_keys);
  std::optional<Drafting> drafting;
  if (drafting_with.any()) drafting.emplace(engine, context.sequence(), drafting_with);
  if (drafting) options.speculation = &drafting->speculation();
  Chat chat(flags, engine, context, std::move(text), std::move(options));
  chat.talk();
  Speed speed = chat.speed();
  if (drafting) speed.draft_bytes = tally_of(drafting->speculation(), speed.n_decoded).bytes;
  if (speed.n_prompt) {
    print_last_line(engine, speed, flags.model);
    if (drafting && flags.model.verbose) note(describe_drafts(drafting->speculation(), speed.n_decoded));
  }
  if (flags.model.json) {
    nlohmann::ordered_json json = {
        {"messages", chat.messages()}, {"n_generated", speed.n_generated}, {"tokens_per_s", speed.tokens_per_s()}};
    if (drafting) json["drafts"] = drafts_json(drafting->speculation(), speed.n_decoded);
    print_json(json);
  }
  return chat.interrupted() ? 130 : 0;
}

}  // namespace hunch::cli
