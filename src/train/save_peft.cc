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
#include "model/peft_names.h"
#include "train/save.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

struct AdaptedModule {
  const Projection* projection;
  std::string module;            // the checkpoint's name, without ".weight"
  std::vector<uint32_t> places;  // [n_out] the row there of each row here
};

// By the first spelling that the architecture's import knows.
std::vector<AdaptedModule> find_modules(Network& network) {
  const Model& model = network.model();
  for (const PeftNames& names : kPeftNames) {
    std::vector<AdaptedModule> found;
    std::vector<NamedRows> named;
    for (const auto& block : network.blocks())
      block->for_each_projection([&](Projection& p) {
        if (!p.low_rank() && !p.output_factors() && !p.input_factors()) return;
        found.push_back({&p, names.module(p.base().id.layer, p.base().id.role), {}});
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

// `layers`: those that have adapters, of all or of some.
Json config_of(const AdapterOptions& o, const std::set<std::string>& targets, const Json& layers,
               const std::string& base_name) {
  return {{"base_model_name_or_path", base_name},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"layers_to_transform", layers},
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

// Of prompt and prefix tuning. PEFT computes [n, layers, keys and values, heads] from these numbers.
Json virtual_config(const Network& network, bool keys, const std::string& base_name) {
  const LayerConfig& c = network.model().config().layers[0];
  Json config = {{"base_model_name_or_path", base_name},
                 {"inference_mode", true},
                 {"num_attention_heads", keys ? c.n_kv_head : c.n_head},
                 {"num_layers", network.model().config().n_layer},
                 {"num_transformer_submodules", 1},
                 {"num_virtual_tokens", network.n_virtual()},
                 {"peft_type", keys ? "PREFIX_TUNING" : "PROMPT_TUNING"},
                 {"task_type", "CAUSAL_LM"},
                 {"token_dim", keys ? c.n_kv_head * c.d_head : network.model().config().n_embd}};
  if (keys) config["encoder_hidden_size"] = config["token_dim"], config["prefix_projection"] = false;
  if (!keys) config["prompt_tuning_init"] = "RANDOM";
  return config;
}

// [n, layers, keys and values, ...] in the checkpoint's order of rows.
std::vector<float> prefix_values_of(Network& network, size_t& width) {
  const Model& model = network.model();
  const auto key_rows = checkpoint_rows(model, Role::kKey), value_rows = checkpoint_rows(model, Role::kValue);
  std::vector<std::vector<float>> tokens(network.n_virtual());
  for (size_t l = 0; l < network.blocks().size(); ++l)
    for (const bool keys : {true, false}) {
      const Parameter& p = keys ? *network.blocks()[l]->prefix_keys : *network.blocks()[l]->prefix_values;
      const std::vector<uint32_t>& rows = keys ? key_rows[l] : value_rows[l];
      for (size_t t = 0; t < tokens.size(); ++t) {
        const size_t at = tokens[t].size();
        tokens[t].resize(at + rows.size());
        for (size_t i = 0; i < rows.size(); ++i) tokens[t][at + rows[i]] = p.value.row(t)[i];
      }
    }
  width = tokens[0].size();
  std::vector<float> all;
  for (const std::vector<float>& token : tokens) all.insert(all.end(), token.begin(), token.end());
  return all;
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text << '\n';
  out.close();
  if (!out) fail(ErrorKind::kIo, "cannot write '{}'", path.string());
}

}  // namespace

namespace {

void write_virtual_tokens(const std::filesystem::path& folder, Network& network, const std::string& base_name,
                          bool replace) {
  const bool keys = !network.prompt();
  size_t width = network.model().config().n_embd;
  std::vector<float> values =
      keys ? prefix_values_of(network, width)
           : std::vector<float>(network.prompt()->values().begin(), network.prompt()->values().end());
  const TensorToWrite tensor{"prompt_embeddings", DType::kF32, {network.n_virtual(), width}, [&] {
                               return std::as_bytes(std::span<const float>(values));
                             }};
  OutputFolder out(folder, replace);
  write_safetensors(out.path() / "adapter_model.safetensors", {&tensor, 1});
  write_text(out.path() / "adapter_config.json", virtual_config(network, keys, base_name).dump(2));
  out.commit();
}

}  // namespace

void write_peft_adapter(const std::filesystem::path& folder, Network& network, const std::string& base_name,
                        bool replace) {
  if (network.n_virtual() > 0) return write_virtual_tokens(folder, network, base_name, replace);
  const std::vector<AdaptedModule> modules = find_modules(network);
  HUNCH_CHECK(!modules.empty(), "no adapter was trained");
  std::vector<std::vector<float>> values;  // of all tensors
  std::vector<TensorToWrite> tensors;
  std::set<std::string> targets, feedforward;
  std::set<size_t> layers;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, std::vector<float> of) {
    values.push_back(std::move(of));
    tensors.push_back({"base_model.model." + name, DType::kF32, std::move(shape), {}});
  };
  for (const AdaptedModule& m : modules) {
    const std::string last = m.module.substr(m.module.rfind('.') + 1);
    targets.insert(last);
    layers.insert(m.projection->base().id.layer);
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
             (low_rank ? config_of(low_rank->options, targets,
                                   layers.size() < network.blocks().size() ? Json(layers) : Json(), base_name)
                       : ia3_config(targets, feedforward, base_name))
                 .dump(2));
  out.commit();
}

}  // namespace hunch
