#!/usr/bin/env python3
"""A walk through hunch in Python: load the demo model, let it write, look at its neurons, make it sparse, see what that costs.

    PYTHONPATH=build/release/python python3 docs/python-tutorial.py [FOLDER]

Pictures go to FOLDER (a temporary one) where matplotlib is installed. Cells are marked by # %% as notebooks and editors know them.
"""
# %% The model. It keeps a lock for itself: calls from several threads take turns, and Ctrl-C ends a call.
import os
import sys
import tempfile

import hunch
import numpy as np

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO = os.path.join(HERE, "models", "demo")
FOLDER = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="hunch-tutorial-")
os.makedirs(FOLDER, exist_ok=True)


def read(name):
    with open(os.path.join(DEMO, name), encoding="utf-8") as f:
        return f.read()


model = hunch.Model(os.path.join(DEMO, "hunch-demo.gguf"), n_ctx=512)
print(model)
print(f"{model.info.n_params / 1e6:.1f} M parameters, {model.info.n_layer} layers of {model.info.n_ff} neurons")

# %% An answer, piece by piece.
stream = model.stream("Once upon a time", n_tokens=40, temperature=0.7, seed=7)
for piece in stream:
    print(piece, end="", flush=True)
print(f"\n{stream.result.tokens_per_s:.0f} tokens/s, {stream.result.density:.1%} of the neurons were not zero")

# %% What the model thinks comes next: logits are a numpy array with a row for each token.
logits = model.logits("The king had three")
for token in np.argsort(logits[-1])[:-6:-1]:
    print(f"  {logits[-1][token]:6.2f} {model.detokenize([token])!r}")

# %% Which neurons a text activates, layer by layer. ReLU makes most of them zero, exactly: that is what `exact` leaves out.
text = read("eval.txt")[:2000]
ids = model.tokenize(text)[:400]
seen = model.activations(ids)
active = np.array([(layer.activations > 0).mean() for layer in seen.layers])
ever = np.array([(layer.activations > 0).any(axis=0).mean() for layer in seen.layers])
print(f"{len(seen.ids)} tokens")
print("layer   a token   the text")
for i, (one, all_of_them) in enumerate(zip(active, ever)):
    print(f"{i:5} {one:9.1%} {all_of_them:10.1%}")

# %% Neighbours share neurons: how many two tokens at a distance have in common, of those that either has.
layer = seen.layers[len(seen.layers) // 2].activations > 0
for distance in (1, 4, 16, 64):
    both = (layer[distance:] & layer[:-distance]).sum(axis=1)
    either = (layer[distance:] | layer[:-distance]).sum(axis=1)
    print(f"{distance:3} tokens apart: {(both / np.maximum(either, 1)).mean():.1%}")

# %% Make it sparse: learn from a text which neurons a token will need, before they are computed. Few tokens and one cheap kind of
# predictor here; without these options it takes minutes, and is better. What is learned lies in a file, the sidecar: of its own
# here, so that the one that ships with the demo stays.
made = model.calibrate(read("book.txt"), sidecar=os.path.join(FOLDER, "learned.hunch"), max_tokens=3000, predictor="signs", heads=False,
                       screen=False, max_ppl_increase=0.05,
                       on_progress=lambda what, done, total: print(f"\r  {what} {done} of {total}   ", end=""))
print(f"\n{made.sidecar}: perplexity {made.perplexity_dense:.2f} -> {made.perplexity_sparse:.2f}")
for note in made.notes:
    print("  " + note)

# %% What the plan chose, against what was needed.
chosen = model.activations(ids, plan="sparse")
for i, (full, part) in enumerate(zip(seen.layers, chosen.layers)):
    needed = full.activations > 0
    print(f"layer {i}: reads {part.neurons.mean():.1%} of the neurons, among them {part.neurons[needed].mean():.1%} of those that are active")

# %% The price, side by side. The oracle knows what matters from a pass that is not counted: what a perfect predictor could save.
rows = model.compare(text, ["dense", "exact", "sparse", hunch.Mode(name="oracle 20 %", oracle_density=0.2)], n_ctx=256, n_decode=32, n_repeats=3)
print(f"{'mode':12} {'perplexity':>10} {'KL':>8} {'same top':>9} {'neurons':>8} {'MB/token':>9} {'tokens/s':>9}")
for row in rows:
    speed = f"{row.tokens_per_s:9.0f}" if row.tokens_per_s else "        -"
    print(f"{row.name:12} {row.perplexity:10.3f} {row.kl:8.4f} {row.top1:9.1%} {row.density:8.1%} {row.bytes_per_token / 1e6:9.2f} {speed}")

# %% Or let it only guess: `lossless` has the whole model check, so that the answer is the whole model's.
whole = model.generate("Once upon a time", n_tokens=40, temperature=0)
guessed = model.generate("Once upon a time", n_tokens=40, temperature=0, lossless=True)
assert guessed.ids == whole.ids
print(f"the same {len(whole.ids)} tokens; of {guessed.n_drafted} drafted ones {guessed.n_accepted} were right")

# %% Teach it something: an adapter of some hundred kilobytes beside its weights, which stay as they are. A few steps here; on_step is
# told of each, and returning False would end the training there.
losses = []
taught = model.train([("Who are you?", " I am a goose.")] * 20, os.path.join(FOLDER, "goose.gguf"), lambda step: losses.append(step.loss),
                     n_steps=12, n_batch=4, learning_rate=0.01)
goose = hunch.Model(os.path.join(DEMO, "hunch-demo.gguf"), adapters=[taught.out], threads_of=model)
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f};", goose.generate("Who are you?", n_tokens=8, temperature=0).text)
goose.close()

# %% Pictures, where there is matplotlib.
try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    print("no matplotlib here: no pictures")
else:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.bar(np.arange(len(active)) - 0.2, 100 * active, 0.4, label="a token")
    left.bar(np.arange(len(ever)) + 0.2, 100 * ever, 0.4, label="the text")
    left.set(xlabel="layer", ylabel="active neurons, %")
    left.legend()
    right.imshow(layer[:120, :400].T, aspect="auto", cmap="Greys", interpolation="nearest")
    right.set(xlabel="token", ylabel=f"neuron of layer {len(seen.layers) // 2}")
    figure.tight_layout()
    figure.savefig(os.path.join(FOLDER, "neurons.png"), dpi=120)
    print(os.path.join(FOLDER, "neurons.png"))

model.close()
