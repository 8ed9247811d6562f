// The grammars of run, chat and template.
#include "cli/option_groups.h"
#include "cli/verb.h"

namespace hunch::cli {

std::vector<Verb> generating_verbs() {
  std::vector<Verb> v;
  v.push_back({"run", "Generate", "continue a text", "MODEL [-p TEXT] [options]",
               "hunch run model.gguf -p \"Once upon a time\" -n 100\n"
               "cat chapter.txt | hunch run model.gguf --temperature 0\n"
               "hunch run model.gguf -p \"The old king\" --oracle-density 0.05\n"
               "hunch run model-f16.gguf -p \"The old king\" --draft model-q4_0.gguf --ngram\n",
               [](Grammar& g) {
                 auto f = std::make_shared<RunFlags>();
                 add_model(g, f->model);
                 g.section("Prompt (a line end at its very end is dropped; \"\" begins a text from nothing)");
                 g.text("-p,--prompt", f->prompt, "TEXT", "the text to continue");
                 g.text("--prompt-file", f->prompt_file, "FILE",
                        "read it from a file; - is standard input, as is no prompt at all");
                 g.text("--ids", f->ids, "LIST", "token ids instead of text: 1,2,3");
                 g.flag("--special", f->special,
                        "special tokens written in the prompt, such as <|endoftext|>, count as such");
                 g.flag("--no-bos", f->no_bos, "do not add the tokens that begin or end a text in this family");
                 g.section("Generation");
                 g.most("-n,--tokens", f->n_tokens, "N",
                        "generate at most N tokens; -1: until the text ends or the context is full");
                 g.texts("--stop", f->stop, "TEXT", "end before this text; may be repeated");
                 g.flag("--ignore-end", f->ignore_end, "go on when the model says that the text has ended");
                 g.text("--json-schema", f->json_schema, "JSON",
                        "the text is JSON that is valid by this schema, or by that in a file of this name");
                 g.text("--grammar-file", f->grammar_file, "FILE", "the text is what this grammar says (GBNF)");
                 g.text("--regex", f->regex, "PATTERN", "the text is what this regular expression matches");
                 g.count("--log-probs", f->top_log_probs, "K",
                         "with --json: log-probabilities of each token and of the K most probable ones");
                 add_sampling(g, f->sampler);
                 add_drafting(g, f->drafting);
                 add_engine(g, f->model, &f->context);
                 return bind(f, run);
               }});
  v.push_back({"chat", "Generate", "talk with a model that was trained to", "MODEL [options]",
               "hunch chat Qwen/Qwen2.5-0.5B-Instruct --system \"Answer in rhymes.\"\n", [](Grammar& g) {
                 auto f = std::make_shared<ChatFlags>();
                 add_model(g, f->model);
                 g.section("Conversation");
                 g.text("--system", f->system, "TEXT", "the system message");
                 g.text("--template-file", f->template_file, "FILE",
                        "a Jinja chat template instead of the model's own; \"plain\" is User: / Assistant:");
                 add_variables(g, f->variables);
                 g.flag("--hide-thinking", f->hide_thinking,
                        "do not show what the model thinks before it answers, only how many tokens it takes");
                 g.most("-n,--tokens", f->n_tokens, "N",
                        "at most N tokens per answer; -1: as many as the context holds");
                 g.texts("--stop", f->stop, "TEXT", "end an answer before this text; may be repeated");
                 add_sampling(g, f->sampler);
                 add_drafting(g, f->drafting);
                 add_engine(g, f->model, &f->context);
                 return bind(f, chat);
               }});
  v.push_back(
      {"template", "Generate", "show a conversation as the model sees it", "MODEL --messages FILE [options]",
       "hunch template model.gguf --messages messages.json\n"
       "echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | hunch template model.gguf --messages -\n",
       [](Grammar& g) {
         auto f = std::make_shared<TemplateFlags>();
         add_model(g, f->model);
         g.section("Conversation");
         g.text("--messages", f->messages_file, "FILE", "JSON list of {\"role\", \"content\"}; - is standard input");
         g.text("--template-file", f->template_file, "FILE",
                "a Jinja chat template instead of the model's own (MODEL may then be left out)");
         g.text("--tools", f->tools_file, "FILE", "JSON list of tools, as in the OpenAI API");
         add_variables(g, f->variables);
         g.flag("--no-generation-prompt", f->no_generation_prompt, "do not open the assistant's answer at the end");
         g.choice("--flavor", f->flavor, {"huggingface", "llama.cpp"},
                  "whose rendering, where they differ: llama.cpp drops white space before {{ at the start of a line, "
                  "a BOS at the very beginning (its tokenizer adds one) and an EOS at the very end");
         add_output(g, f->model.json, f->model.quiet);
         return [f] {
           if (f->model.model.empty() && f->template_file.empty())
             fail(ErrorKind::kUsage, "which model? give MODEL, or --template-file");
           return show_template(*f);
         };
       }});
  return v;
}

}  // namespace hunch::cli
