#include "serve/grammars.h"

#include <algorithm>

#include "base/error.h"
#include "engine/grammar_constraint.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "grammar/tool_rules.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

using FormKind = AnswerForm::Kind;

grammar::Rules rules_of(const AnswerForm& form) {
  grammar::Rules rules;
  switch (form.kind) {
    case FormKind::kAny: break;
    case FormKind::kJsonObject: return grammar::json_object_rules();
    case FormKind::kSchema: return grammar::schema_rules(form.value);
    case FormKind::kGbnf: return grammar::parse_gbnf(form.value.get_ref<const std::string&>());
    case FormKind::kRegex: rules.add("root", grammar::parse_regex(form.value.get_ref<const std::string&>())); break;
    case FormKind::kChoice: {
      std::vector<grammar::Expr> texts;
      for (const Json& text : form.value) texts.push_back(grammar::literal(text.get<std::string>()));
      rules.add("root", grammar::choice(std::move(texts)));
    }
  }
  return rules;
}

}  // namespace

std::shared_ptr<const grammar::TokenTrie> Grammars::trie() {
  const std::lock_guard lock(trie_mutex_);
  if (!trie_) trie_ = std::make_shared<grammar::TokenTrie>(*tokenizer_);
  return trie_;
}

Grammars::Compiled Grammars::compile(const std::string& param, const std::function<grammar::Rules()>& rules) {
  if (!tokenizer_) throw RequestError(400, "this model has no tokenizer: its answers cannot be held to a form");
  try {
    auto compiled = std::make_shared<const grammar::TokenGrammar>(rules(), trie());
    ++n_compiled_;
    return compiled;
  } catch (const Error& e) {
    refuse(param, "'{}': {}", param, e.what());
  }
}

// Requests for one grammar wait for whoever compiles it; requests for others do not.
Grammars::Compiled Grammars::get(const std::string& key, const std::string& param,
                                 const std::function<grammar::Rules()>& rules) {
  std::promise<Compiled> promise;
  std::shared_future<Compiled> result;
  bool is_new = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(kept_, key, &Kept::key);
    is_new = found == kept_.end();
    if (is_new) {
      kept_.push_back({key, promise.get_future().share()});
      if (kept_.size() > kMostKept) kept_.pop_front();
    } else {
      kept_.splice(kept_.end(), kept_, found);
    }
    result = kept_.back().grammar;
  }
  if (!is_new) return result.get();
  try {
    promise.set_value(compile(param, rules));
  } catch (...) {
    promise.set_exception(std::current_exception());
    const std::lock_guard lock(mutex_);
    std::erase_if(kept_, [&](const Kept& kept) { return kept.key == key; });
  }
  return result.get();
}

Grammars::Make Grammars::maker(Compiled grammar, const std::string& behind) const {
  return [grammar, tokenizer = tokenizer_, behind] {
    return std::make_unique<GrammarConstraint>(grammar, *tokenizer, behind);
  };
}

Grammars::Make Grammars::of(const AnswerForm& form, const std::string& behind) {
  if (form.kind == FormKind::kAny) return {};
  const std::string key = fmt::format("{}:{}", int(form.kind), dump(form.value));
  return maker(get(key, form.param, [&] { return rules_of(form); }), behind);
}

Grammars::Make Grammars::of_calls(const ToolSettings& settings, const ToolTemplate& how, const std::string& source,
                                  const std::string& behind) {
  const std::string key = fmt::format("calls:{}:{}:{}", settings.parallel, settings.name, dump(settings.list));
  const auto rules = [&] {
    return grammar::tool_rules(*how.syntax, source, *tokenizer_, *settings.tools,
                               {settings.name, settings.parallel && settings.name.empty()});
  };
  return maker(get(key, "tools", rules), behind);
}

}  // namespace hunch::serve
