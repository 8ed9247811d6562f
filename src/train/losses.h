// What is minimised: losses of rows of logits, and their gradients.
#pragma once
#include "train/network.h"

namespace hunch {

// The mean over the batch's targets of -log softmax(logits)[target], times `weight`. `batch` outlives it.
LossOfRows cross_entropy(Compute& compute, const TokenBatch& batch, double weight);

// Of a batch of questions: the mean over them of -log of the right choice's share, where the choices' probabilities are
// those of their targets, all of a sequence's multiplied (as MeZO has it for classification: Malladi et al. 2023,
// appendix E.3), times `weight`. That takes a forward pass of `network`.
double choice_loss(Network& network, const TokenBatch& batch, double weight);
// The same as a loss of rows, for Network::backward(), with the passes' gradients: each sequence's cross entropy counts
// as much as its share is wrong. `batch` outlives it.
LossOfRows choice_gradient(Network& network, const TokenBatch& batch, double weight);

enum class Divergence : uint8_t {
  kForward,  // KL(teacher || student), Hinton et al. 2015, arXiv:1503.02531
  kReverse,  // KL(student || teacher), as MiniLLM has it for single tokens (Gu et al. 2023, arXiv:2306.08543)
};

struct DistillOptions {
  Divergence divergence = Divergence::kForward;
  float temperature = 1;  // both logits are divided by it, and the divergence multiplied by its square
  float share = 1;        // of the divergence in the loss; the rest is the cross entropy
};

// Logits of the teacher for rows [first, first + out.rows).
using TeacherLogits = std::function<void(size_t first, MatView<float> out)>;

// share * T^2 * divergence + (1 - share) * cross entropy, means over the rows that have a target, times `weight`.
LossOfRows distillation(Compute& compute, const TokenBatch& batch, TeacherLogits teacher, const DistillOptions& options,
                        double weight);

}  // namespace hunch
