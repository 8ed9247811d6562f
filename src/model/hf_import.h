// What an architecture's import has to work with: the HF config, the tensors under HF's names, and
// the ModelFile that is being built in GGUF's terms.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/hf_folder.h"
#include "io/model_file.h"

namespace hunch {

class HfImport {
 public:
  // `arch` is the GGUF architecture name, the prefix of its metadata keys. Where new tensors are made, `stop` is asked:
  // Error{kInterrupted}.
  HfImport(const HfFolder& folder, std::string arch, const Stop* stop = nullptr);
  virtual ~HfImport();

  // config.json values; the first of `names` that is present and not null. Dots descend
  // ("rope_scaling.factor"). Without fallback a missing value throws Error{kNotFound}.
  bool has_config(std::string_view name) const;
  uint64_t config_uint(std::initializer_list<std::string_view> names) const;
  uint64_t config_uint(std::initializer_list<std::string_view> names, uint64_t fallback) const;
  double config_float(std::initializer_list<std::string_view> names) const;
  double config_float(std::initializer_list<std::string_view> names, double fallback) const;
  bool config_bool(std::initializer_list<std::string_view> names, bool fallback) const;
  std::string config_string(std::initializer_list<std::string_view> names, std::string_view fallback) const;
  // Says that a key was seen to, and does not change the model here: see unread().
  void ignore_config(std::string_view name) const { read_.emplace(name); }
  const nlohmann::ordered_json& config() const { return *config_; }

