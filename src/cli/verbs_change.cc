// The grammars of convert, quantize and pull.
#include "cli/option_groups.h"
#include "cli/verb.h"

namespace hunch::cli {

namespace {

void add_convert(Grammar& g, ConvertFlags& f) {
  add_model(g, f.model);
  g.section("Output file");
  g.text("-o,--out", f.out, "FILE", "the GGUF file to write");
  g.choice("--type", f.type, {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"},
           "type of the matrices; norms and biases stay f32");
  g.choice("--layout", f.layout, {"auto", "rows", "neuron"},
           "down projections of ReLU models: by neuron, so that zeros can be skipped, or as rows, which llama.cpp "
           "reads; auto: by neuron where "
           "the type is quantised and llama.cpp does not know the architecture");
  g.text("--name", f.name, "TEXT", "the model's name in the metadata (default: its own)");
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
  v.push_back({"pull", "Fetch", "bring a model from the hub", "ID [options]",
               "hunch pull facebook/opt-125m\n"
               "hunch pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0\n",
               [](Grammar& g) {
                 auto f = std::make_shared<PullFlags>();
                 g.positional("ID", f->id);
                 g.section("Download");
                 g.text("--revision", f->revision, "NAME", "branch, tag or commit (default: main)");
                 g.count("--parallel", f->n_parallel, "N", "files at a time");
                 g.flag("--offline", f->offline, "use only what the cache has");
                 add_output(g, f->json, f->quiet);
                 return [f] {
                   if (f->id.empty())
                     fail(ErrorKind::kUsage, "which model? expected a hub id such as facebook/opt-125m");
                   return pull(*f);
                 };
               }});
  return v;
}

}  // namespace hunch::cli
