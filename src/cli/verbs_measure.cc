// The grammars of eval, bench and synth.
#include "cli/option_groups.h"
#include "cli/verb.h"
#include "formats/format.h"

namespace hunch::cli {
namespace {

void add_synth(Grammar& g, SynthFlags& f) {
  g.section("Output file");
  g.text("-o,--out", f.out, "FILE", "the GGUF file to write");
  add_force(g, f.force);
  g.choice("--type", f.type, format_names(&Format::writes), "type of the matrices; norms and biases stay f32");
  g.choice("--layout", f.layout, {"auto", "rows", "neuron"},
           "down projections of ReLU models: by neuron, so that zeros can be skipped, or as rows; auto: by neuron");
  g.count("--seed", f.seed, "N", "the same seed gives the same file");
  g.section("Shape");
  g.text("--shape", f.shape, "NAME",
         "sizes of a published model: opt-125m, opt-1.3b, opt-2.7b, opt-6.7b, opt-13b, opt-30b, llama-1.1b, "
         "llama-3b, reglu-3b, llama-7b, llama3-8b, sparselm-2b, mixtral-8x7b, nemotron-h-moe-1b");
  g.count("--n-layer", f.n_layer, "N", "layers, instead of the shape's");
  g.count("--n-embd", f.n_embd, "N", "width of the residual stream");
  g.count("--n-ff", f.n_ff, "N", "neurons of each MLP");
  g.count("--n-head", f.n_head, "N", "heads");
  g.count("--n-kv-head", f.n_kv_head, "N", "key and value heads");
  g.count("--n-vocab", f.n_vocab, "N", "tokens of the vocabulary");
  g.count("--n-ctx", f.n_ctx, "N", "longest context, tokens");
  g.text("--activation", f.activation, "NAME",
         "relu, relu2, silu, gelu, gelu_new or quick_gelu, instead of the shape's");
  g.section("Contextual sparsity to plant (docs/synth.md; without a density: noise)");
  g.share("--density", f.density, "D", "share of the MLP's neurons that a token activates, 0.01 to 0.9", "none");
  g.text("--density-profile", f.density_profile, "NAME",
         "opt: a density per layer, as measured in OPT-6.7B; with --density, scaled to that mean");
  g.share("--head-density", f.head_density, "D", "share of the heads whose output is not near zero");
  g.count("--contexts", f.n_contexts, "N", "contexts that texts fall into");
  g.real("--next-token-margin", f.next_token_margin, "M",
         "how far the most probable next token stands above its rivals, in deviations of a logit");
  g.count(
      "--outliers", f.n_outliers, "N",
      "channels of the inputs of every layer that are 20 to 100 times as large, as large models have a few; with or "
      "without a density");
  g.flag("--sidecar", f.sidecar, "also write FILE.hunch: predictors made from what was planted, for --mode sparse");
  g.section("Instead of a shape");
  g.flag("--needle", f.needle,
         "a model of constructed weights that finds what followed the last token earlier in the text, at any distance: "
         "for eval --task passkey, needle and multikey (docs/context.md)");
  g.section("Text of the planted language");
  g.text("--text", f.text, "FILE", "write a text in stretches of single contexts; without -o, only that");
  g.count("--text-tokens", f.n_text_tokens, "N", "its length, tokens");
  g.count("--text-seed", f.text_seed, "N", "another seed gives another text of the same language");
}

}  // namespace

std::vector<Verb> measuring_verbs() {
  std::vector<Verb> v;
  v.push_back(
      {"eval", "Measure", "perplexity, comparisons, tasks", "MODEL (--text FILE | --task NAME --file FILE) [options]",
       "hunch eval model.gguf --text wiki.test.raw --ctx 2048 --stride 512\n"
       "hunch eval model.gguf --text story.txt --compare dense,exact,sparse,oracle:0.2:1\n"
       "hunch eval model.gguf --text story.txt --against smaller.gguf\n"
       "hunch eval model.gguf --text story.txt --compare dense,q4.gguf,q3.gguf,model.hunch\n"
       "hunch eval model.gguf --task hellaswag --file hellaswag_val.jsonl --max-items 500\n"
       "hunch eval model.gguf --task passkey --lengths 512,2048 --compare f32,q4_0-rot,kivi-2,streaming:64,h2o:64\n"
       "hunch eval model.gguf --task mmlu --file mmlu/data --few-shot 5 --compare dense,cats.hunch,teal.hunch@0.5\n",
       [](Grammar& g) {
         auto f = std::make_shared<EvalFlags>();
         add_model(g, f->model);
         g.section("On a text");
         g.text("--text", f->text, "FILE",
                "perplexity of this text; --ctx is the window (default: the model's, at most 2048)");
         g.count("--stride", f->stride, "N",
                 "tokens from one window to the next; as long as the window: as --protocol llama.cpp",
                 "half the window");
         g.choice("--protocol", f->protocol, {"sliding", "llama.cpp", "gptq"},
                  "sliding: each token once, with half a window before it; llama.cpp: whole windows, of each the "
                  "second half; "
                  "gptq: whole windows, all tokens");
         g.count("--max-tokens", f->max_tokens, "N", "only the text's first N tokens", "all");
         g.text("--compare", f->compare, "LIST",
                "modes side by side, the first is the reference: dense,exact,lossless,sparse,sparse:0.1 (another "
                "density), oracle:0.2 (neurons and heads), oracle:0.2:1 (neurons only), other.hunch (what another "
                "sidecar says), other.hunch@0.1, other.gguf (another model with the same tokens), q4_0-rot (a type of "
                "the KV cache), "
                "h2o:64 (a key policy), h2o:64+q4_0 (both), vertical-slash:1024 (a pattern of prompts; prefill: the "
                "sidecar's); also on a task, but for lossless");
         g.text("--against", f->against, "FILE",
                "another model with the same tokens, e.g. this one made smaller: both side by side, in each mode of "
                "--compare");
         g.flag(
             "--by-position", f->by_position,
             "perplexity by how many tokens stand before, up to --ctx (default: 8 times the trained length); --compare "
             "then also has ways to stretch RoPE: trained,linear:4,ntk:4,dynamic,yarn:4,streaming:256");
         g.count("--buckets", f->n_buckets, "N", "rows of --by-position");
         g.text("--html", f->html, "FILE", "write the figure of --by-position as a page");
         add_force(g, f->force);
         g.section("On a task");
         g.text("--task", f->task, "NAME",
                "lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande, boolq, copa, openbookqa, rte, mmlu or "
                "gsm8k; without a file: passkey, needle, multikey, variables or aggregation");
         g.text("--file", f->task_file, "FILE", "the task's questions; of mmlu also a folder, one file a subject");
         g.count("--max-items", f->max_items, "N", "only the first N questions (of mmlu, of each subject)", "all");
         g.count("--few-shot", f->n_few_shot, "N", "this many solved questions before each");
         g.text("--few-shot-file", f->few_shot_file, "FILE",
                "whose first questions these are (default: the train or dev file beside --file; else the first of "
                "--file, which are not scored)");
         g.section("On a task without a file");
         g.counts("--lengths", f->recall.lengths, "LIST",
                  "tokens of text, question and answer together (default: the context)");
         g.text("--depths", f->recall.depths, "LIST",
                "where in the text the answer stands; 0: its beginning, 1: its end");
         g.count("--samples", f->recall.n_samples, "N", "questions for each length and depth");
         g.choice("--prompts", f->recall.form, {"auto", "words", "tokens"},
                  "English, or tokens that mean nothing; auto: English where its words are at most two tokens each");
         g.choice(
             "--asked", f->recall.asked, {"after", "in-prompt", "from-memory"},
             "after: the text is read, what --kv-policy drops is dropped, then comes the question; in-prompt: the "
             "question is the prompt's end; from-memory: the text is a memory (docs/memory.md) and not in the cache");
         g.count("--keys", f->recall.n_keys, "N", "multikey: numbers in the text, of which one is asked for");
         g.count("--hops", f->recall.n_hops, "N", "variables: so many get their value from another one");
         g.count("--seed", f->recall.seed, "N", "another seed gives other texts");
         add_drafting(g, f->drafting);
         add_engine(g, f->model, &f->context);
         return bind(f, eval);
       }});
  v.push_back(
      {"bench", "Measure", "speed of prompt and generation", "MODEL [options]   or   hunch bench --machine",
       "hunch bench model.gguf --prompt 128,512 --generate 64\n"
       "hunch bench model.gguf --compare dense,exact,sparse --text story.txt --depth 64 --generate 64\n"
       "hunch bench model.gguf --compare dense,exact,sparse --text story.txt --prompt \"\" --generate 32 --batch "
       "1,4,16\n"
       "hunch bench --machine\n",
       [](Grammar& g) {
         auto f = std::make_shared<BenchFlags>();
         add_model(g, f->model);
         g.section("What to measure");
         g.counts("--prompt", f->prompt, "LIST", "rows pp: prompts of this many tokens");
         g.counts("--generate", f->generate, "LIST", "rows tg: this many tokens, one by one");
         g.counts("--batch", f->batch, "LIST",
                  "rows tg for this many sequences that decode together, each a stretch of the text of its own; with "
                  "the share "
                  "of the rows that any of them needs and how they were read");
         g.text("--costs", f->costs, "FILE",
                "row costs of --batch: as FILE says where it exists; what is measured besides is added to it");
         g.count("--repeats", f->n_repeats, "N", "how often each row is measured, after one warm-up");
         g.count("--depth", f->depth, "N", "tokens in the context before each row");
         g.flag("--profile", f->profile, "where each row's time goes: microseconds, bytes and GB/s by stage");
         g.flag("--machine", f->machine, "measure the memory bandwidth of this machine, keep it, and nothing else");
         g.text("--compare", f->compare, "LIST",
                "modes measured in turn, with speed-up and efficiency against the first: dense,exact,sparse,sparse:0.1,"
                "other.hunch");
         g.text(
             "--text", f->text, "FILE",
             "compute this text's tokens instead of random ones; with drafting: rows tg again, continuing its first 64 "
             "tokens greedily");
         add_drafting(g, f->drafting);
         add_engine(g, f->model, &f->context, true);
         return [f, call = bind(f, bench)] {
           for (auto* list : {&f->prompt, &f->generate}) std::erase(*list, size_t{0});  // as llama-bench: none of these
           return f->machine && f->model.model.empty() ? bench(*f) : call();
         };
       }});
  v.push_back({"synth", "Measure", "a random model of a chosen shape, for benchmarks",
               "(--shape NAME | --needle) -o FILE [options]",
               "hunch synth --shape opt-1.3b --type q4_0 -o opt.gguf\n"
               "hunch synth --shape opt-6.7b --density-profile opt --head-density 0.42 -o opt.gguf --text opt.txt\n"
               "hunch synth --shape llama-3b --n-layer 4 --type q8_0 -o llama.gguf\n"
               "hunch synth --needle --n-ctx 8192 -o needle.gguf\n",
               [](Grammar& g) {
                 auto f = std::make_shared<SynthFlags>();
                 add_synth(g, *f);
                 add_engine(g, f->model, nullptr);
                 return [f] { return synth(*f); };
               }});
  return v;
}

}  // namespace hunch::cli
