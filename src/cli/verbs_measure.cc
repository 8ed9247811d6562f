// The grammars of eval and bench.
#include "cli/option_groups.h"
#include "cli/verb.h"

namespace hunch::cli {

std::vector<Verb> measuring_verbs() {
  std::vector<Verb> v;
  v.push_back(
      {"eval", "Measure", "perplexity, comparisons, tasks", "MODEL (--text FILE | --task NAME --file FILE) [options]",
       "hunch eval model.gguf --text wiki.test.raw --ctx 2048 --stride 512\n"
       "hunch eval model.gguf --text story.txt --compare dense,exact,oracle:0.2\n"
       "hunch eval model.gguf --task hellaswag --file hellaswag_val.jsonl --max-items 500\n",
       [](Grammar& g) {
         auto f = std::make_shared<EvalFlags>();
         add_model(g, f->model);
         g.section("On a text");
         g.text("--text", f->text, "FILE",
                "perplexity of this text; --ctx is the window (default: the model's, at most 2048)");
         g.count("--stride", f->stride, "N",
                 "tokens from one window to the next; as long as the window: disjoint windows", "half the window");
         g.count("--max-tokens", f->max_tokens, "N", "only the text's first N tokens", "all");
         g.text("--compare", f->compare, "LIST",
                "modes side by side, the first is the reference: dense,exact,oracle:0.2 (neurons and heads) or "
                "oracle:0.2:1 (neurons only)");
         g.section("On a task");
         g.text("--task", f->task, "NAME",
                "lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande, boolq, copa, openbookqa or rte");
         g.text("--file", f->task_file, "FILE", "the task's questions");
         g.count("--max-items", f->max_items, "N", "only the first N questions", "all");
         add_engine(g, f->model, &f->context);
         return bind(f, eval);
       }});
  v.push_back(
      {"bench", "Measure", "speed of prompt and generation", "MODEL [options]   or   hunch bench --machine",
       "hunch bench model.gguf --prompt 128,512 --generate 64\n"
       "hunch bench --machine\n",
       [](Grammar& g) {
         auto f = std::make_shared<BenchFlags>();
         add_model(g, f->model);
         g.section("What to measure");
         g.counts("--prompt", f->prompt, "LIST", "rows pp: prompts of this many tokens");
         g.counts("--generate", f->generate, "LIST", "rows tg: this many tokens, one by one");
         g.count("--repeats", f->n_repeats, "N", "how often each row is measured, after one warm-up");
         g.count("--depth", f->depth, "N", "tokens in the context before each row");
         g.flag("--machine", f->machine, "measure the memory bandwidth of this machine, keep it, and nothing else");
         add_engine(g, f->model, &f->context, false);
         return [f, call = bind(f, bench)] { return f->machine && f->model.model.empty() ? bench(*f) : call(); };
       }});
  return v;
}

}  // namespace hunch::cli
