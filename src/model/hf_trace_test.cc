// Of every architecture: the rows of the model that the import makes are those of the checkpoint that the trace names.
#include "model/hf_trace.h"

#include <gtest/gtest.h>

#include "formats/format.h"
#include "io/hf_folder.h"
#include "io/test_errors.h"
#include "model/architecture.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

using Floats = std::vector<float>;

Floats decoded(const Tensor& t) {
  Floats values(t.n_elems());
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  return values;
}

// A checkpoint's matrix as adapters have it, [out, in].
struct Matrix {
  size_t n_in;
  Floats values;
};

// Matrices that the import takes apart and turns.
bool is_taken_apart(const std::string& name) {
  return name.find("kv_b_proj") != name.npos || name.ends_with("gate_up_proj_bias");
}

// Vectors of experts, small matrices of AltUp, keys and values of layers that read those of others.
bool is_no_adapters(const ModelConfig& config, const std::string& name) {
  if (name.ends_with("_bias") || name.find("_coefs") != name.npos) return true;
  // Transformer-XL's words, in clusters that are multiplied out, and its distances.
  if (name.find("word_emb.") != name.npos || name.starts_with("crit.") || name.ends_with("r_net.weight")) return true;
  if (name.find(".k_proj") == name.npos && name.find(".v_proj") == name.npos) return false;
  return std::ranges::any_of(config.layers, [&](const LayerConfig& l) {
    return l.borrows_keys() && name.find(fmt::format("layers.{}.", l.index)) != name.npos;
  });
}

class HfTraces : public ::testing::TestWithParam<fs::path> {};

// GPT-2 stores its products [in, out].
bool is_turned(const ModelConfig& config, const std::string& name) {
  return config.arch == "gpt2" && name.find("h.") != name.npos;
}

TEST_P(HfTraces, NameTheRowsThatTheImportTakes) {
  const HfFolder folder = open_hf_folder(GetParam());
  const ModelFile model = open_model(GetParam()).file;
  const ModelConfig config = config_from_gguf(model);
  std::vector<NamedRows> named;
  std::vector<Matrix> matrices;
  for (const Tensor& t : folder.tensors) {
    if (t.shape.size() != 2 || t.name.find("embed_positions") != t.name.npos || t.name.find("wpe") != t.name.npos)
      continue;
    if (!info(t.dtype).reads()) continue;  // packed
    if (is_taken_apart(t.name) || is_no_adapters(config, t.name)) continue;
    Matrix m{t.cols(), decoded(t)};
    if (is_turned(config, t.name)) {
      m.n_in = t.rows();
      for (size_t r = 0; r < t.cols(); ++r)
        for (size_t c = 0; c < t.rows(); ++c) m.values[r * t.rows() + c] = decoded(t)[c * t.cols() + r];
    }
    named.push_back({t.name, m.values.size() / m.n_in, false});
    matrices.push_back(std::move(m));
  }
  const RowTrace trace = trace_hf_rows(model.meta, config, named);
  EXPECT_EQ(trace.unknown, std::vector<std::string>());

  size_t n_rows = 0, n_expected = 0;
  for (const NamedRows& rows : named) n_expected += rows.n_rows;
  for (const auto& [name, origins] : trace.tensors) {
    SCOPED_TRACE(name);
    const Tensor* t = model.find(name);
    if (!t && name == "output.weight") {  // tied: the checkpoint's copy of the embedding
      n_rows += origins.size();
      continue;
    }
    ASSERT_NE(t, nullptr);
    const Floats values = decoded(*t);
    const size_t n_in = values.size() / origins.size();
    for (size_t r = 0; r < origins.size(); ++r, ++n_rows) {
      const RowOrigin& from = origins[r];
      ASSERT_NE(from.factor, 0);
      const Matrix& m = matrices[from.matrix];
      ASSERT_EQ(m.n_in, n_in);
      const auto order = trace.input_orders.find(from.matrix);
      for (size_t i = 0; i < n_in; ++i) {
        const size_t input = order == trace.input_orders.end() ? i : order->second[i];
        ASSERT_NEAR(values[r * n_in + i], from.factor * m.values[from.row * n_in + input], 1e-6) << "row " << r;
      }
    }
  }
  EXPECT_EQ(n_rows, n_expected);
}

// One matrix of an adapter: whatever the rest of the checkpoint is, it finds its place.
TEST_P(HfTraces, NeedNoOtherMatrix) {
  const HfFolder folder = open_hf_folder(GetParam());
  const ModelFile model = open_model(GetParam()).file;
  const ModelConfig config = config_from_gguf(model);
  for (const Tensor& t : folder.tensors) {
    if (t.shape.size() != 2) continue;
    const NamedRows one{t.name, is_turned(config, t.name) ? t.cols() : t.rows(), false};
    if (!info(t.dtype).reads() || (is_no_adapters(config, t.name) && !is_taken_apart(t.name))) continue;
    if (is_taken_apart(t.name)) {
      const std::string message = message_of(ErrorKind::kUnsupported, [&] {
        trace_hf_rows(model.meta, config, {&one, 1});
      });
      EXPECT_NE(message.find("reads no adapter of it"), message.npos) << message;
      continue;
    }
    const RowTrace trace = trace_hf_rows(model.meta, config, {&one, 1});
    EXPECT_EQ(trace.unknown, std::vector<std::string>());
    EXPECT_FALSE(trace.tensors.empty()) << t.name;
  }
}

std::vector<fs::path> fixtures() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(golden_fixture("")))
    if (fs::exists(entry.path() / "config.json")) folders.push_back(entry.path());
  std::ranges::sort(folders);
  return folders;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, HfTraces, ::testing::ValuesIn(fixtures()),
                         [](const auto& i) { return i.param.filename().string(); });

TEST(HfTrace, ListsWhatNoImportAsksForAndRefusesOtherHeads) {
  const ModelFile model = open_model(golden_fixture("llama_mha")).file;
  const ModelConfig config = architecture_by_gguf_name("llama").config_from_gguf(model);
  const NamedRows strange[] = {{"model.layers.0.mlp.fc1.weight", 8, false}};
  EXPECT_EQ(trace_hf_rows(model.meta, config, strange).unknown, (std::vector<std::string>{strange[0].name}));
  const NamedRows odd[] = {{"model.layers.0.self_attn.q_proj.weight", config.n_head * 2 + 1, false}};
  const std::string message = message_of(ErrorKind::kFormat, [&] { trace_hf_rows(model.meta, config, odd); });
  EXPECT_NE(message.find("q_proj"), std::string::npos) << message;
}

}  // namespace
}  // namespace hunch
