// The grammars of logits, tokenize, detokenize, inspect and devices.
#include "cli/option_groups.h"
#include "cli/verb.h"
#include "formats/format.h"
#include "formats/kv_type.h"

namespace hunch::cli {

std::vector<Verb> looking_verbs() {
  std::vector<Verb> v;
  v.push_back(
      {"logits", "Look inside", "logits of every position", "MODEL (--ids LIST | -p TEXT) [options]",
       "hunch logits model.gguf --ids 2,100,200 --json\n"
       "hunch logits model.gguf -p \"Once upon a time\" --out logits.npy\n"
       "hunch logits model.gguf -p \"Once upon a time\" --mode sparse --trace-out trace.npz\n",
       [](Grammar& g) {
         auto f = std::make_shared<LogitsFlags>();
         add_model(g, f->model);
         g.section("Input and output");
         g.text("--ids", f->ids, "LIST", "token ids: 1,2,3");
         g.text("-p,--prompt", f->prompt, "TEXT", "a text");
         g.text("-o,--out", f->out, "FILE.npy", "write float32 [n_tokens, n_vocab] for NumPy");
         g.text("--trace-out", f->trace_out, "FILE.npz",
                "write each layer's activations, what was chosen of its neurons and heads, and the norms of its heads "
                "for NumPy (docs/evaluation.md)");
         add_force(g, f->force);
         add_engine(g, f->model, &f->context);
         return bind(f, logits);
       }});
  v.push_back(
      {"tokenize", "Look inside", "text to token ids", "MODEL [TEXT] [options]",
       "hunch tokenize model.gguf \"Once upon a time\"\n"
       "hunch tokenize model.gguf --file book.txt --json\n",
       [](Grammar& g) {
         auto f = std::make_shared<TokenizeFlags>();
         add_model(g, f->model);
         g.positional("TEXT", f->text);
         g.section("Input and output");
         g.text("--file", f->file, "FILE", "read the text from a file; - is standard input, as is no text at all");
         g.flag("--special", f->special, "special tokens written in the text, such as <|endoftext|>, count as such");
         g.flag("--no-bos", f->no_bos, "do not add the tokens that begin or end a text in this family");
         g.flag("--pieces", f->pieces, "show what each id stands for");
         add_output(g, f->model.json, f->model.quiet);
         return bind(f, tokenize);
       }});
  v.push_back({"detokenize", "Look inside", "token ids to text", "MODEL [IDS] [options]",
               "hunch detokenize model.gguf 2,100,200\n", [](Grammar& g) {
                 auto f = std::make_shared<DetokenizeFlags>();
                 add_model(g, f->model);
                 g.positional("IDS", f->ids);
                 g.section("Input and output");
                 g.text("--file", f->file, "FILE",
                        "read the ids from a file; - is standard input, as are no ids at all");
                 g.flag("--skip-special", f->skip_special, "leave control tokens out of the text");
                 add_output(g, f->model.json, f->model.quiet);
                 return bind(f, detokenize);
               }});
  v.push_back(
      {"inspect", "Look inside", "what is in a model file; what it needs for a text", "MODEL [options]",
       "hunch inspect model.gguf --tensors\n"
       "hunch inspect model.gguf --text story.txt --html report.html\n"
       "hunch inspect model.gguf --workload --ctx 4096 --html workload.html\n",
       [](Grammar& g) {
         auto f = std::make_shared<InspectFlags>();
         add_model(g, f->model);
         g.section("What to list");
         g.flag("--tensors", f->tensors, "every tensor with its type, shape and size");
         g.flag("--metadata", f->metadata, "every key of the metadata");
         g.text("--sidecar", f->model.sidecar, "FILE",
                "what `hunch sparsify` learned (default: MODEL.hunch beside the model)");
         g.section("Contextual sparsity on a text");
         g.text("--text", f->text, "FILE",
                "run this text through the model: which neurons and heads it needs, how alike the layers are; - is "
                "standard "
                "input");
         g.text("--html", f->html, "FILE", "write that as a page with figures, readable without network and scripts");
         g.text("--svg", f->svg, "FOLDER", "write each figure as an SVG file");
         add_force(g, f->force);
         g.count("--tokens", f->n_tokens, "N", "at most N tokens of the text, in whole windows; 0 = all");
         g.count("--ctx", f->n_ctx, "N", "tokens per window", "the model's, at most 512");
         g.count("--oracle-tokens", f->oracle_tokens, "N",
                 "perplexity with only the best neurons and heads, of at most N of these tokens (35 passes); 0 = none");
         g.text("--heads", f->heads, "LIST",
                "attention maps of these heads, as in 0:3,2:5 (LAYER:HEAD); six telling ones "
                "without it");
         g.section("Distributions");
         g.flag("--weights", f->wants_weights,
                "with --text: how weights and activations of each layer are distributed, outlier channels; --html and "
                "--svg draw it (docs/distributions.md)");
         g.text("--against", f->against, "ORIGINAL", "with --weights: the error of each matrix against this model's");
         g.section("Workload: what it computes and reads");
         g.flag(
             "--workload", f->wants_workload,
             "operations and bytes of decoding and of a prompt, by layer, against what this machine can do; memory by "
             "precision; --html and --svg draw it, --ctx is the length of the text in the cache (docs/workload.md)");
         g.count("--prompt", f->workload.n_prompt, "N", "tokens of the prompt");
         g.count("--batch", f->workload.n_sequences, "N", "sequences that decode together");
         g.choice("--kv", f->workload.kv, kv_type_names(), "type of the KV cache");
         g.text("--bandwidth", f->workload.bandwidth, "GB/S", "what memory gives, instead of measuring it");
         g.text("--peak", f->workload.peak, "GFLOP/S", "what products reach, instead of measuring it");
         g.text("--device-memory", f->workload.devices, "LIST",
                "sizes of devices to fill, as in 8G,24G,512M (decimal)");
         add_engine(g, f->model, nullptr);
         return bind(f, inspect);
       }});
  v.push_back({"devices", "Look inside", "cards on which models can be computed", "[options]",
               "hunch devices\n"
               "hunch devices --measure --json\n",
               [](Grammar& g) {
                 auto f = std::make_shared<DevicesFlags>();
                 g.section("What to list");
                 g.flag("--measure", f->measure, "also how fast each reads its memory, which takes a second or two");
                 add_output(g, f->json, f->quiet);
                 return [f] { return devices(*f); };
               }});
  return v;
}

}  // namespace hunch::cli
