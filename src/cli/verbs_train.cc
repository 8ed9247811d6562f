// The grammar of train.
#include "cli/option_groups.h"
#include "cli/train_flags.h"
#include "cli/verb.h"
#include "formats/format.h"
#include "train/optimizer.h"
#include "train/training.h"

namespace hunch::cli {
namespace {

void add_train(Grammar& g, TrainFlags& f) {
  add_model(g, f.model);
  g.section("Text");
  g.text("--text", f.text, "FILE", "text like what the model is to write");
  g.text(
      "--examples", f.examples, "FILE",
      "instead of a text: a line {\"prompt\": TEXT, \"answer\": TEXT} for each example, of which answers are learned");
  g.text("--task", f.task, "NAME", "instead of a text: the right answers of a task of hunch eval, as it asks for them");
  g.text("--file", f.file, "FILE", "the questions of --task");
  g.text("--eval", f.eval, "FILE",
         "text, or examples, to measure the loss on (default: the last 5 % of --text, 10 % of examples, held out)");
  g.count("--ctx", f.n_ctx, "N", "tokens of a window, which see each other", "256, or the model's context");
  g.section("What is trained (docs/adaptation.md)");
  g.choice("--method", f.method, training_methods(),
           "an adapter of low rank beside the weights, which may be quantised; factors of keys, values and neurons; "
           "tokens before every text, as embeddings (prompt) or as keys and values (prefix); or full: all weights, of "
           "a model in f32, f16 or bf16");
  g.count("--rank", f.rank, "N", "of the adapter (default: 8)");
  g.text("--alpha", f.alpha, "X", "the adapter counts alpha / rank, of rslora alpha / sqrt(rank) (default: 2 * rank)");
  g.count("--virtual-tokens", f.n_virtual_tokens, "N", "of --method prompt and prefix (default: 20)");
  g.text(
      "--loftq", f.loftq, "MODEL",
      "MODEL as it was before it was rounded: adapters begin with what rounding lost, as far as their rank holds it");
  g.text("--only", f.only, "LIST", "adapters of these matrices: q,k,v,o,gate,up,down (default: all)");
  g.counts("--only-layers", f.only_layers, "LIST", "train these layers alone: 0,5,11 (default: all)");
  g.section("From scratch, and growing (docs/adaptation.md); all weights are trained");
  g.flag("--new", f.is_new, "random weights in MODEL's architecture, with its vocabulary, in these sizes");
  g.flag("--grow", f.grows, "MODEL with more layers, neurons or (a multiple) width, at first computing the same");
  g.count("--layers", f.n_layer, "N", "layers");
  g.count("--width", f.n_embd, "N", "values of the stream");
  g.count("--ff", f.n_ff, "N", "neurons of a layer");
  g.count("--heads", f.n_head, "N", "heads of a new model");
  g.count("--kv-heads", f.n_kv_head, "N", "heads of keys and values of a new model");
  g.choice("--init", f.init, {"fan-in", "small"},
           "deviations of a new model's matrices: 1 / sqrt(inputs), or 0.02; less for what adds to the stream");
  g.section("Towards smaller and sparser models, with --method full");
  std::vector<std::string> types = format_names(&Format::writes);
  types.insert(types.begin(), "auto");
  g.choice("--type", f.type, std::move(types),
           "quantisation-aware: the blocks' matrices are rounded to this type in every step, and written so");
  g.flag("--learn-clipping", f.learns_clipping,
         "with --type: rows are clipped before they are rounded, as far as is learned");
  g.choice("--activation", f.activation, {"auto", "relu"},
           "the MLPs get used to a ReLU, whose zeros hunch skips; auto: to the function that they have");
  g.flag("--keep-zeros", f.keep_zeros, "weights of the blocks' matrices that are 0 stay so: a pruned model recovers");
  g.share("--prune", f.prune, "SHARE",
          "of each matrix of the blocks becomes 0, the smallest first, little by little over two thirds of the steps");
  g.real("--activation-threshold", f.activation_threshold, "X",
         "of --activation relu: only what is above counts, at last; it rises in the last quarter of the steps");
  g.real("--l1", f.l1, "X",
         "this times the mean absolute activation of every layer is added to the loss, at last: it rises over three "
         "quarters of the steps");
  g.count("--l1-stages", f.l1_stages, "N", "in which it rises, each of which ends level");
  g.section("Steps");
  std::vector<std::string> optimizers = optimizer_names();
  optimizers.insert(optimizers.end(), {"lomo", "mezo"});
  g.choice("--optimizer", f.optimizer, std::move(optimizers),
           "lomo: sgd that applies gradients block by block, in the memory of one; mezo: along random directions, with "
           "forward passes alone");
  g.real("--learning-rate", f.learning_rate, "X", "the peak", "by method and optimiser");
  g.share("--last-rate", f.last_rate, "SHARE", "of the peak, at the last step, down half a cosine");
  g.count("--warmup", f.n_warmup, "N", "steps on which the rate rises (default: a twentieth of all, at most 100)");
  g.count("--batch", f.n_batch, "N", "windows of a step");
  g.real("--epochs", f.n_epochs, "X", "passes over the text");
  g.count("--steps", f.n_steps, "N", "so many steps instead", "as many as the passes take");
  g.real("--weight-decay", f.weight_decay, "X", "of matrices, not of norms and biases");
  g.real("--clip", f.clip, "X", "largest norm of the gradients; 0: any");
  g.choice("--precision", f.precision, {"f32", "bf16"},
           "what matrix products see; all else is f32. bf16: up to twice as fast, on processors with AVX512_BF16");
  g.count("--seed", f.seed, "N", "of what is random: the same seed gives the same bits, by any number of threads");
  g.section("Distillation");
  g.text("--teacher", f.teacher, "MODEL|URL",
         "a model of the same vocabulary, whose probabilities are learned; with --prompts any model, or a server with "
         "OpenAI's API (http://HOST:PORT/v1; a key in OPENAI_API_KEY)");
  g.text("--prompts", f.prompts, "FILE",
         "instead of a text: a prompt a line, which the teacher answers; its answers are learned, and kept in "
         "OUT.answers.jsonl");
  g.count("--answer-tokens", f.n_answer_tokens, "N", "of such an answer, at most");
  g.real("--answer-temperature", f.answer_temperature, "X", "at which it is drawn; 0: the likeliest tokens");
  g.text("--teacher-model", f.teacher_model, "NAME", "which of the server's models answers (default: the server's)");
  g.choice("--divergence", f.divergence, {"forward", "reverse"},
           "KL(teacher || model), or KL(model || teacher), which keeps to what the teacher finds likely");
  g.real("--distill-temperature", f.distill_temperature, "X", "both distributions are flattened by it");
  g.share("--distill-share", f.distill_share, "SHARE", "of the divergence in the loss; the rest is the text's");
  g.section("Progress");
  g.count("--eval-every", f.eval_every, "N", "steps between losses on the held-out text; 0: only at the end");
  g.count("--checkpoint-every", f.checkpoint_every, "N",
          "steps between checkpoints, OUT.checkpoint, from which the same command goes on; 0: only when interrupted");
  g.flag("--restart", f.restart, "begin anew where there is a checkpoint");
  g.section("Output file");
  g.text("-o,--out", f.out, "FILE|FOLDER",
         "NAME.gguf: a GGUF adapter, or the model of --method full; else a PEFT folder");
  add_force(g, f.force);
  add_engine(g, f.model, nullptr);
}

}  // namespace

std::vector<Verb> training_verbs() {
  std::vector<Verb> v;
  v.push_back({"train", "Change", "fit an adapter, or all weights, to a text",
               "MODEL --text FILE -o FILE|FOLDER [options]",
               "hunch train model.gguf --text letters.txt -o tone.gguf\n"
               "hunch run model.gguf --lora tone.gguf -p \"Dear customer,\"\n"
               "hunch train model-q4_0.gguf --text letters.txt --method dora --rank 16 --epochs 3 -o tone/\n"
               "hunch train small-f16.gguf --text letters.txt --method full -o tuned.gguf\n",
               [](Grammar& g) {
                 auto f = std::make_shared<TrainFlags>();
                 add_train(g, *f);
                 return bind(f, train);
               }});
  return v;
}

}  // namespace hunch::cli
