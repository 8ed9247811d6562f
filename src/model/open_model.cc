#include "model/open_model.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "io/gguf.h"
#include "io/hf_folder.h"
#include "io/llama2c.h"
#include "io/naming.h"
#include "io/printable.h"
#include "io/stand_in.h"
#include "model/architecture.h"
#include "model/hf_pooling.h"
#include "model/unread_metadata.h"
#include "text/hf_tokenizer.h"
#include "text/tokenizer.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

std::string model_type_of(const fs::path& path, const nlohmann::json& config) {
  if (!config.is_object() || !config.contains("model_type") || !config["model_type"].is_string())
    fail(ErrorKind::kFormat, "'{}': config.json has no \"model_type\"", path.string());
  return config["model_type"];
}

// The folder's tokenizer, if it has one, with a token for each of n_rows: as llama.cpp wants it.
void put_vocabulary(const fs::path& path, const std::string& model_type, const HfFolder& folder, size_t n_rows,
                    Metadata& meta) {
  auto spec = tokenizer_spec_from_hf_folder(path, model_type, folder.config_json);
  if (!spec) return;
  pad_vocabulary(*spec, n_rows);
  write_tokenizer_to_gguf(*spec, meta);
}

OpenedModel open_hf(const fs::path& path, const Stop* stop, QuantisedAs as, size_t n_threads) {
  HfFolder folder = open_hf_folder(path, stop);
  const nlohmann::json config = nlohmann::json::parse(folder.config_json, nullptr, false);
  const std::string model_type = model_type_of(path, config);
  const Architecture& named = architecture_by_hf_type(model_type);
  const Architecture& arch = named.with_experts && config.contains("n_routed_experts") ? *named.with_experts : named;
  QuantisedReport quantised = naming(path, [&] { return decode_quantised(folder, as, stop, n_threads); });
  HfImport hf(folder, arch.gguf_name, stop);
  hf.ignore_config("quantization_config");
  hf.ignore_config("compression_config");
  arch.import_hf(hf);
  OpenedModel opened{{}, "HF folder", hf.unused(), hf.unread(), std::move(quantised)};
  opened.left_out = hf.left_out();
  opened.file = hf.finish();
  HfPooling pooling = naming(path, [&] { return read_hf_pooling(path); });
  const std::string key = std::string(arch.gguf_name) + ".pooling_type";
  if (pooling.kind && !opened.file.meta.has(key)) opened.file.meta.set(key, uint32_t(*pooling.kind));
  std::ranges::move(pooling.unknown, std::back_inserter(opened.unread));
  const Tensor* embedding = opened.file.find("token_embd.weight");
  put_vocabulary(path, model_type, folder, embedding ? embedding->rows() : 0, opened.file.meta);
  return opened;
}

// Those of the blocks behind the last one that is computed (base_config_from_gguf()).
std::vector<std::string> tensors_beyond(const ModelFile& file) {
  constexpr uint64_t kMost = 64;  // blocks
  std::vector<std::string> names;
  try {
    const std::string arch = file.meta.get_string("general.architecture", "");
    const auto count = [&](const char* key) { return file.meta.get_uint(arch + key, 0); };
    const uint64_t n_all = count(".block_count"), n_beyond = std::min({n_all, count(".nextn_predict_layers"), kMost});
    for (uint64_t i = n_all - n_beyond; i < n_all; ++i)
      for (const Tensor& t : file.tensors)
        if (t.name.starts_with(fmt::format("blk.{}.", i))) names.push_back(t.name);
  } catch (const Error&) {
    return {};  // who means to run it will hear why
  }
  return names;
}

// llama2.c keeps its tokenizer in a file of its own: tokenizer.bin, or tok512.bin and the like.
fs::path llama2c_tokenizer(const fs::path& model) {
  const fs::path folder = model.has_parent_path() ? model.parent_path() : fs::path(".");
  if (fs::exists(folder / "tokenizer.bin")) return folder / "tokenizer.bin";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("tok") && name.ends_with(".bin")) return entry.path();
  }
  return {};
}

OpenedModel open_llama2c(const fs::path& path) {
  auto model = std::make_shared<MappedFile>(path);
  auto tokenizer = std::make_shared<MappedFile>();
  if (const fs::path beside = llama2c_tokenizer(path); !beside.empty()) *tokenizer = MappedFile(beside);
  OpenedModel opened{parse_llama2c(model->bytes(), tokenizer->bytes()), "llama2.c", {}};
  opened.file.owners.push_back(model);
  opened.file.owners.push_back(tokenizer);
  return opened;
}

}  // namespace

std::string describe_left_out(const std::vector<std::string>& tensors) {
  if (tensors.empty()) return "";
  return fmt::format("{} tensor{} that guess{} tokens beyond the next one {} left out: {}{}", tensors.size(),
                     tensors.size() == 1 ? "" : "s", tensors.size() == 1 ? "es" : "",
                     tensors.size() == 1 ? "is" : "are", printable(tensors[0]), tensors.size() > 1 ? ", ..." : "");
}

Metadata open_vocabulary(const fs::path& path, const Stop* stop) {
  if (!is_hf_folder(path)) return std::move(open_model(path, stop).file.meta);
  const HfFolder folder = open_hf_folder(path, stop);
  const auto config = nlohmann::json::parse(folder.config_json, nullptr, false);
  Metadata meta;
  const auto n_vocab = config.is_object() ? config.find("vocab_size") : config.end();
  put_vocabulary(path, model_type_of(path, config), folder,
                 n_vocab != config.end() && n_vocab->is_number_unsigned() ? size_t(*n_vocab) : 0, meta);
  return meta;
}

OpenedModel open_model(const fs::path& path, const Stop* stop, QuantisedAs as, size_t n_threads) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) {
    if (is_hf_folder(path)) return open_hf(path, stop, as, n_threads);
    fail(ErrorKind::kNotFound,
         "'{}' is a folder without config.json; expected a Hugging Face model folder or a GGUF file", path.string());
  }
  const std::string head = [&] {
    const MappedFile file(path);
    return std::string(reinterpret_cast<const char*>(file.bytes().data()), std::min<size_t>(4, file.bytes().size()));
  }();
  if (head == "GGUF") {
    OpenedModel opened{open_gguf(path), "GGUF", {}};
    opened.unread = unread_metadata(opened.file);
    opened.left_out = tensors_beyond(opened.file);
    return opened;
  }
  if (path.extension() == ".bin") {
    try {
      return open_llama2c(path);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kFormat) throw;
      fail(ErrorKind::kFormat, "'{}' is neither GGUF nor a llama2.c model ({})", path.string(), e.what());
    }
  }
  const std::string stand_in = stand_in_text(MappedFile(path).bytes());
  fail(
      ErrorKind::kFormat, "'{}' is not a model: expected the magic \"GGUF\", found \"{}\"{}", path.string(),
      [&] {
        std::string shown;
        for (char c : head) shown += c >= 32 && c < 127 ? std::string(1, c) : fmt::format("\\x{:02x}", uint8_t(c));
        return shown;
      }(),
      stand_in.empty() ? "; a Hugging Face model is named by its folder" : stand_in);
}

}  // namespace hunch
