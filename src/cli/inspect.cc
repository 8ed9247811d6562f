// hunch inspect: what is in a model file, and what it needs for a text.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/inspect_sidecar.h"
#include "cli/inspect_text.h"
#include "cli/inspect_weights.h"
#include "cli/inspect_workload.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "engine/pooling.h"
#include "io/printable.h"
#include "io/sparse_tensors.h"
#include "model/architecture.h"
#include "model/hold_exactly.h"
#include "model/sidecar.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(PositionKind kind) {
  switch (kind) {
    case PositionKind::kNone: return "none";
    case PositionKind::kLearned: return "learned";
    case PositionKind::kSinusoidal: return "sinusoidal";
    case PositionKind::kRope: return "rope";
    case PositionKind::kAlibi: return "alibi";
  }
  return "?";
}

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kRelu: return "relu";
    case Activation::kReluSquared: return "relu_squared";
    case Activation::kSilu: return "silu";
    case Activation::kGeluErf: return "gelu_erf";
    case Activation::kGeluTanh: return "gelu_tanh";
    case Activation::kGeluQuick: return "gelu_quick";
  }
  return "?";
}

const char* name_of(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::kNone: return "none";
    case RopeScaling::kLinear: return "linear";
    case RopeScaling::kDynamicNtk: return "dynamic_ntk";
    case RopeScaling::kYarn: return "yarn";
    case RopeScaling::kLongRope: return "longrope";
  }
  return "?";
}

Json config_json(const ModelConfig& c) {
  Json json = {{"n_layer", c.n_layer},
               {"n_embd", c.n_embd},
               {"n_head", c.n_head},
               {"n_kv_head", c.n_kv_head},
               {"d_head", c.d_head},
               {"n_ff", c.n_ff},
               {"n_vocab", c.n_vocab},
               {"n_ctx_train", c.n_ctx_train},
               {"norm", c.norm == NormKind::kRms ? "rms" : "layer"},
               {"norm_place", c.norm_place == NormPlace::kPre    ? "pre"
                              : c.norm_place == NormPlace::kPost ? "post"
                                                                 : "branch"},
               {"activation", name_of(c.activation)},
               {"gated", c.gated},
               {"parallel_residual", c.parallel_residual},
               {"position", name_of(c.position)}};
  if (c.n_embd_word && c.n_embd_word != c.n_embd) json["n_embd_word"] = c.n_embd_word;
  if (c.position == PositionKind::kRope) {
    json["rope_theta"] = c.rope.base;
    json["rope_dims"] = c.rope.n_rot;
    json["rope_scaling"] = name_of(c.rope.scaling);
  }
  if (!c.causal) json["causal"] = false;
  if (c.pooling) json["pooling"] = name_of(*c.pooling);
  if (c.moe.n_expert) {
    json["n_expert"] = c.moe.n_expert;
    json["n_expert_used"] = c.moe.n_expert_used;
  }
  // What differs between layers is told of each.
  const auto by_layer = [&](const char* name, const auto& of) {
    std::vector<size_t> values;
    for (const LayerConfig& l : c.layers) values.push_back(of(l));
    if (std::ranges::any_of(values, [&](size_t v) { return v != values[0]; })) json[name] = values;
  };
  by_layer("n_head", [](const LayerConfig& l) { return l.n_head; });
  by_layer("n_kv_head", [](const LayerConfig& l) { return l.n_kv_head; });
  by_layer("n_ff", [](const LayerConfig& l) { return l.n_ff; });
  if (!c.windows.empty()) json["windows"] = c.windows;
  return json;
}

constexpr size_t kLongestArray = 16;

// Vocabularies and the like are told by their length.
Json meta_json(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, MetaArray>) {
          return std::visit(
              [](const auto& array) -> Json {
                if (array.size() > kLongestArray) return {{"n", array.size()}};
                Json out = Json::array();
                for (size_t i = 0; i < array.size(); ++i) out.push_back(array[i]);
                return out;
              },
              v);
        } else {
          return Json(v);
        }
      },
      value);
}

struct DTypeTotal {
  size_t n_tensors = 0;
  uint64_t n_elems = 0, bytes = 0;
};

std::string shown(const Json& value) {
  if (value.is_object() && value.contains("n")) return fmt::format("[{} values]", grouped(value["n"].get<uint64_t>()));
  const std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return printable(text, 70);
}

