// hunch tokenize, hunch detokenize: text to ids and back.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "cli/session_io.h"

namespace hunch::cli {
namespace {

// The argument, the file, or standard input; `what` is missing when there is none of them.
std::string input_text(const std::optional<std::string>& argument, const std::optional<std::string>& file,
                       const char* what) {
  if (argument && file) fail(ErrorKind::kUsage, "give either {} or --file, not both", what);
  if (argument) return *argument;
  if (file) return read_text(*file);
  if (stdin_is_terminal())
    fail(ErrorKind::kUsage, "no {}: give it as an argument, with --file FILE, or pipe it in", what);
  return read_text("-");
}

}  // namespace

int tokenize(const TokenizeFlags& flags) {
  const std::string text = input_text(flags.text, flags.file, "text");
  const Tokenizer tokenizer = open_tokenizer(flags.model);
  const std::vector<int32_t> ids = tokenizer.encode(text, {!flags.no_bos, flags.special, &interrupt_stop()});
  std::vector<std::string> pieces;
  if (flags.pieces)
    for (int32_t id : ids) pieces.emplace_back(tokenizer.piece(id));
  if (flags.model.json) {
    nlohmann::ordered_json json = {{"ids", ids}};
    if (flags.pieces) json["pieces"] = pieces;
    print_json(json);
    return 0;
  }
  if (flags.pieces) {
    for (size_t i = 0; i < ids.size(); ++i)
      print(fmt::format("{}\t{}\n", ids[i],
                        nlohmann::json(pieces[i]).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    return 0;
  }
  print(fmt::format("{}\n", fmt::join(ids, ",")));
  return 0;
}

int detokenize(const DetokenizeFlags& flags) {
  const std::vector<int32_t> ids = parse_ids(input_text(flags.ids, flags.file, "ids"), "ids");
  const Tokenizer tokenizer = open_tokenizer(flags.model);
  const std::string text = tokenizer.decode(ids, flags.skip_special);
  if (flags.model.json) {
    print_json({{"text", text}});
  } else {
    print(text);
    if (stdout_is_terminal() && !text.ends_with('\n')) print("\n");
  }
  return 0;
}

}  // namespace hunch::cli
