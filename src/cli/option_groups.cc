#include "cli/option_groups.h"

#include "formats/format.h"

#include <fmt/format.h>

#include "select/expert_policies.h"
#include "select/key_policies.h"
#include "select/prompt_pattern.h"

namespace hunch::cli {

void add_model(Grammar& g, ModelFlags& model) { g.positional("MODEL", model.model); }

void add_adapters(Grammar& g, ModelFlags& model) {
  g.texts("--lora", model.lora, "PATH[:SCALE]",
          "add a LoRA adapter, a PEFT folder or a GGUF file, or SCALE of it; may be repeated, they add up");
}

void add_force(Grammar& g, bool& force) {
  g.flag("--force", force, "write over a file that is there already, but never over what is read");
}

void add_variables(Grammar& g, std::vector<std::string>& variables) {
  g.texts("--variables", variables, "KEY=VALUE|JSON|FILE",
          "set what the template looks at: enable_thinking=false, {\"enable_thinking\": false} or a file with such an "
          "object; bos_token and eos_token stand in for the model's; may be repeated");
}

void add_output(Grammar& g, bool& json, bool& quiet) {
  g.section("Output");
  g.flag("--json", json, "print one JSON object on standard output and nothing else there");
  g.flag("--quiet", quiet, "print results and errors only");
}

void add_engine(Grammar& g, ModelFlags& model, ContextFlags* context, bool is_bench) {
  g.section("Engine");
  if (context && !is_bench)
    g.count("--ctx", context->n_ctx, "N", "context length, tokens", "the model's, at most 4096");
  if (context) {
    g.choice(
        "--mode", context->mode, {"dense", "exact", "sparse"},
        "dense reads every weight; exact skips what ReLU made zero; sparse computes only what the sidecar's predictors "
        "or its method choose");
    g.share("--density", context->density, "D",
            "sparse mode: mean share of the neurons (teal: of the weights) to compute", "as calibrated");
    g.text("--sidecar", model.sidecar, "FILE", "what `hunch sparsify` learned (default: MODEL.hunch beside the model)");
    add_adapters(g, model);
    g.share("--oracle-density", context->oracle_density, "D",
            "keep only this share of the neurons and heads, chosen by a first, dense pass; 1 = off");
    g.share("--oracle-heads", context->oracle_head_density, "D",
            "share of the heads, where it is another than that of the neurons; 0 = the same");
    static const std::string policies = fmt::format(
        "cached tokens that stay per head, or that a query reads: {}; none: all. eval and bench take several and print "
        "what each costs",
        key_policy_help());
    g.texts("--kv-policy", context->kv_policies, "NAME:BUDGET", policies.c_str());
    static const std::string patterns = fmt::format(
        "what a prompt's queries read of what stands before: {}, or sidecar: what `hunch sparsify --prefill` found for "
        "each head; dense: everything (docs/context.md)",
        prompt_pattern_help());
    g.text("--prefill", context->prefill, "NAME:BUDGET", patterns.c_str());
    static const std::string routers = fmt::format(
        "which experts the tokens of a mixture go to, instead of its own choice: {}; eval takes several and prints "
        "what each costs",
        expert_policy_help());
    g.texts("--experts", context->experts, "NAME[:NUMBER]", routers.c_str());
    g.text("--memory", model.memory, "FILE",
           "look into what `hunch memory` made of another text, beside the cache (docs/memory.md)");
    g.count("--memory-top", model.memory_top, "N", "memories that a query of each head reads");
    g.text("--memory-gate", model.memory_gate, "SHARE",
           "what memories count in attention's result (default: one softmax over keys and memories)");
    g.text(
        "--rope", model.rope, "KIND[:FACTOR]",
        "stretch RoPE beyond the trained length: linear:4, ntk:4, dynamic, yarn:4, self-extend:8,window=512, or none; "
        "instead of what the file says (docs/context.md)");
    g.choice("--kv", context->kv, kv_type_names(),
             "type of the KV cache; f32 is exact, the others are smaller and rounded, f16 by next to nothing "
             "(docs/context.md)");
  }
  if (context)
    g.text("--device", model.device, "NAME",
           "where it is computed: cpu, vulkan:N (`hunch devices` lists them), or auto: a card that can, else cpu "
           "(docs/devices.md)");
  if (context) {
    g.count("--gpu-layers", model.gpu_layers, "N",
            "its last N layers are computed on --device, the others on the processor (default: all; with auto: as many "
            "as its memory holds)");
    g.text(
        "--gpu-neurons", model.gpu_neurons, "SHARE|auto",
        "the busiest neurons of these layers are computed on --device, the others at the same time on the processor: a "
        "share, as 0.2 or 20%, or as many as have both ready together (default: all on the device)");
    g.text("--gpu-memory", model.gpu_memory, "SIZE",
           "so much of the memory of --device is planned with, as 8G (default: what is free)");
  }
  g.count("-t,--threads", model.n_threads, "N", "threads", "one per core");
  g.flag("--pin", model.pin_threads, "bind each thread to one core");
  if (context)
    g.text("--numa", model.numa, "HOW",
           "threads and weights on machines of several memory nodes: distribute, threads bound to all nodes and each "
           "with its rows; isolate, the node it starts on; numactl, as distribute on what numactl left; ranks, one "
           "process of mpirun on each; auto, distribute where there are several; off (default: off; docs/scale.md)");
  if (context)
    g.choice("--precision", model.precision, {"f32", "bf16"},
             "of products of many tokens (prompts, batches) with F32, F16, BF16, FP8, NF4, FP4 and I8_64 weights: bf16 "
             "rounds both to 8 "
             "bits (an error of 0.23 %), and is faster on processors that multiply bf16 (docs/kernels.md)");
  if (context)
    g.text("--ram", model.ram, "SIZE",
           "memory for the weights, as 4G: of a larger model, neurons and experts are read from the disk when they are "
           "needed (docs/larger-than-memory.md; default: all weights are mapped)");
  if (context)
    g.text(
        "--ranks", model.ranks, "HOW",
        "what each process that mpirun starts has of the model: tensor, its heads and neurons; tensor:even, the same, "
        "and in sparse mode each computes as many neurons; tensor:int8, what prompts add up is rounded on its way "
        "through a slow network; pipeline, its layers, evenly; pipeline:12,10, so many of them; pipeline:auto, by how "
        "fast it reads and multiplies (default: tensor; docs/scale.md)");
  if (context)
    g.flag("--reblock-down", model.reblock_down,
           "re-encode quantised down projections of ReLU models so that zeros can be skipped; prints what it costs");
  if (context && !is_bench)
    g.text("--costs", model.costs, "FILE",
           "what rows cost to read each way, as `hunch bench --batch N --costs FILE` measured it, so that every run "
           "chooses alike");
  if (context)
    g.text("--force-target", model.force_target, "NAME", "use this SIMD target or a worse one (for bug reports)");
  g.choice("--quantised", model.quantised, {"auto", "blocks", "floats"},
           "weights of a quantised Hugging Face checkpoint (GPTQ, AWQ, FP8, ...): blocks of GGUF where these hold the "
           "same numbers, or floats, which take more memory and round no inputs; auto: floats where they take less "
           "than 64 MiB");
  add_output(g, model.json, model.quiet);
  g.flag("-v,--verbose", model.verbose, "also say what was read, layer by layer, and how fast");
}

void add_drafting(Grammar& g, DraftFlags& drafting) {
  g.section("Drafting (faster, the answer stays that of plain decoding)");
  g.flag("--lossless", drafting.lossless,
         "draft several tokens, verify them in one pass: n-grams draft, sparse mode where there is a sidecar, and what "
         "--kv-policy quest:N reads of the cache");
  g.text("--draft", drafting.draft, "MODEL", "let this small model draft; it must share MODEL's tokenizer");
  g.flag("--ngram", drafting.ngram, "draft what followed the last time that the text ended like this");
  g.flag("--no-ngram", drafting.no_ngram, "with --lossless: n-grams do not draft");
  g.text("--draft-tokens", drafting.draft_tokens, "N|auto",
         "tokens drafted at a time, at most 16; auto: as many as pays, or none");
}

void add_sampling(Grammar& g, SamplerFlags& sampler) {
  SamplerOptions& o = sampler.options;
  g.section("Sampling, in this order");
  g.texts("--logit-bias", sampler.logit_bias, "ID=BIAS",
          "add BIAS to a token's logit (-inf forbids it); may be repeated");
  g.real("--repeat-penalty", o.repeat_penalty, "X", "divide the logits of recent tokens; 1 = off");
  g.real("--frequency-penalty", o.frequency_penalty, "X", "subtract X for every earlier occurrence; 0 = off");
  g.real("--presence-penalty", o.presence_penalty, "X", "subtract X from tokens that have occurred; 0 = off");
  g.integer("--penalty-last-n", o.penalty_last_n, "N", "how far back the penalties look, tokens; -1 = the whole text");
  g.real("--temperature", o.temperature, "T", "below 1 calmer, above 1 wilder; 0 = always the most probable token");
  g.integer("--top-k", o.top_k, "K", "keep the K most probable tokens; 0 = all");
  g.real("--typical-p", o.typical_p, "P", "keep the tokens nearest the entropy, up to P; 1 = off");
  g.real("--top-p", o.top_p, "P", "keep the most probable tokens, up to P together; 1 = off");
  g.real("--min-p", o.min_p, "P", "keep tokens at least P times as probable as the best; 0 = off");
  g.count("--seed", sampler.seed, "N", "the same seed gives the same text; -1, as without it: each run has its own");
}

}  // namespace hunch::cli