  // Metadata "<arch>.<key>" of the result. Unsigned counts are stored as u32, reals as f32.
  void set_uint(std::string_view key, uint64_t value);
  void set_float(std::string_view key, double value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_floats(std::string_view key, std::vector<float> values);
  void set_uints(std::string_view key, std::span<const uint64_t> values);
  void set_bools(std::string_view key, std::vector<bool> values);
  void set_uints(std::string_view key, std::vector<uint32_t> values);  // [n_layer]

  // Prefix that the checkpoint's names carry and that take() and has() prepend, e.g. "model.".
  // The first candidate under which `probe` exists is chosen; none: Error{kNotFound}.
  virtual void choose_prefix(std::initializer_list<std::string_view> candidates, std::string_view probe);

  // The tensor under this HF name (with the prefix, or without it), marked as used.
  // Throws Error{kNotFound} naming it.
  bool has(std::string_view name) const;
  virtual Tensor take(std::string_view name);
  void ignore(std::string_view name);           // marks as used, if present
  void ignore_all(std::string_view beginning);  // the same of all names (with the prefix or without it) that begin so
  // As ignore_all(), of a part of the model that hunch does not compute, which left_out() then names.
  void leave_out(std::string_view beginning);

  // Adds a tensor to the result under its GGUF name.
  void put(std::string_view gguf_name, Tensor tensor);
  // take + put of "<hf>.weight" and, where present, "<hf>.bias" as "<gguf>.weight" / "<gguf>.bias".
  void move(std::string_view hf, std::string_view gguf);
  // As move(), but nothing happens when "<hf>.weight" is absent.
  void move_if_present(std::string_view hf, std::string_view gguf);
  // As move(), with the rows of weight and bias sorted by degrouped_qkv().
  void move_degrouped(std::string_view hf, std::string_view gguf, size_t groups, size_t q_per_group, size_t d_head);

  // New tensors. All keep the dtype, but for blocks that are transposed, scaled or added to, which become f32; dtypes
  // that compute only. Shapes are checked: Error{kFormat}.
  virtual Tensor transposed(const Tensor& t);  // [a, b] -> [b, a]
  // The same of a part of a matrix, whose rows then are rows of none: no adapter can be read of it.
  virtual Tensor turned_part(const Tensor& t) { return transposed(t); }
  virtual Tensor rows(const Tensor& t, size_t begin, size_t count);                     // along the first dimension
  virtual Tensor with_rows_in_order(const Tensor& t, std::span<const uint32_t> order);  // out row i = row order[i]
  virtual Tensor concatenated(std::span<const Tensor> parts);                           // along the first dimension
  virtual Tensor stacked(std::span<const Tensor> parts);                                // new first dimension
  virtual Tensor scaled_rows(const Tensor& t, size_t count,
                             float factor);   // the first `count` rows times `factor`, in f32
  virtual Tensor plus_one(const Tensor& t);   // t + 1 in f32 (Gemma, Nemotron norms)
  virtual Tensor minus_exp(const Tensor& t);  // -e^t in f32 (Mamba's A)
  // out column i = column order[i]; blocks become f32.
  virtual Tensor with_cols_in_order(const Tensor& t, std::span<const uint32_t> order);
  virtual Tensor reshaped(Tensor t, std::vector<uint64_t> shape);
  Tensor from_floats(std::span<const float> values, std::vector<uint64_t> shape);

  // HF's "rotate half" rows of each head as neighbouring pairs, the order of GGUF llama files.
  virtual Tensor interleaved_rope_rows(const Tensor& t, size_t n_head);
  // Rows of a fused projection stored head by head as (q, k, v) triples -> all q, all k, all v.
  // `groups` triples of `q_per_group` query heads, one key and one value head of d_head rows.
  virtual Tensor degrouped_qkv(const Tensor& t, size_t groups, size_t q_per_group, size_t d_head);

  // Keys of config.json that no one asked for and that are not known to leave the computation alone: what they say is
  // not done. In the file's order.
  std::vector<std::string> unread() const;
  // HF tensors that no one took, without the usual buffers (rotary_emb.inv_freq, attn.bias, ...).
  std::vector<std::string> unused() const;
  // What leave_out() met, sorted.
  std::vector<std::string> left_out() const { return {left_out_.begin(), left_out_.end()}; }
  ModelFile finish();

 protected:
  const std::map<std::string, const Tensor*, std::less<>>& by_name() const { return by_name_; }
  void set_prefix(std::string_view prefix) { prefix_ = prefix; }

 private:
  const nlohmann::ordered_json* find_config(std::string_view name) const;
  const Tensor* find(std::string_view name) const;
  bool begins(std::string_view name, std::string_view beginning) const;  // with the prefix or without it
  Tensor plain(const Tensor& t);                                         // blocks as f32
  std::vector<float> decoded(const Tensor& t) const;
  // That of its columns (HfFolder::orders), or none; kept by its name through all that leaves the columns alone.
  std::span<const uint32_t> order_of(const Tensor& t) const;
  Tensor allocate(const Tensor& like, std::vector<uint64_t> shape, std::byte** data);

  std::string arch_, prefix_;
  std::unique_ptr<nlohmann::ordered_json> config_;
  const HfFolder* folder_;
  const Stop* stop_;
  std::map<std::string, const Tensor*, std::less<>> by_name_;
  std::set<std::string, std::less<>> used_, left_out_;
  mutable std::set<std::string, std::less<>> read_;  // names that were asked for, present or not
  ModelFile out_;
};

// Takes the output projection "<hf_name>.weight" and ".bias". Where the config ties it to the embedding
// (`usually_tied` where the config does not say) no weight is written; else a missing one is an error.
void import_output(HfImport& hf, std::string_view hf_name, bool usually_tied);

// Writes the rope_scaling of an HF config ("linear", "dynamic", "yarn", "llama3", "longrope" / "su")
// as GGUF metadata and factor tensors. `n_rot` rotated dimensions, `n_ctx` the stated context.
void import_rope_scaling(HfImport& hf, size_t n_rot, size_t n_ctx);

// Which of the layers see a window of sliding_window tokens: those of "sliding_attention" in layer_types; else what
// sliding_window_pattern says: a number n (of n layers all but the last), or letters, L where there is one; else, with
// use_sliding_window (`unless_said`: where the config does not say), all from max_window_layers on, or simply all.
// Throws Error{kFormat | kUnsupported} for layer_types of another number or kind.
void import_windows(HfImport& hf, size_t n_layer, bool unless_said);

// layer_types as it is written, one for each layer; else a kind of layer by the config's other words, where these are
// "full_attention_interval" (of n layers the last) or "full_attn_idxs", the other layers being `other`. Throws
// Error{kFormat} for another number, Error{kNotFound} where nothing is said.
std::vector<std::string> import_layer_kinds(HfImport& hf, size_t n_layer, const char* other);

// A list of [n_layer] zeros and ones of this name as booleans of this key, "rope.layers" (which layers rotate) or
// "attention.sliding_window_pattern"; nothing where there is none. Throws Error{kFormat} for another list.
void import_layer_list(HfImport& hf, std::string_view name, size_t n_layer, std::string_view key);

// An HF activation name as GGUF-side metadata "<arch>.activation" (hunch's own key: GGUF has none
// for it), a fatrelu as a ReLU with "<arch>.activation_threshold". The architecture's usual function is not written.
void import_activation(HfImport& hf, std::string_view hf_name, std::string_view usual);

}  // namespace hunch
