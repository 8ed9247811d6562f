#!/usr/bin/env python3
"""Tiny embedding and rerank models with golden outputs, for tests/data/embedding (Debian: python3-numpy).

    make_embedding_fixture.py --check FOLDER...    run the reference over golden models made by others
    make_embedding_fixture.py --out tests/data/embedding [NAME...]

The outputs come from tools/golden/encoders.py. A seed is taken only if each wrong reading that its recipe lists, and each
tensor set to zero, moves an output by more than 1e-3, ten times the tests' tolerance.
"""
import argparse
import json
import pathlib
import shutil
import sys
import zlib

import numpy as np

import make_tokenizer_fixture
from golden import encoders, safetensors
from golden.ops import Weights

TOLERANCE, MIN_SHIFT = 1e-4, 1e-3
ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDPIECE = ROOT / "tests" / "data" / "tokenizers" / "wordpiece"
BASE = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3, "num_hidden_layers": 2, "hidden_act": "gelu",
        "layer_norm_eps": 0.02, "max_position_embeddings": 48, "position_embedding_type": "absolute"}
N_BERT_VOCAB = len((WORDPIECE / "vocab.txt").read_text().splitlines())
BERT = {"model_type": "bert", **BASE, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": N_BERT_VOCAB}
XLMR = {"model_type": "xlm-roberta", **BASE, "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": 61}
WRONG = [{"causal": True}, {"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-5}]
# name: (config, wrong readings, prefix, pooling, tokenizer). Pooling "rank": a head of one label.
FIXTURES = {
    "tiny_bert": ({"architectures": ["BertModel"], **BERT}, WRONG, "", "mean", True),
    "tiny_roberta": ({"architectures": ["RobertaModel"], **XLMR, "model_type": "roberta"}, WRONG + [{"pad_token_id": 0}],
                     "roberta.", "cls", False),
    "tiny_nomic_bert": ({"architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": 24, "n_inner": 40, "n_head": 3,
                         "n_layer": 2, "n_positions": 64, "vocab_size": 61, "type_vocab_size": 2, "activation_function": "swiglu",
                         "layer_norm_epsilon": 0.02, "rotary_emb_base": 700, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
                         "rotary_emb_scale_base": None, "prenorm": False, "causal": False, "qkv_proj_bias": False,
                         "mlp_fc1_bias": False, "mlp_fc2_bias": False, "use_rms_norm": False, "fused_bias_fc": True},
                        [{"causal": True}, {"activation_function": "geglu"}, {"layer_norm_epsilon": 1e-5}, {"rotary_emb_base": 10000},
                         {"rotary_emb_interleaved": True}], "", "mean", False),
    "tiny_modernbert": ({"architectures": ["ModernBertModel"], "model_type": "modernbert", "hidden_size": 24, "intermediate_size": 36,
                         "num_attention_heads": 3, "num_hidden_layers": 5, "hidden_activation": "gelu", "norm_eps": 0.02,
                         "norm_bias": False, "attention_bias": False, "mlp_bias": False, "max_position_embeddings": 64, "vocab_size": 61,
                         "global_attn_every_n_layers": 3, "local_attention": 8, "global_rope_theta": 900.0, "local_rope_theta": 50.0},
                        [{"causal": True}, {"hidden_activation": "gelu_new"}, {"norm_eps": 1e-5}, {"global_attn_every_n_layers": 2},
                         {"local_attention": 6}, {"local_attention": 10}, {"global_rope_theta": 10000.0}, {"local_rope_theta": 900.0}],
                        "", "mean", False),
    "tiny_modernbert_rank": ({"architectures": ["ModernBertForSequenceClassification"], "model_type": "modernbert", "hidden_size": 24,
                              "intermediate_size": 36, "num_attention_heads": 3, "num_hidden_layers": 2, "hidden_activation": "gelu",
                              "norm_eps": 0.02, "max_position_embeddings": 64, "vocab_size": 61, "global_attn_every_n_layers": 2,
                              "local_attention": 6, "global_rope_theta": 900.0, "local_rope_theta": 50.0, "classifier_pooling": "mean",
                              "classifier_activation": "gelu", "classifier_bias": False},
                             [{"causal": True}, {"norm_eps": 1e-5}, {"local_attention": 8}, {"classifier_pooling": "cls"}],
                             "model.", "rank", False),
    "tiny_bert_rank": ({"architectures": ["BertForSequenceClassification"], **BERT, "hidden_act": "relu"}, WRONG[:1], "bert.",
                       "rank", True),
    "tiny_xlmr_rank": ({"architectures": ["XLMRobertaForSequenceClassification"], **XLMR}, WRONG + [{"pad_token_id": 2}],
                       "roberta.", "rank", False),
}


def modern_weights(config, prefix, pooling, rng):
    n, ff, tensors = config["hidden_size"], config["intermediate_size"], {}

    def linear(name, n_out, n_in):
        tensors[prefix + name + ".weight"] = (1.4 / np.sqrt(n_in) * rng.standard_normal((n_out, n_in))).astype(np.float32)

    def norm(name):
        tensors[prefix + name + ".weight"] = (1 + 0.3 * rng.standard_normal(n)).astype(np.float32)

    linear("embeddings.tok_embeddings", config["vocab_size"], n)
    norm("embeddings.norm")
    for i in range(config["num_hidden_layers"]):
        at = f"layers.{i}."
        if i > 0:
            norm(at + "attn_norm")
        linear(at + "attn.Wqkv", 3 * n, n)
        linear(at + "attn.Wo", n, n)
        norm(at + "mlp_norm")
        linear(at + "mlp.Wi", 2 * ff, n)
        linear(at + "mlp.Wo", n, ff)
    norm("final_norm")
    if pooling == "rank":
        prefix = ""
        linear("head.dense", n, n)
        norm("head.norm")
        linear("classifier", 1, n)
        tensors["classifier.bias"] = np.array([0.4], np.float32)
    return tensors


def random_weights(config, prefix, pooling, rng):
    if config["model_type"] == "modernbert":
        return modern_weights(config, prefix, pooling, rng)
    is_nomic, tensors = config["model_type"] == "nomic_bert", {}
    n, ff = (config["n_embd"], config["n_inner"]) if is_nomic else (config["hidden_size"], config["intermediate_size"])

    def add(name, *shape, scale=1.0, mean=0.0):
        tensors[name] = (mean + scale * rng.standard_normal(shape)).astype(np.float32)

    def linear(name, n_out, n_in, gain=1.4):
        add(name + ".weight", n_out, n_in, scale=gain / np.sqrt(n_in))
        add(name + ".bias", n_out, scale=0.3)

    def norm(name):
        add(name + ".weight", n, scale=0.3, mean=1.0)
        add(name + ".bias", n, scale=0.3)

    add(prefix + "embeddings.word_embeddings.weight", config["vocab_size"], n, scale=0.5)
    if is_nomic:
        add("embeddings.token_type_embeddings.weight", config["type_vocab_size"], n, scale=0.4)
        norm("emb_ln")
        for i in range(config["n_layer"]):
            for name, n_out, n_in in (("attn.Wqkv", 3 * n, n), ("attn.out_proj", n, n), ("mlp.fc11", ff, n), ("mlp.fc12", ff, n),
                                      ("mlp.fc2", n, ff)):
                add(f"encoder.layers.{i}.{name}.weight", n_out, n_in, scale=1.4 / np.sqrt(n_in))
            norm(f"encoder.layers.{i}.norm1")
            norm(f"encoder.layers.{i}.norm2")
        return tensors
    add(prefix + "embeddings.position_embeddings.weight", config["max_position_embeddings"], n, scale=0.4)
    add(prefix + "embeddings.token_type_embeddings.weight", config["type_vocab_size"], n, scale=0.4)
    norm(prefix + "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        at = f"{prefix}encoder.layer.{i}."
        for name in ("query", "key", "value"):
            linear(f"{at}attention.self.{name}", n, n)
        linear(at + "attention.output.dense", n, n)
        norm(at + "attention.output.LayerNorm")
        linear(at + "intermediate.dense", ff, n)
        linear(at + "output.dense", n, ff)
        norm(at + "output.LayerNorm")
    if config["model_type"] == "bert":
        linear(prefix + "pooler.dense", n, n)
    if pooling == "rank" and config["model_type"] == "bert":
        linear("classifier", 1, n)
    elif pooling == "rank":
        linear("classifier.dense", n, n)
        linear("classifier.out_proj", 1, n)
    return tensors


def outputs(config, tensors, prefix, pooling, text):
    """What the fixture's arrays of one text are made of."""
    w = Weights(tensors)
    hidden = encoders.forward(config, w.sub(prefix), text["ids"], text.get("second_begins"))
    out = {"token_embeddings": hidden[-1]}
    if config["model_type"] != "modernbert":  # whose last layer's stream is not what comes out
        out["hidden"] = hidden
    if pooling == "rank":
        out["score"] = np.array([encoders.score(w, hidden[-1], config)])
    return out


def texts_of(config, pooling, rng):
    n_vocab, texts = config["vocab_size"], []
    for n in (1, 11, 37):
        ids = rng.integers(6, n_vocab, n).tolist()
        text = {"ids": ids}
        if pooling == "rank" and config.get("type_vocab_size", 1) > 1 and n > 1:
            text["second_begins"] = n // 3
        texts.append(text)
    return texts


QUERY = "Who sang at the mill?"
DOCUMENTS = ["The miller sang; when there was no wind he said so.", "", "12 miles to the sea!", "The younger son fetched a sack.",
             "donkey", "M\u00efll"]


def word_texts(recipe, tensors):
    """What the fixture's tokenizer and the model make of words: vectors of texts, or scores of pairs."""
    config, _, prefix, pooling, _ = recipe
    ids = {piece: i for i, piece in enumerate((WORDPIECE / "vocab.txt").read_text().splitlines())}
    cut = lambda text: [i for word in make_tokenizer_fixture.bert_words(text, True) for i in make_tokenizer_fixture.longest_first(word, ids)]
    cls, sep = ids["[CLS]"], ids["[SEP]"]
    if pooling == "rank":
        scores = []
        for document in DOCUMENTS:
            query = [cls, *cut(QUERY), sep]
            pair = {"ids": query + cut(document) + [sep], "second_begins": len(query)}
            scores.append(float(outputs(config, tensors, prefix, pooling, pair)["score"][0]))
        return {"query": QUERY, "documents": DOCUMENTS, "scores": scores}
    texts = []
    for text in DOCUMENTS:
        states = outputs(config, tensors, prefix, pooling, {"ids": [cls, *cut(text), sep]})["token_embeddings"]
        texts.append({"text": text, "mean": states.mean(0).tolist(), "cls": states[0].tolist(), "last": states[-1].tolist()})
    return {"texts": texts}


def judge(recipe, tensors, texts):
    """A reason why this checkpoint shows too little, or none."""
    config, wrong, prefix, pooling, _ = recipe
    shown = lambda c, t: np.concatenate([outputs(c, t, prefix, pooling, text)["score" if pooling == "rank" else "token_embeddings"].ravel()
                                         for text in texts[1:]])
    right = shown(config, tensors)
    for other in wrong:
        shift = np.abs(shown({**config, **other}, tensors) - right).max()
        if shift < MIN_SHIFT:
            return f"{other} moves the outputs by {shift:.1e} only"
    for name, array in tensors.items():
        # A bias of the keys adds the same to every score of a query; the pooler is of those that score.
        if name.endswith("key.bias") or ("pooler" in name and pooling != "rank"):
            continue
        shift = np.abs(shown(config, {**tensors, name: 0 * array}) - right).max()
        if shift < MIN_SHIFT:
            return f"{name} at zero moves the outputs by {shift:.1e} only"
    as_one = [{**text, "second_begins": None} for text in texts]
    if any("second_begins" in text for text in texts):
        shift = min(abs(outputs(config, tensors, prefix, pooling, a)["score"] - outputs(config, tensors, prefix, pooling, b)["score"])
                    for a, b in zip(texts[1:], as_one[1:]))
        if shift < MIN_SHIFT:
            return f"the types of a pair move the score by {float(shift):.1e} only"
    return None


def write(folder, name, seed, recipe, tensors, texts):
    config, _, prefix, pooling, has_tokenizer = recipe
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "golden").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    safetensors.write(folder / "model.safetensors", tensors)
    if has_tokenizer:
        shutil.copy(WORDPIECE / "tokenizer.json", folder)
    if pooling != "rank":
        kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
        modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                   for i, (kind, path) in enumerate(kinds)]
        (folder / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")
        (folder / "1_Pooling").mkdir()
        modes = {f"pooling_mode_{mode}": mode in (f"{pooling}_token", f"{pooling}_tokens")
                 for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")}
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({"word_embedding_dimension": config.get("hidden_size", config.get("n_embd")), **modes}, indent=1) + "\n")
    index, arrays, offset = {}, [], 0
    for i, text in enumerate(texts):
        for key, array in outputs(config, tensors, prefix, pooling, text).items():
            index[f"s{i}.{key}"] = {"shape": list(array.shape), "offset": offset, "count": array.size}
            arrays.append(array.ravel())
            offset += array.size
    golden = {"model": name, "seed": seed, "made_by": "tools/make_embedding_fixture.py: numpy, float64", "sequences": texts,
              "arrays": index}
    if has_tokenizer:
        golden["words"] = word_texts(recipe, tensors)
    (folder / "golden" / "golden.json").write_text(json.dumps(golden) + "\n")
    np.concatenate(arrays).astype("<f4").tofile(folder / "golden" / "golden.f32")


def make(out, name):
    recipe, start = FIXTURES[name], zlib.crc32(name.encode()) % 1000 * 1000
    config, _, prefix, pooling, _ = recipe
    for seed in range(start, start + 300):
        rng = np.random.default_rng(seed)
        tensors = random_weights(config, prefix, pooling, rng)
        texts = texts_of(config, pooling, rng)
        why = judge(recipe, tensors, texts)
        if why is None:
            write(out / name, name, seed, recipe, tensors, texts)
            print(name, "seed", seed, sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()), "bytes")
            return
    raise SystemExit(f"{name}: no seed shows enough: {why}")


def check(folder):
    """Largest difference from hidden states that others computed."""
    config, tensors = json.loads((folder / "config.json").read_text()), safetensors.read(folder)
    data, raw, worst = json.loads((folder / "golden" / "golden.json").read_text()), np.fromfile(folder / "golden" / "golden.f32", "<f4"), 0.0
    prefix = next(p for p in ("", "bert.", "roberta.") if p + "embeddings.word_embeddings.weight" in tensors)
    for s, text in enumerate(data["sequences"]):
        hidden = encoders.forward(config, Weights(tensors, prefix), text["ids"], text.get("second_begins"))
        for key, got in (("hidden", hidden), ("token_embeddings", hidden[-1])):
            entry = data["arrays"].get(f"s{s}.{key}")
            if entry:
                want = raw[entry["offset"]:entry["offset"] + entry["count"]].reshape(entry["shape"])
                worst = max(worst, float(np.abs(got - want).max()))
    print(f"{folder.name:20} {worst:.1e}")
    return worst <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FOLDER", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("names", metavar="NAME", nargs="*", help="with --out: only these fixtures")
    options = parser.parse_args()
    if bool(options.check) == bool(options.out):
        parser.error("expected --check or --out")
    if options.check:
        sys.exit(0 if all([check(folder) for folder in options.check]) else 1)
    for name in options.names or FIXTURES:
        make(options.out, name)


if __name__ == "__main__":
    main()