// What `hunch sparsify` learned: null where there is nothing, `problem` where it cannot be used.
Json sidecar_json(const ModelFlags& flags, const ModelFile& file, const ModelConfig& config) {
  const std::filesystem::path path =
      flags.sidecar.empty() ? find_sidecar(resolve_model(flags)) : std::filesystem::path(flags.sidecar);
  std::error_code ec;
  if (flags.sidecar.empty() && !std::filesystem::exists(path, ec)) return nullptr;
  Json json = {{"path", path.string()}};
  try {
    const Sidecar sidecar = open_sidecar(path);
    check_sidecar(sidecar, file, config);
    json["n_predicted_layers"] =
        std::ranges::count_if(sidecar.layers, [](const SidecarLayer& l) { return l.neurons != nullptr; });
    json["n_head_layers"] =
        std::ranges::count_if(sidecar.layers, [](const SidecarLayer& l) { return l.heads.groups != nullptr; });
    json["method"] = sidecar.family() ? sidecar.family()->kind() : "predict";
    json["screen_rank"] = sidecar.screen ? Json(sidecar.screen->rank()) : Json();
    json["perplexity_dense"] = sidecar.quality.perplexity_dense;
    json["perplexity_sparse"] = sidecar.quality.perplexity_sparse;
    json["quality_tokens"] = sidecar.quality.n_tokens;
  } catch (const Error& e) {
    json["problem"] = e.what();
  }
  return json;
}

std::string sidecar_text(const Json& sidecar, size_t n_layer) {
  if (sidecar.is_null()) return "none";
  const std::string path = printable(sidecar["path"].get<std::string>(), 300);
  if (sidecar.contains("problem"))
    return fmt::format("{}: {}", path, printable(sidecar["problem"].get<std::string>(), 300));
  const std::string method = sidecar["method"];
  const std::string what =
      method == "predict"
          ? fmt::format("predicts the neurons of {} and the heads of {} of {} layers",
                        sidecar["n_predicted_layers"].get<size_t>(), sidecar["n_head_layers"].get<size_t>(), n_layer)
          : method;
  const std::string screen = sidecar["screen_rank"].is_null() ? ""
                                                              : fmt::format(", screens the vocabulary by rank {}",
                                                                            sidecar["screen_rank"].get<size_t>());
  return fmt::format("{}: {}{}; perplexity {:.3f}, dense {:.3f}, on {} tokens", path, what, screen,
                     sidecar["perplexity_sparse"].get<double>(), sidecar["perplexity_dense"].get<double>(),
                     grouped(sidecar["quality_tokens"].get<uint64_t>()));
}

std::string shape_text(const Tensor& t) { return fmt::format("[{}]", fmt::join(t.shape, ", ")); }

}  // namespace

