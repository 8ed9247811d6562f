// The names of PEFT folders are those of the checkpoint, whose rows may stand in another order than the model's: the
// import that made the model is asked where each row went (model/hf_trace.h).
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "io/output_folder.h"
#include "io/safetensors_write.h"
#include "model/hf_trace.h"
#include "train/save.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

// What checkpoints call a matrix of layer {}, without ".weight": Llama's descendants, and OPT.
struct Spelling {
  const char *layers, *q, *k, *v, *o, *gate, *up, *down;
};
constexpr Spelling kSpellings[] = {{"model.layers.", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                    "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
                                   {"model.decoder.layers.", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                    "self_attn.out_proj", "", "fc1", "fc2"}};

const char* name_in(const Spelling& s, Role role) {
  switch (role) {
    case Role::kQuery: return s.q;
    case Role::kKey: return s.k;
    case Role::kValue: return s.v;
    case Role::kHeads: return s.o;
    case Role::kGate: return s.gate;
    case Role::kUp: return s.up;
    default: return s.down;
  }
}

struct AdaptedModule {
  const Projection* projection;
  std::string module;            // the checkpoint's name, without ".weight"
  std::vector<uint32_t> places;  // [n_out] the row there of each row here
};

// By the first spelling that the architecture's import knows.
std::vector<AdaptedModule> find_modules(Network& network) {
  const Model& model = network.model();
  for (const Spelling& s : kSpellings) {
    std::vector<AdaptedModule> found;
    std::vector<NamedRows> named;
    for (const auto& block : network.blocks())
      block->for_each_projection([&](Projection& p) {
        if (!p.low_rank() && !p.output_factors() && !p.input_factors()) return;
        found.push_back({&p, fmt::format("{}{}.{}", s.layers, p.base().id.layer, name_in(s, p.base().id.role)), {}});
        named.push_back({found.back().module + ".weight", p.base().n_out, false});
      });
    const RowTrace trace = trace_hf_rows(model.file().meta, model.config(), named);
    if (!trace.unknown.empty()) continue;
    for (uint32_t m = 0; m < found.size(); ++m) {
      const auto rows = trace.tensors.find(model.weights().tensors.at(found[m].projection->base().id).name);
      const auto is_own = [m](const RowOrigin& from) { return from.matrix == m && from.factor == 1; };
      if (rows == trace.tensors.end() || rows->second.size() != named[m].n_rows ||
          !std::ranges::all_of(rows->second, is_own))
        fail(ErrorKind::kUnsupported, "rows of '{}' are not those of the model: write a GGUF adapter", named[m].name);
      if (found[m].projection->input_factors() && trace.input_orders.count(m))
        fail(ErrorKind::kUnsupported, "inputs of '{}' are in another order than the checkpoint's", named[m].name);
      for (const RowOrigin& from : rows->second) found[m].places.push_back(from.row);
    }
    return found;
  }
  fail(ErrorKind::kUnsupported, "hunch does not know what checkpoints of {} call these matrices: write a GGUF adapter",
       model.config().arch);
}

// Rows of [n_out, n] as the checkpoint has them.
std::vector<float> reordered(MatView<const float> rows, const std::vector<uint32_t>& places) {
  std::vector<float> out(rows.rows * rows.cols);
  for (size_t r = 0; r < rows.rows; ++r) std::ranges::copy(rows.row(r), out.begin() + ptrdiff_t(places[r] * rows.cols));
  return out;
}

Json config_of(const AdapterOptions& o, const std::set<std::string>& targets, const std::string& base_name) {
  return {{"base_model_name_or_path", base_name},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"lora_alpha", o.alpha},
          {"lora_dropout", 0.0},
          {"modules_to_save", nullptr},
          {"peft_type", "LORA"},
          {"r", o.rank},
          {"target_modules", targets},
          {"task_type", "CAUSAL_LM"},
          {"use_dora", o.kind == LowRankKind::kDora},
          {"use_rslora", o.kind == LowRankKind::kRsLora}};
}

Json ia3_config(const std::set<std::string>& targets, const std::set<std::string>& feedforward,
                const std::string& base_name) {
  return {{"base_model_name_or_path", base_name},
          {"fan_in_fan_out", false},
          {"feedforward_modules", feedforward},
          {"inference_mode", true},
          {"init_ia3_weights", true},
          {"modules_to_save", nullptr},
          {"peft_type", "IA3"},
          {"target_modules", targets},
          {"task_type", "CAUSAL_LM"}};
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text << '\n';
  out.close();
  if (!out) fail(ErrorKind::kIo, "cannot write '{}'", path.string());
}

}  // namespace

void write_peft_adapter(const std::filesystem::path& folder, Network& network, const std::string& base_name,
                        bool replace) {
  const std::vector<AdaptedModule> modules = find_modules(network);
  HUNCH_CHECK(!modules.empty(), "no adapter was trained");
  std::vector<std::vector<float>> values;  // of all tensors
  std::vector<TensorToWrite> tensors;
  std::set<std::string> targets, feedforward;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, std::vector<float> of) {
    values.push_back(std::move(of));
    tensors.push_back({"base_model.model." + name, DType::kF32, std::move(shape), {}});
  };
  for (const AdaptedModule& m : modules) {
    const std::string last = m.module.substr(m.module.rfind('.') + 1);
    targets.insert(last);
    if (const Parameter* p = m.projection->output_factors())
      add(m.module + ".ia3_l", {p->size(), 1}, reordered({p->value.data, p->size(), 1}, m.places));
    if (const Parameter* p = m.projection->input_factors()) {
      feedforward.insert(last);
      add(m.module + ".ia3_l", {1, p->size()}, {p->values().begin(), p->values().end()});
    }
    if (!m.projection->low_rank()) continue;
    const Projection::LowRank& own = *m.projection->low_rank();
    const size_t n_in = m.projection->base().n_in, n_out = m.projection->base().n_out, rank = own.options.rank;
    add(m.module + ".lora_A.weight", {rank, n_in}, {own.A->values().begin(), own.A->values().end()});
    add(m.module + ".lora_B.weight", {n_out, rank}, reordered(own.B->value, m.places));
    if (own.magnitude)
      add(m.module + ".lora_magnitude_vector", {n_out}, reordered({own.magnitude->value.data, n_out, 1}, m.places));
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    tensors[i].produce = [&values, i] { return std::as_bytes(std::span<const float>(values[i])); };
  OutputFolder out(folder, replace);
  write_safetensors(out.path() / "adapter_model.safetensors", tensors);
  const auto& low_rank = modules[0].projection->low_rank();
  write_text(out.path() / "adapter_config.json",
             (low_rank ? config_of(low_rank->options, targets, base_name) : ia3_config(targets, feedforward, base_name))
                 .dump(2));
  out.commit();
}

}  // namespace hunch
