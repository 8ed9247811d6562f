// The grammar of one verb: its options, each with its help line. grammar.cc is the only file that includes the
// parser (CLI11), which is slow to compile.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hunch::cli {

// One option as `hunch help VERB` shows it, and in the parts that a shell completes.
struct OptionHelp {
  std::string section;
  std::string name;                  // "-t, --threads N"
  std::string help;                  // without the default
  std::string shown_default;         // "" where there is none to tell
  bool has_twin = false;             // may come from the environment: HUNCH_THREADS
  std::string long_name;             // "--threads"
  std::string short_name;            // "-t", or ""
  std::string value;                 // "N"; "" for a flag
  std::vector<std::string> choices;  // the values there are, where they are a fixed list
  bool repeats = false;              // may be given several times
};

// Every option is added with its help line, which states the unit; the default is the target's value at that moment.
// Targets must outlive parse(). Values are read by cli/parse.h, so that all messages are of one kind: Error{kUsage}
// naming the option, thrown by parse(). The options of the section "Engine" have a twin in the environment.
class Grammar {
 public:
  Grammar();
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  // What is added from now on stands under this heading.
  void section(std::string name);

  // An argument without a name, in the order of adding; not listed in the help.
  void positional(const std::string& name, std::string& target);
  void positional(const std::string& name, std::optional<std::string>& target);
  // All that are left, the last to be added; its name ends with "...".
  void positionals(const std::string& name, std::vector<std::string>& targets);

  void text(const std::string& name, std::string& target, const char* value, const char* help);
  void text(const std::string& name, std::optional<std::string>& target, const char* value, const char* help);
  // May be given several times.
  void texts(const std::string& name, std::vector<std::string>& target, const char* value, const char* help);
  void choice(const std::string& name, std::string& target, std::vector<std::string> allowed, const char* help);
  // `shown` replaces the default's number where that only stands for something, as 0 for "the model's own".
  void count(const std::string& name, size_t& target, const char* value, const char* help, const char* shown = nullptr);
  // -1: as if it were not given.
  void count(const std::string& name, std::optional<uint64_t>& target, const char* value, const char* help);
  void counts(const std::string& name, std::vector<size_t>& target, const char* value, const char* help);
  void integer(const std::string& name, int32_t& target, const char* value, const char* help);
  void real(const std::string& name, float& target, const char* value, const char* help, const char* shown = nullptr);
  void real(const std::string& name, double& target, const char* value, const char* help, const char* shown = nullptr);
  // "0.05" or "5%"; see parse_share.
  void share(const std::string& name, double& target, const char* value, const char* help, const char* shown = nullptr);
  // A number of things, or -1: as many as there may be.
  void most(const std::string& name, size_t& target, const char* value, const char* help);
  void flag(const std::string& name, bool& target, const char* help);

  // Sets the targets. Returns the words that fit no option and no argument.
  std::vector<std::string> parse(std::vector<std::string> words);

  // Whether parse() met this option, by its long name.
  bool is_set(const std::string& name) const;

  // In the order of adding, the arguments without a name left out.
  std::vector<OptionHelp> options() const;
  // The arguments without a name: "MODEL".
  const std::vector<std::string>& arguments() const { return arguments_; }
  // "--threads" and so on.
  std::vector<std::string> long_names() const;
  // Of "-t" or "--threads": whether there is such an option, and whether it takes a value.
  bool has(const std::string& name) const;
  bool takes_value(const std::string& name) const;

 private:
  void add(const std::string& name, const std::string& value, const char* help, const std::string& shown_default,
           const std::function<void(const std::string&)>& set);

  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::string section_ = "Options";
  std::vector<std::string> arguments_;
  std::map<std::string, std::vector<std::string>> choices_;  // by the option's long name
};

}  // namespace hunch::cli
