// hunch chat: talk with a model.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/home_folder.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/drafting_flags.h"
#include "cli/line_editor.h"
#include "cli/option_words.h"
#include "cli/reblock_price.h"
#include "cli/session_io.h"
#include "engine/conversation.h"

namespace hunch::cli {
namespace {

constexpr const char* kHelp =
    "  /reset          forget the conversation\n"
    "  /system TEXT    change the system message (without TEXT: remove it)\n"
    "  /save FILE      write the conversation as JSON (`hunch template --messages FILE` reads it)\n"
    "  /help           this list\n"
    "  /quit           leave; so do Ctrl-D, and Ctrl-C twice\n"
    "A \\ at the end of a line continues the message on the next one. Ctrl-C stops an answer.";

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
        conversation_(engine, std::move(text)) {
    conversation_.set_system(flags.system);
  }

  // Until the end of the input.
  void talk() {
    if (editor_.interactive() && !flags_.model.quiet) note("Type a message, or /help.");
    for (std::string line; next_message(line);) {
      if (line.starts_with('/')) {
        if (!command(line)) return;
      } else if (line.find_first_not_of(" \t\r\n") != line.npos) {
        answer(line);
        if (interrupted_) return;
      }
    }
  }

  const Speed& speed() const { return speed_; }
  // Whether Ctrl-C ended the conversation.
  bool interrupted() const { return interrupted_; }
  const nlohmann::ordered_json& messages() const { return conversation_.messages(); }

 private:
  // False at the end. Ctrl-C on an empty line asks for a second one.
  bool next_message(std::string& message) {
    message.clear();
    bool warned = false;
    for (std::string line;;) {
      switch (editor_.read(message.empty() ? "> " : "| ", line)) {
        case LineEditor::Result::kEnd:
          if (editor_.interactive()) note("");
          return !message.empty();
        case LineEditor::Result::kInterrupted:
          if (!editor_.interactive() || warned) {
            interrupted_ = true;
            return false;
          }
          warned = true;
          message.clear();
          note("(Ctrl-C again or Ctrl-D to leave)");
          continue;
        case LineEditor::Result::kLine: break;
      }
      warned = false;
      message += line;
      if (!message.ends_with('\\')) return true;
      message.back() = '\n';
    }
  }

  // False to leave.
  bool command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const size_t begin = line.find_first_not_of(' ', space);
    const std::string rest = begin == line.npos ? "" : line.substr(begin);
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") {
      note(kHelp);
    } else if (name == "/reset") {
      conversation_.reset();
      note("(forgotten)");
    } else if (name == "/system") {
      conversation_.set_system(rest);
      note(rest.empty() ? "(no system message)" : "(system message set)");
    } else if (name == "/save") {
      save(rest);
    } else {
      note(fmt::format("(no command {}; /help lists them)", name));
    }
    return true;
  }

  void save(const std::string& path) {
    if (path.empty()) return note("(where to? /save FILE)");
    std::error_code ec;
    if (path != saved_ && std::filesystem::exists(path, ec))
      return note(fmt::format("('{}' is there already; /save the conversation under another name)", path));
    try {
      AtomicFile file(path);
      file.write(conversation_.messages().dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
      file.commit();
      saved_ = path;
      note(fmt::format("(saved {})", path));
    } catch (const Error& e) {
      note(fmt::format("({})", e.what()));
    }
  }

  void answer(const std::string& question) {
    bool shown = false;
    try {
      const Conversation::Answer a = conversation_.say(context_, question, options_, [&](const GeneratedToken& token) {
        shown = shown || !token.text.empty();
        if (!flags_.model.json) print(token.text);
        return true;
      });
      if (!flags_.model.json) print("\n");
      speed_.n_prompt += a.generated.n_prompt;
      speed_.n_generated += a.generated.ids.size();
      speed_.prompt_seconds += a.generated.prompt_seconds;
      speed_.n_decoded += a.generated.n_decoded;
      speed_.seconds += a.generated.seconds;
      speed_.prompt_stats += a.generated.prompt_stats;
      speed_.stats += a.generated.stats;
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
    } catch (const Error& e) {
      // What one message did wrong does not end the conversation; without a person, it does.
      if (!editor_.interactive()) throw;
      note(fmt::format("{}({})", shown ? "\n" : "", with_flags(e.what())));
    }
  }

  const ChatFlags& flags_;
  Context& context_;
  const GenerateOptions options_;
  LineEditor editor_;
  Conversation conversation_;
  Speed speed_;
  std::string saved_;  // the file that /save wrote last, which it may write over
  bool interrupted_ = false;
};

}  // namespace

int chat(const ChatFlags& flags) {
  GenerateOptions options;
  options.log_probs = false;
  options.n_tokens = flags.n_tokens;
  options.stop = flags.stop;
  options.sampler = sampler_options(flags.sampler);
  const Engine engine = open_engine(flags.model);
  ChatText text = chat_text(&engine.need_tokenizer(), flags.template_file);
  Context context(engine, context_options(flags.context));
  print_first_line(engine, flags.model, flags.context, context.n_ctx(), context.kv_bytes());
  print_reblock_price(engine, flags.model, {});
  const DraftingOptions drafting_with = drafting_options(flags.drafting, flags.model, engine);
  std::optional<Drafting> drafting;
  if (drafting_with.any()) drafting.emplace(engine, context, drafting_with);
  if (drafting) options.speculation = &drafting->speculation();
  Chat chat(flags, engine, context, std::move(text), std::move(options));
  chat.talk();
  Speed speed = chat.speed();
  if (drafting) speed.draft_bytes = tally_of(drafting->speculation(), speed.n_decoded).bytes;
  if (speed.n_prompt) {
    print_last_line(engine, speed, flags.model);
    if (drafting && !flags.model.quiet) note(describe_drafts(drafting->speculation(), speed.n_decoded));
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