int inspect(const InspectFlags& flags) {
  if (flags.wants_workload) {
    if (flags.tensors || flags.metadata || !flags.text.empty() || !flags.heads.empty() || flags.wants_weights)
      fail(ErrorKind::kUsage,
           "--workload counts, --text runs a text, --tensors and --metadata list the file: give one of them");
    inspect_workload(flags);
    return 0;
  }
  if (flags.wants_weights) {
    if (flags.tensors || flags.metadata || !flags.heads.empty())
      fail(ErrorKind::kUsage, "--weights looks at distributions: --tensors, --metadata and --heads do not go with it");
    inspect_weights(flags);
    return 0;
  }
  if (!flags.against.empty()) fail(ErrorKind::kUsage, "--against compares weights: add --weights");
  Json trace;
  if (!flags.text.empty()) {
    if (flags.tensors || flags.metadata)
      fail(ErrorKind::kUsage, "--tensors and --metadata list the file, --text runs a text: give one or the other");
    trace = inspect_text(flags);
    if (!flags.model.json) return 0;
  } else if (!flags.html.empty() || !flags.svg.empty() || !flags.heads.empty()) {
    fail(ErrorKind::kUsage,
         "--html, --svg and --heads show what the model does with a text: give --text FILE too, or --workload");
  }
  OpenedModel opened = open_named(flags.model);
  if (is_sidecar(opened.file) && !flags.tensors && !flags.metadata) {
    inspect_sidecar(flags, std::move(opened.file));
    return 0;
  }
  const ModelFile& file = opened.file;
  uint64_t n_params = 0, bytes = 0;
  std::map<std::pair<DType, bool>, DTypeTotal> totals;  // and whether zeros are left out
  for (const Tensor& t : file.tensors) {
    n_params += n_weights(t);
    bytes += t.data.size();
    DTypeTotal& total = totals[{dtype_of_weights(file, t), is_sparse_part(t.name)}];
    ++total.n_tensors;
    total.n_elems += n_weights(t);
    total.bytes += t.data.size();
  }
  const std::string arch = file.meta.get_string("general.architecture", "");
  // A file of an architecture that hunch does not run can still be looked into.
  Json config, sidecar;
  size_t n_layer = 0;
  std::string why_not;
  try {
    const ModelConfig c = config_from_gguf(file);
    check_types(file);
    config = config_json(c);
    n_layer = c.n_layer;
    sidecar = sidecar_json(flags.model, file, c);
  } catch (const Error& e) {
    why_not = e.what();
  }

  if (flags.model.json) {
    Json json = {{"arch", arch},
                 {"name", file.meta.get_string("general.name", "")},
                 {"source", opened.source},
                 {"n_params", n_params},
                 {"bytes", bytes},
                 {"config", config}};
    if (!why_not.empty()) json["config_error"] = why_not;
    if (const HeldOtherwise held = held_otherwise(file); held.n_tensors)
      json["held_otherwise"] = {{"n_tensors", held.n_tensors},
                                {"type", hunch::name_of(held.held_as)},
                                {"file_bytes", held.file_bytes},
                                {"memory_bytes", held.memory_bytes}};
    json["metadata"] = Json::object();
    for (const std::string& key : file.meta.keys()) json["metadata"][key] = meta_json(*file.meta.find(key));
    json["tensors"] = Json::array();
    for (const Tensor& t : file.tensors)
      json["tensors"].push_back(
          {{"name", t.name}, {"dtype", hunch::name_of(t.dtype)}, {"shape", t.shape}, {"bytes", t.data.size()}});
    json["unused_tensors"] = opened.unused;
    json["unread_config"] = opened.unread;
    json["left_out_tensors"] = opened.left_out;
    json["quantised"] = opened.quantised.method.empty() ? Json() : Json(opened.quantised.text());
    json["sidecar"] = sidecar;
    if (!trace.is_null()) json["trace"] = std::move(trace);
    print_json(json);
    return 0;
  }

  std::string out =
      table({{"model", printable(flags.model.model, 300)},
             {"name", printable(file.meta.get_string("general.name", "-"))},
             {"format", opened.source},
             {"architecture", printable(arch)},
             {"parameters", fmt::format("{} ({})", grouped(n_params), human_count(double(n_params)))},
             {"tensors", fmt::format("{} in {} tensors", human_bytes(double(bytes)), file.tensors.size())},
             {"sidecar", sidecar_text(sidecar, n_layer)}},
            {1});
  if (const std::string text = opened.quantised.text(); !text.empty())
    out += "\n" + paragraph(printable(text, 300)) + "\n";
  if (config.is_null()) {
    out += "\n" + paragraph("not runnable: " + printable(why_not, 300)) + "\n";
  } else {
    out += "\nconfig\n";
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : config.items()) rows.push_back({"  " + key, shown(value)});
    out += table(rows, {1});
  }
  std::vector<std::vector<std::string>> rows = {{"dtype", "tensors", "parameters", "bytes", "bits each"}};
  for (const auto& [type, total] : totals)
    rows.push_back({std::string(hunch::name_of(type.first)) + (type.second ? " without zeros" : ""),
                    std::to_string(total.n_tensors), grouped(total.n_elems), grouped(total.bytes),
                    fmt::format("{:.2f}", total.n_elems ? 8.0 * double(total.bytes) / double(total.n_elems) : 0.0)});
  out += "\n" + table(rows);
  if (const std::string held = describe(held_otherwise(file)); !held.empty()) out += "\n" + paragraph(held) + "\n";
  if (flags.metadata) {
    rows = {{"key", "value"}};
    for (const std::string& key : file.meta.keys())
      rows.push_back({printable(key), shown(meta_json(*file.meta.find(key)))});
    out += "\n" + table(rows, {1});
  }
  if (flags.tensors) {
    rows = {{"tensor", "dtype", "shape", "bytes"}};
    for (const Tensor& t : file.tensors)
      rows.push_back({printable(t.name), hunch::name_of(t.dtype), shape_text(t), grouped(t.data.size())});
    out += "\n" + table(rows, {1, 2});
  }
  if (!opened.unused.empty()) {
    out += fmt::format("\n{} tensors of the folder are not used:\n", opened.unused.size());
    for (const std::string& name : opened.unused) out += paragraph("  " + printable(name), 4) + "\n";
  }
  if (const std::string text = describe_left_out(opened.left_out); !text.empty()) out += "\n" + paragraph(text) + "\n";
  if (!opened.unread.empty()) out += "\n" + paragraph(describe_unread(opened.unread)) + "\n";
  if (!flags.metadata && !flags.tensors && !flags.model.quiet) note("(--metadata and --tensors list them)");
  print(out);
  return 0;
}

}  // namespace hunch::cli
