// The grammars of convert, quantize, merge, compress and sparsify.
#include <algorithm>

#include "cli/option_groups.h"
#include "cli/verb.h"
#include "compress/quant_mix.h"
#include "compress/sparsify_names.h"
#include "formats/format.h"

namespace hunch::cli {

namespace {

void add_convert(Grammar& g, ConvertFlags& f) {
  add_model(g, f.model);
  g.section("Output file");
  g.text("-o,--out", f.out, "FILE", "the GGUF file to write");
  std::vector<std::string> types = format_names(&Format::writes);
  types.insert(types.begin(), "auto");
  for (std::string& mix : mix_names())
    if (std::ranges::find(types, mix) == types.end()) types.push_back(std::move(mix));
  g.choice("--type", f.type, std::move(types),
           "type of the matrices; norms and biases stay f32; q4_k_m and the like: the mix of types that goes by this "
           "name; auto: f16, and matrices that are quantised stay as they are");
  g.flag(
      "--sparse", f.sparse,
      "write pruned matrices of q8_0, q4_0 and f16 without their zeros, where that takes less (docs/compression.md)");
  g.text("--imatrix", f.imatrix, "FILE",
         "an importance matrix, of `hunch imatrix` or llama.cpp: errors are weighed by what the matrices read");
  g.choice("--layout", f.layout, {"auto", "rows", "neuron", "bundles"},
           "bundles: not a model, but the neurons of one in one piece each, which --ram reads (-o MODEL.bundles; "
           "docs/larger-than-memory.md). The others: down projections: by neuron, so that neurons can be skipped, or "
           "as rows, which llama.cpp "
           "reads; auto: by neuron in ReLU models where "
           "the type is quantised and llama.cpp does not know the architecture");
  add_force(g, f.force);
  g.text("--name", f.name, "TEXT", "the model's name in the metadata (default: its own)");
  add_engine(g, f.model, nullptr);
}

void add_compress(Grammar& g, CompressFlags& f) {
  add_model(g, f.model);
  g.section("Methods (docs/compression.md)");
  g.text(
      "--method", f.method, "LIST",
      "rtn, gptq, awq or nf4 round; w8a8, smoothquant, zeroquant or llm-int8 round activations too; magnitude, "
      "wanda or "
      "sparsegpt prune; or one that prunes and one that rounds: wanda,gptq; svd, asvd or svd-llm: low rank; loftq: low "
      "rank beside rounded weights; structured: fewer neurons, heads and layers; rotate spreads outliers over all "
      "channels, before rounding: rotate,rtn");
  g.text(
      "--bits", f.bits, "N",
      "round to grids of so many bits with a scale for each group, in blocks of q4_0, q4_1, q5_0, q5_1 or q8_0 that "
      "hold them; without it, to the blocks of --type; with a point, 4.5: a type for each matrix, so many bits in the "
      "mean, by how much the model minds its errors");
  g.text("--max-ppl-increase", f.max_ppl_increase, "SHARE",
         "instead of --bits 4.5: as few bits as keep the perplexity of the text within this, e.g. 1%");
  g.count("--group", f.group, "N",
          "with --bits: weights of a row that share a scale, 32, 64, ...; 0: the row (default: 128)");
  g.flag("--symmetric", f.symmetric, "with --bits: grids around zero; pruned weights always have these");
  g.text("--sparsity", f.sparsity, "SHARE", "prune this share of the weights (default: 50%)");
  g.choice("--scope", f.scope, {"auto", "global", "layer", "matrix", "row"},
           "magnitude: the smallest weights of all matrices together, of each (auto) or of each row; structured: the "
           "least units of all layers together (auto), or as many of each layer");
  g.text("--nm", f.pattern, "N:M", "keep N of every M neighbouring inputs of a row instead, e.g. 2:4");
  g.flag("--dense-blocks", f.dense_blocks,
         "write pruned matrices as ordinary blocks, zeros and all, which every reader of GGUF takes");
  g.flag("--act-order", f.act_order, "gptq: columns with the largest inputs first, scales of the weights as they were");
  g.real("--damping", f.damping, "SHARE", "gptq, sparsegpt: of the mean diagonal of X^T X, added to it");
  g.choice(
      "--inputs", f.inputs, {"auto", "compressed", "dense"},
      "what a layer is fitted to: what the compressed layers before it make of the text, or the model's own; auto: "
      "dense for awq, compressed for the others");
  g.text("--rotate-inputs", f.rotate_inputs, "LIST",
         "rtn, gptq, nf4: of these matrices, o and down, the inputs are rotated when they are multiplied, so that none "
         "is an outlier");
  g.text("--eval", f.eval, "FILE", "print the perplexity on this text before and after");
  g.section("Weights and activations in int8 (docs/int8.md)");
  g.choice("--scales", f.scales, {"auto", "row", "matrix"},
           "w8a8, smoothquant: of weights, one for every output or one for all");
  g.choice("--activations", f.activations, {"auto", "token", "static"},
           "a scale for every token's inputs as they come, or one that was measured on the text");
  g.choice("--range", f.range, {"auto", "max", "percentile", "mse", "kl"},
           "static: what of the inputs' range 8 bits span; the rest is cut off");
  g.text("--alpha", f.alpha, "SHARE",
         "smoothquant: how much of the outliers moves into the weights, 0 to 1 (default: searched in every layer)");
  g.text("--threshold", f.threshold, "X", "llm-int8: inputs that are ever so large stay floats (default: 6)");
  g.section("Structured pruning (docs/structured-pruning.md)");
  g.count("--layers", f.n_dropped, "N", "leave out whole layers, those that change the stream least (default: 0)");
  g.count("--multiple", f.multiple, "N", "keep a multiple of so many neurons in every MLP (default: 32)");
  g.flag("--no-bias", f.no_bias, "add no biases for what units gave in the mean, which some readers do not know of");
  g.section("Low rank (docs/low-rank.md)");
  g.text("--low-rank", f.low_rank, "RATIO",
         "every matrix as a product of two thin ones that have this share of its parameters, e.g. 0.5; fitted to what "
         "the matrix reads on the text (SVD-LLM)");
  g.text("--rank", f.rank, "SHARE",
         "of --method svd, asvd or svd-llm, which are spellings of --low-rank: the share of the parameters that stays "
         "(default: 0.5); of loftq: a rank (default: 16)");
  g.count("--rounds", f.rounds, "N", "loftq: how often rounding and low rank take turns (default: 5)");
  g.text("--only", f.only, "LIST",
         "of methods too: only these matrices of every layer: q,k,v,o,gate,up,down (default: all)");
  g.flag("--plain", f.plain, "fit to the weights alone, by their plain SVD: for comparison");
  g.section("Text");
  g.text("--text", f.text, "FILE", "text like what the model will read");
  g.count("--tokens", f.max_tokens, "N", "use so many of its tokens, in windows spread evenly over it");
  g.section("Output file");
  g.text("-o,--out", f.out, "FILE|FOLDER/", "the GGUF file to write, or a quantised Hugging Face folder");
  g.choice(
      "--export", f.layout, {"auto", "gptq", "awq", "compressed-tensors"},
      "write a folder in this layout, for vLLM and transformers (docs/export.md); auto: where -o ends with /, gptq "
      "and awq as they are called, else compressed-tensors");
  std::vector<std::string> types = format_names(&Format::writes);
  types.insert(types.begin(), "auto");
  g.choice("--type", f.type, std::move(types),
           "type of the matrices; auto: the model's own, of methods that round q4_k");
  add_force(g, f.force);
  add_engine(g, f.model, nullptr);
}

}  // namespace

std::vector<Verb> changing_verbs() {
  std::vector<Verb> v;
  v.push_back({"convert", "Change", "any model to GGUF", "MODEL -o FILE [options]",
               "hunch convert facebook/opt-1.3b -o opt-1.3b.gguf --type q8_0\n", [](Grammar& g) {
                 auto f = std::make_shared<ConvertFlags>();
                 add_convert(g, *f);
                 return bind(f, convert);
               }});
  v.push_back({"quantize", "Change", "a float model made small, by rounding to the nearest", "MODEL -o FILE [options]",
               "hunch quantize model-f16.gguf -o model-q4_k.gguf --type q4_k\n", [](Grammar& g) {
                 auto f = std::make_shared<ConvertFlags>();
                 f->type = "q8_0";
                 add_convert(g, *f);
                 return bind(f, quantize);
               }});
  v.push_back({"imatrix", "Change", "what a model's matrices read on a text, for quantize --imatrix",
               "MODEL TEXT -o FILE [options]",
               "hunch imatrix model-f16.gguf book.txt -o model.imatrix.gguf\n"
               "hunch quantize model-f16.gguf --imatrix model.imatrix.gguf --type q4_k_m -o model-q4_k_m.gguf\n",
               [](Grammar& g) {
                 auto f = std::make_shared<ImatrixFlags>();
                 add_model(g, f->model);
                 g.positional("TEXT", f->text);
                 g.section("Text");
                 g.count("--tokens", f->max_tokens, "N", "use the text's first N tokens", "all");
                 g.count("--ctx", f->n_ctx, "N", "tokens that see each other", "512, or the model's context");
                 g.section("Output file");
                 g.text("-o,--out", f->out, "FILE", "the GGUF file to write");
                 add_force(g, f->force);
                 add_engine(g, f->model, nullptr);
                 return bind(f, imatrix);
               }});
  v.push_back({"merge", "Change", "a model with LoRA adapters folded in", "MODEL --lora PATH[:SCALE] -o FILE [options]",
               "hunch merge llama.gguf --lora ./tone -o llama-tone.gguf\n"
               "hunch merge ./llama --lora ./tone:0.5 --lora style.gguf -o both.gguf\n",
               [](Grammar& g) {
                 auto f = std::make_shared<MergeFlags>();
                 add_model(g, f->model);
                 g.section("Adapters");
                 add_adapters(g, f->model);
                 g.section("Output file");
                 g.text("-o,--out", f->out, "FILE", "the GGUF file to write; matrices keep their types");
                 add_force(g, f->force);
                 add_engine(g, f->model, nullptr);
                 return bind(f, merge);
               }});
  v.push_back(
      {"compress", "Change", "prune, round or thin a model's matrices, fitted to a text",
       "MODEL --method LIST --text FILE -o FILE [options]",
       "hunch compress model-f16.gguf --method gptq --type q4_k --text book.txt -o small.gguf\n"
       "hunch compress model-f16.gguf --method sparsegpt --nm 2:4 --text book.txt --eval other.txt -o half.gguf\n"
       "hunch compress model.gguf --low-rank 0.5 --text book.txt -o thin.gguf\n"
       "hunch eval model.gguf --text other.txt --against small.gguf\n",
       [](Grammar& g) {
         auto f = std::make_shared<CompressFlags>();
         add_compress(g, *f);
         return bind(f, compress);
       }});
  v.push_back(
      {"memory", "Change", "a text's keys and values in a file, for --memory", "MODEL --text FILE -o FILE [options]",
       "hunch memory model.gguf --text notes.txt -o notes.hmem\n"
       "hunch memory model.gguf --text notes.txt --layers all -o notes.hmem\n",
       [](Grammar& g) {
         auto f = std::make_shared<MemoryFlags>();
         add_model(g, f->model);
         g.section("Text");
         g.text("--text", f->text, "FILE", "what is to be remembered");
         g.count("--tokens", f->max_tokens, "N", "use the text's first N tokens", "all");
         g.section("Memory");
         g.text("--layers", f->layers, "LIST",
                "layers that remember: 5,11, or all (default: the one at three quarters of the depth)");
         g.count("--window", f->n_ctx, "N",
                 "tokens that are read together, of which the second half is remembered (of the first window, all)",
                 "the model's context, at most 2048");
         g.section("Output file");
         g.text("-o,--out", f->out, "FILE", "the memory to write");
         add_force(g, f->force);
         add_engine(g, f->model, nullptr);
         return bind(f, memory);
       }});
  v.push_back(
      {"sparsify", "Change", "learn which neurons matter, for --mode sparse", "MODEL --text FILE [options]",
       "hunch sparsify model.gguf --text book.txt --max-ppl-increase 1%\n"
       "hunch sparsify model.gguf --text book.txt --density 0.1 --predictor svd -o sparse.hunch\n"
       "hunch sparsify llama.gguf --text book.txt --method teal --density 0.6\n"
       "hunch sparsify llama.gguf --text book.txt --prefill 1024\n",
       [](Grammar& g) {
         auto f = std::make_shared<SparsifyFlags>();
         add_model(g, f->model);
         g.section("Text");
         g.text("--text", f->text, "FILE", "text like what the model will read; its end is kept for the check");
         g.count("--tokens", f->max_tokens, "N", "use the text's first N tokens, at most 400000");
         g.section("Budget (give one)");
         g.text("--max-ppl-increase", f->max_ppl_increase, "SHARE",
                "perplexity may rise by this much: 1% or 0.01 (default: 1%)");
         g.text("--density", f->density, "SHARE",
                "compute this share of the neurons, as a mean over tokens and layers");
         g.section("Method");
         g.choice(
             "--method", f->method, {"auto", "predict", "cats", "griffin", "teal"},
             "predict: trained predictors, for ReLU models; without training, for any activation: cats drops neurons "
             "whose "
             "gate is small, griffin keeps those that the prompt used most, teal drops small inputs of every product; "
             "auto: predict for ReLU models, cats for others");
         g.section("Predictors");
         g.choice("--predictor", f->predictor, predictor_names(),
                  "lowrank: trained two-layer classifiers, lowrank_relu: with a ReLU between the layers; svd: their "
                  "closed form, untrained; signs: one bit per weight; hot: the same neurons for "
                  "every token; auto: for each layer whichever loses least for its bytes");
         g.count("--rank", f->rank, "N", "of lowrank and svd; 0: several, chosen likewise");
         g.choice("--look-ahead", f->look_ahead, {"none", "attention"},
                  "predict from the MLP's own input, or from attention's input of the same layer, which is known "
                  "earlier");
         g.choice("--heads", f->heads, {"auto", "off", "write", "lazy"},
                  "leave heads of attention out where that pays, or off; keys and values of heads that are left out: "
                  "write them with "
                  "their token, or compute them, lazy, when a token needs them; auto: whichever is faster here");
         g.choice("--head-look-ahead", f->head_look_ahead, {"none", "previous"},
                  "predict heads from attention's own input, or from that of the layer before, which is known a layer "
                  "earlier");
         g.choice("--vocab-screen", f->screen, {"auto", "off"},
                  "decoding greedily, guess the logits by a low rank and compute those that may be the largest, where "
                  "that pays, or compute all");
         g.count("--epochs", f->n_epochs, "N", "train for at most N passes over the text");
         g.section("Patterns of prompts, instead of neurons");
         g.count("--prefill", f->prefill, "N",
                 "find for each head which N keys a prompt's queries read: a-shape, vertical-slash, blocks; added to "
                 "the sidecar that is there (with --force), for --prefill sidecar (docs/context.md)");
         g.text("--prefill-recall", f->prefill_recall, "SHARE",
                "heads of which no pattern keeps this share of attention's weight stay dense (default: 90%)");
         g.text("--prefill-neurons", f->prefill_neurons, "SHARE",
                "also find for each layer the smallest share of the neurons that keeps this share of what a block of a "
                "prompt's tokens activates (e.g. 95%)");
         g.section("Output file");
         g.text("-o,--out", f->out, "FILE", "the sidecar to write (default: MODEL.hunch beside the model)");
         add_force(g, f->force);
         add_engine(g, f->model, nullptr);
         return bind(f, sparsify);
       }});
  return v;
}

}  // namespace hunch::cli
