// The importance matrix of a model on a text: for every matrix the squares of what it reads, summed by column.
#pragma once
#include <map>
#include <span>

#include "base/progress.h"
#include "engine/engine.h"
#include "io/imatrix.h"
#include "model/observer.h"

namespace hunch {

// Watches dense passes. Matrices that read the same input share a sum: q, k and v; gate and up. An expert has the
// tokens that were given to it.
class ColumnSquares : public Observer {
 public:
  struct Sum {
    std::vector<double> squares;  // [n_in]
    uint64_t n_tokens = 0;
  };
  // Of what the matrices of this part read; nullptr: nothing came by.
  const Sum* find(InputPart part, size_t layer, uint32_t expert) const;
  const Sum& final() const { return final_; }

  void on_attention_input(size_t layer, MatView<const float> x) override;
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override;
  void on_final(MatView<const float> final) override;

 private:
  using Key = std::tuple<InputPart, size_t, uint32_t>;  // part, layer, expert
  static void add(Sum& sum, MatView<const float> X);

  std::map<Key, Sum> sums_;
  Sum final_;
};

struct ImportanceOptions {
  size_t n_ctx = 512;   // tokens that see each other; the text's windows follow each other
  size_t n_tokens = 0;  // the first so many of the text; 0: all
  std::string text_name;
};

// `ids`: the text. Matrices of layers under GGUF's names, and the output projection where it is the model's own. Throws
// Error{kUsage} for a text of less than a window, Error{kFormat} where a value is not finite, Error{kInterrupted}.
ImportanceMatrix measure_importance(const Engine& engine, std::span<const int32_t> ids,
                                    const ImportanceOptions& options, const Progress& progress = {});

}  // namespace hunch
