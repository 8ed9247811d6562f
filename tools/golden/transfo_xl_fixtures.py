"""Fixtures of Transformer-XL: configs with wrong readings of them, and the tensors that each holds."""
from .shapes import _linear, _norm

SIZES = {"model_type": "transfo-xl", "d_model": 24, "n_head": 3, "d_head": 10, "d_inner": 44, "n_layer": 2,
         "layer_norm_epsilon": 0.03, "attn_type": 0, "adaptive": True}
EPS = {"layer_norm_epsilon": 1e-5}

FIXTURES = {
    # As the published model of WikiText-103 is made: every token sees so many before it, distances are clamped, words
    # are in clusters of ever smaller vectors, of which all but the first share their projections.
    "tiny_transfoxl": ({**SIZES, "cutoffs": [20, 40], "d_embed": 24, "div_val": 2, "mem_len": 14, "same_length": True,
                        "clamp_len": 9, "untie_r": True, "pre_lnorm": False, "tie_word_embeddings": True,
                        "proj_share_all_but_first": True, "tie_projs": [False, True, True]},
                       [EPS, {"mem_len": 13}, {"same_length": False}, {"clamp_len": 10}, {"clamp_len": -1},
                        {"tie_projs": [True, True, True]}]),
    # As the paper reads: segments, and a memory of those before; one table of words, and biases for all layers.
    "tiny_transfoxl_segments": ({**SIZES, "cutoffs": [30], "d_embed": 18, "div_val": 1, "mem_len": 11, "tgt_len": 6,
                                 "same_length": False, "clamp_len": -1, "untie_r": False, "pre_lnorm": True,
                                 "tie_word_embeddings": False, "proj_share_all_but_first": False,
                                 "tie_projs": [False, False]},
                                [EPS, {"mem_len": 10}, {"tgt_len": 5}, {"same_length": True}, {"clamp_len": 8},
                                 {"pre_lnorm": False}]),
}


def transfo_xl(c):
    n, width = c["d_model"], c["n_head"] * c["d_head"]
    ends = [0, *c["cutoffs"], c["vocab_size"]]
    sizes = [end - begin for begin, end in zip(ends, ends[1:])]
    by_cluster, e, out = c["div_val"] > 1, "transformer.word_emb.", {}
    widths = [c["d_embed"] // c["div_val"]**i for i in range(len(sizes))]
    for i in range(len(sizes)) if by_cluster else (0,):
        rows = sizes[i] if by_cluster else c["vocab_size"]
        out[f"{e}emb_layers.{i}.weight"] = (rows, widths[i])
        if not c["tie_word_embeddings"]:
            out[f"crit.out_layers.{i}.weight"] = (rows, widths[i])
        out[f"crit.out_layers.{i}.bias"] = (rows,)
        if by_cluster or n != c["d_embed"]:
            out[f"{e}emb_projs.{i}"] = (n, widths[i])
    for i in range(len(sizes)):
        if (by_cluster or n != c["d_embed"]) and not c["tie_projs"][i]:
            out[f"crit.out_projs.{i}"] = (n, widths[i])
    out.update({"crit.cluster_weight": (len(sizes) - 1, c["d_embed"]), "crit.cluster_bias": (len(sizes) - 1,)})
    biases = {"r_w_bias": (c["n_head"], c["d_head"]), "r_r_bias": (c["n_head"], c["d_head"])}
    if not c["untie_r"]:
        out.update({f"transformer.{name}": shape for name, shape in biases.items()})
    for i in range(c["n_layer"]):
        a, f = f"transformer.layers.{i}.dec_attn.", f"transformer.layers.{i}.pos_ff."
        out.update({**_linear(a + "qkv_net", 3 * width, n, False), **_linear(a + "o_net", n, width, False),
                    **_linear(a + "r_net", width, n, False), **_norm(a + "layer_norm", n),
                    **_linear(f + "CoreNet.0", c["d_inner"], n), **_linear(f + "CoreNet.3", n, c["d_inner"]),
                    **_norm(f + "layer_norm", n)})
        if c["untie_r"]:
            out.update({a + name: shape for name, shape in biases.items()})
    return out


SHAPES = {"transfo-xl": transfo_xl}


def value(config, name, noise):
    """Weights at which positions, memories and clusters show; None: as others."""
    if config["model_type"] != "transfo-xl":
        return None
    if name.endswith(("r_w_bias", "r_r_bias")):
        return 0.5 * noise
    if "emb_layers" in name:
        return 0.25 * noise
    if "_projs" in name or "out_layers" in name and name.endswith("weight") or name.endswith("cluster_weight"):
        return (0.6 if config["pre_lnorm"] else 1.5) * noise / noise.shape[-1]**0.5  # before which nothing is normalised
    return None
