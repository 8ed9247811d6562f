#include "compress/export_folder.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "compress/compress_file.h"
#include "compress/hf_rows.h"
#include "io/output_folder.h"
#include "io/printable.h"
#include "io/safetensors_write.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

// What of a checkpoint's folder is not weights and belongs to the model all the same.
constexpr const char* kFiles[] = {"tokenizer.json",
                                  "tokenizer_config.json",
                                  "tokenizer.model",
                                  "special_tokens_map.json",
                                  "added_tokens.json",
                                  "vocab.json",
                                  "merges.txt",
                                  "vocab.txt",
                                  "chat_template.jinja",
                                  "chat_template.json",
                                  "generation_config.json"};

class ExportedTensors {
 public:
  ExportedTensors(const Engine& engine, const HfFolder& folder, CompressWalk& walk, const CompressOptions& options,
                  const ExportForm& form, CompressReport& report)
      : engine_(engine),
        folder_(folder),
        walk_(walk),
        options_(options),
        form_(form),
        report_(report),
        rows_(engine, folder, [&](const LinearId& id) { return walk.chooses(id.role); }) {}

  const std::vector<std::string>& float_modules() const { return rows_.other_modules(); }

  // In the order in which the walk finishes layers. Valid as long as this.
  std::vector<TensorToWrite> tensors() {
    find_changes();
    std::vector<std::pair<size_t, TensorToWrite>> out;
    for (const Tensor& t : folder_.tensors) {
      report_.bytes_before += t.data.size();
      if (const auto rows = rows_.matrices().find(t.name); rows != rows_.matrices().end()) {
        const size_t layer = rows->second[0].id.layer;
        const std::string module = t.name.substr(0, t.name.size() - std::string_view(".weight").size());
        for (TensorToWrite& part : tensors_of(form_, module, t.rows(), t.cols(),
                                              [this, name = t.name]() -> const ExportMatrix& { return matrix(name); }))
          out.emplace_back(layer + 1, std::move(part));
      } else if (const auto changed = changed_.find(t.name); changed != changed_.end()) {
        out.emplace_back(changed->second + 1,
                         TensorToWrite{t.name, DType::kF32, t.shape, [this, &t] { return vector(t); }});
      } else {
        out.emplace_back(0, TensorToWrite{t.name, t.dtype, t.shape, [&t] { return t.data; }});
      }
    }
    std::ranges::stable_sort(out, {}, [](const auto& entry) { return entry.first; });
    std::vector<TensorToWrite> tensors;
    for (auto& [order, tensor] : out) {
      uint64_t n = info(tensor.dtype).block_bytes;
      for (const uint64_t d : tensor.shape) n *= d;
      report_.bytes += n;
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

 private:
  // Vectors of the checkpoint that scales may be folded into, and their layers.
  void find_changes() {
    if (!scales_inputs(options_.methods.rounder)) return;
    for (const Tensor& t : engine_.model->file().tensors) {
      if (!takes_scales(t.name)) continue;
      const size_t layer = std::strtoull(t.name.c_str() + 4, nullptr, 10);
      numbers_[t.name] = rows_.numbers(t.name);
      for (const HfRows::Number& number : numbers_[t.name]) changed_[number.tensor] = layer;
    }
  }

  const ExportMatrix& matrix(const std::string& name) {
    if (name == name_) return matrix_;
    const std::vector<ModelRow>& rows = rows_.matrices().at(name);
    const CompressResult& result = walk_.layer(rows[0].id.layer);
    std::map<LinearId, const CompressedMatrix*> by_id;
    for (const CompressedMatrix& m : result.matrices) by_id[m.id] = &m;
    matrix_ = {};
    matrix_.n_out = rows.size();
    for (const auto& [id, row] : rows) {
      const CompressedMatrix& m = *by_id.at(id);
      matrix_.n_in = m.encoded.cols;
      if (form_.int8) {
        const std::byte* const codes = m.encoded.bytes.data() + row * m.encoded.cols;
        const auto* first = reinterpret_cast<const uint8_t*>(codes);
        matrix_.codes.insert(matrix_.codes.end(), first, first + m.encoded.cols);
        matrix_.scale.push_back(m.int8.scale[row]);
        continue;
      }
      const auto first = m.coded.codes.begin() + ptrdiff_t(row * m.encoded.cols);
      matrix_.codes.insert(matrix_.codes.end(), first, first + ptrdiff_t(m.encoded.cols));
      const std::span<const float> scale = m.coded.scale.row(row), zero = m.coded.zero.row(row);
      matrix_.scale.insert(matrix_.scale.end(), scale.begin(), scale.end());
      matrix_.zero.insert(matrix_.zero.end(), zero.begin(), zero.end());
    }
    name_ = name;
    tell(rows, by_id);
    return matrix_;
  }

  // Of a fused matrix each part once, with its share of the bytes.
  void tell(const std::vector<ModelRow>& rows, const std::map<LinearId, const CompressedMatrix*>& by_id) {
    const Layer& layer = std::as_const(*engine_.model).weights().layers[rows[0].id.layer];
    layer.for_each_linear([&](const Linear& linear) {
      const auto found = by_id.find(linear.id);
      if (found == by_id.end() || !told_.insert(linear.id).second) return;
      const CompressedMatrix& m = *found->second;
      const uint64_t n = uint64_t{linear.n_out} * linear.n_in,
                     groups = form_.int8 ? linear.n_out : m.coded.scale.values.size();
      const bool zeros = !form_.int8 && (!form_.grid.symmetric || form_.layout != ExportLayout::kCompressedTensors);
      const size_t bits = form_.int8 ? 8 : size_t(form_.grid.bits);
      note_matrix(linear, m, n * bits / 8 + groups * 2 + (zeros ? groups * bits / 8 : 0), report_);
    });
  }

  std::span<const std::byte> vector(const Tensor& t) {
    std::vector<float> values(t.n_elems());
    codec(t.dtype).decode(t.data.data(), values.data(), values.size());
    for (const ChangedVector& change : walk_.layer(changed_.at(t.name)).vectors) {
      const std::vector<HfRows::Number>& numbers = numbers_.at(change.tensor);
      for (size_t i = 0; i < change.values.size(); ++i)
        if (const HfRows::Number& n = numbers.at(change.first + i); n.tensor == t.name)
          values[n.index] = change.values[i] - n.added;
    }
    bytes_.resize(values.size() * sizeof(float));
    std::memcpy(bytes_.data(), values.data(), bytes_.size());
    return bytes_;
  }

  const Engine& engine_;
  const HfFolder& folder_;
  CompressWalk& walk_;
  const CompressOptions& options_;
  const ExportForm& form_;
  CompressReport& report_;
  HfRows rows_;
  std::map<std::string, size_t> changed_;                       // vectors of the checkpoint, and their layers
  std::map<std::string, std::vector<HfRows::Number>> numbers_;  // of vectors of the model's file
  std::set<LinearId> told_;
  std::string name_;  // of `matrix_`
  ExportMatrix matrix_;
  std::vector<std::byte> bytes_;
};

std::string config_with(const fs::path& source, const HfFolder& folder, const Json& quantization) {
  Json config = Json::parse(read_file(source / "config.json"), nullptr, false);
  if (!config.is_object()) config = Json::parse(folder.config_json);  // Infinity and the like
  config["quantization_config"] = quantization;
  return config.dump(2) + "\n";
}

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void check_source(const Engine& engine, const fs::path& source) {
  if (!is_hf_folder(source))
    fail(ErrorKind::kUnsupported,
         "'{}' is no Hugging Face folder: a quantised folder needs the names, the configuration and the tokenizer's "
         "files of one; compress the folder that this model was made of",
         printable(source.string(), 300));
  if (!engine.quantised.method.empty())
    fail(ErrorKind::kUnsupported, "'{}' is quantised already ({}): compress the folder that it was made of",
         printable(source.string(), 300), engine.quantised.method);
}

}  // namespace

ExportForm export_form(const Engine& engine, ExportLayout layout, const GridOptions& grid, CompressOptions& options) {
  ExportForm form;
  form.layout = layout;
  form.int8 = rounds_inputs(options.methods.rounder);
  form.damping = options.damping;
  const bool is_bf16 = engine.model->main_dtype() == DType::kBF16;
  form.scale_type = layout == ExportLayout::kCompressedTensors && is_bf16 ? DType::kBF16 : DType::kF16;
  const Rounder rounder = options.methods.rounder;
  if (rounder == Rounder::kNone || rounder == Rounder::kNf4 || rounder == Rounder::kZeroQuant ||
      rounder == Rounder::kLlmInt8)
    fail(ErrorKind::kUnsupported,
         "no layout of quantised folders has the numbers of {}; possible: rtn, gptq, awq, w8a8, smoothquant",
         name_of(options.methods));
  if (form.int8) {
    if (layout != ExportLayout::kCompressedTensors)
      fail(ErrorKind::kUnsupported, "int8 weights and inputs are written as compressed-tensors, not as {}",
           name_of(layout));
    if (options.int8.scales != Int8Scales::kRow || options.int8.static_inputs)
      fail(ErrorKind::kUnsupported,
           "a folder has int8 with a scale of each output and of each token: no --scales matrix and no --activations "
           "static");
    options.target = {DType::kI8, {}};
    options.int8.scale_as = form.scale_type;
    return form;
  }
  form.grid = grid;
  form.grid.symmetric = grid.symmetric || options.methods.pruner != Pruner::kNone;
  form.grid.scale_as = form.scale_type;
  options.target = {DType::kF32, form.grid};
  return form;
}

CompressReport export_folder(const Engine& engine, const fs::path& source, std::span<const int32_t> ids,
                             const CompressOptions& options, const ExportForm& form, const fs::path& output,
                             bool replace, const Progress& progress) {
  check_source(engine, source);
  check_compress(engine, ids, options);
  if (options.scope == PruneScope::kGlobal)
    fail(ErrorKind::kUnsupported, "a folder is pruned matrix by matrix: --scope global goes with GGUF files");
  if (form.layout == ExportLayout::kGptq && options.roles.size() < 7)
    fail(ErrorKind::kUnsupported,
         "readers of GPTQ's layout expect all matrices of the layers in it: --only goes with awq and "
         "compressed-tensors");
  const HfFolder folder = open_hf_folder(source, engine.compute->stop);
  CompressReport report;
  CompressWalk walk(engine, ids, options, progress);
  report.n_tokens = walk.n_tokens();
  report.n_resumed = walk.n_resumed();
  ExportedTensors exported(engine, folder, walk, options, form, report);
  const std::vector<TensorToWrite> tensors = exported.tensors();
  const Json quantization = quantization_config(form, exported.float_modules());
  OutputFolder out(output, replace);
  write_safetensors(out.path() / "model.safetensors", tensors, {}, engine.compute->stop);
  write_text(out.path() / "config.json", config_with(source, folder, quantization));
  if (form.layout == ExportLayout::kGptq) write_text(out.path() / "quantize_config.json", quantization.dump(2) + "\n");
  for (const char* name : kFiles) {
    std::error_code ec;
    if (fs::is_regular_file(source / name, ec)) write_text(out.path() / name, read_file(source / name));
  }
  out.commit();
  if (!options.finished.empty()) CompressStore::clear(options.finished);
  return report;
}

}  // namespace hunch
