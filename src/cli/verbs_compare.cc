// The grammars of embed and rerank.
#include "cli/option_groups.h"
#include "cli/verb.h"

namespace hunch::cli {
namespace {

constexpr const char* kNeedsTexts = "a text on each line; - is standard input, as is no text at all";

}  // namespace

std::vector<Verb> comparing_verbs() {
  std::vector<Verb> v;
  v.push_back(
      {"embed", "Compare texts", "vectors of texts", "MODEL [TEXT...] [options]",
       "hunch embed model.gguf \"The cat sleeps.\" \"A dog naps.\" --similarity\n"
       "hunch embed model.gguf --file lines.txt --out vectors.npy\n"
       "hunch embed model.gguf \"The cat sleeps.\" --pooling cls --json\n",
       [](Grammar& g) {
         auto f = std::make_shared<EmbedFlags>();
         add_model(g, f->model);
         g.positionals("TEXT...", f->texts.texts);
         g.section("Input and output");
         g.text("--file", f->texts.file, "FILE", kNeedsTexts);
         g.text("--ids", f->ids, "LIST", "one text as token ids: 1,2,3");
         g.text("-o,--out", f->out, "FILE.npy",
                "write float32 [n_texts, n_embd] for NumPy; with --pooling none [n_tokens, n_embd] of one text");
         add_force(g, f->force);
         g.flag(
             "--similarity", f->similarity,
             "print the cosine of each text's vector to each other's instead of the vectors (with --json beside them)");
         g.section("Vectors");
         g.choice(
             "--pooling", f->pooling, {"auto", "mean", "cls", "last", "none"},
             "how one vector is made of those of a text's tokens: their mean, the first or the last one, or none: all "
             "of them; auto: as the model says, else mean where tokens see the whole text, last where they do not");
         g.flag("--no-normalise", f->no_normalise,
                "leave vectors as long as they are; else their length is 1 (but for --pooling none)");
         g.count("--ctx", f->n_ctx, "N", "longest text, tokens", "the model's, at most 4096");
         add_adapters(g, f->model);
         add_engine(g, f->model, nullptr);
         return bind(f, embed);
       }});
  v.push_back({"rerank", "Compare texts", "documents by how well they answer",
               "MODEL --query TEXT [DOCUMENT...] [options]",
               "hunch rerank model.gguf --query \"Who sang?\" \"The miller sang.\" \"It rained.\"\n"
               "hunch rerank model.gguf --query \"Who sang?\" --file lines.txt --top 5 --json\n",
               [](Grammar& g) {
                 auto f = std::make_shared<RerankFlags>();
                 add_model(g, f->model);
                 g.positionals("DOCUMENT...", f->documents.texts);
                 g.section("Input and output");
                 g.text("--query", f->query, "TEXT", "what the documents are to answer");
                 g.text("--file", f->documents.file, "FILE", kNeedsTexts);
                 g.flag("--yes-no", f->yes_no, "score a decoder by its logits of yes and no, as Qwen3-Reranker's are");
                 g.text("--instruct", f->instruction, "TEXT",
                        "what such a model is to find, instead of a web search's answers");
                 g.count("--top", f->n_shown, "N", "print the best N only; 0 = all");
                 g.count("--ctx", f->n_ctx, "N", "longest query with document, tokens", "the model's, at most 4096");
                 add_adapters(g, f->model);
                 add_engine(g, f->model, nullptr);
                 return bind(f, rerank);
               }});
  return v;
}

}  // namespace hunch::cli
