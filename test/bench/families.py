#!/usr/bin/env python3
"""Encoders of every family in PyTorch, to compare ours with: see test/bench/families.

    families.py make DIR          tiny random models, a folder each, and texts for them
    families.py large DIR         one of MiniLM's shape, and queries of ten words, for test/bench/encode
                                  and test/bench/serving
    families.py huge DIR          a table of embeddings of 1 GB, and a small one
    families.py ids RESULTS OUT   the token ids of the results of one model, for families_tokens
    families.py compare FOLDER RESULTS STATES   exit status 1 when something differs

The architectures are written down here after their published definitions,
from config.json and model.safetensors alone; nothing is shared with src/.
Everything is computed in float64, but for the angles of rotations, which all
published implementations compute in float32.
"""

import json
import math
import os
import random
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

LIMIT = 1e-5


# ---- safetensors ----

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I8": np.int8, "I32": np.int32, "I64": np.int64}


def save_tensors(path, tensors, dtype="F32"):
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        array = tensor.numpy()
        kind = dtype if array.dtype == np.float32 else "I64"
        if kind == "BF16":
            blob = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            blob = array.astype(DTYPES[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load_tensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        base = f.tell()
        out = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            f.seek(base + entry["data_offsets"][0])
            blob = f.read(entry["data_offsets"][1] - entry["data_offsets"][0])
            if entry["dtype"] == "BF16":
                array = (np.frombuffer(blob, np.uint16).astype(np.uint32) << 16).view(np.float32)
            else:
                array = np.frombuffer(blob, DTYPES[entry["dtype"]])
            out[name] = torch.from_numpy(array.astype(np.float64).reshape(entry["shape"]))
        return out


# ---- the families ----

def activation(name):
    return {
        "gelu": F.gelu,
        "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
        "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "relu": F.relu,
        "silu": F.silu,
        "swiglu": F.silu,
        "tanh": torch.tanh,
    }[name]


class Weights:
    """Tensors under a prefix; w["name"] gives one, and layers are applied by their names."""

    def __init__(self, tensors, prefix=""):
        self.tensors = tensors
        self.prefix = prefix

    def __call__(self, name):
        return Weights(self.tensors, self.prefix + name + ".")

    def __contains__(self, name):
        return self.prefix + name in self.tensors

    def __getitem__(self, name):
        return self.tensors[self.prefix + name]

    def get(self, name):
        return self.tensors.get(self.prefix + name)

    def linear(self, name, x):
        return F.linear(x, self[name + ".weight"], self.get(name + ".bias"))

    def norm(self, name, x, eps):
        weight = self[name + ".weight"]
        return F.layer_norm(x, weight.shape, weight, self.get(name + ".bias"), eps)


def under(tensors, name, prefixes):
    """the prefix under which the model's tensors stand in this file"""
    for prefix in prefixes:
        if prefix + name in tensors:
            return Weights(tensors, prefix)
    return Weights(tensors)


def heads_of(x, heads):
    """[tokens, width] to [heads, tokens, dims]"""
    return x.view(x.shape[0], heads, -1).transpose(0, 1)


def attend(q, k, v, bias=None):
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    return (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def bert(config, tensors, ids, types):
    """BERT, RoBERTa, XLM-RoBERTa, MPNet: one body, with their positions and biases"""
    family = config["model_type"]
    roberta = family in ("roberta", "xlm-roberta", "camembert")
    mpnet = family == "mpnet"
    w = under(tensors, "embeddings.word_embeddings.weight", [family + ".", "roberta.", "bert."])
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    act = activation(config.get("hidden_act", "gelu"))
    n = len(ids)
    positions = torch.arange(n)
    if roberta:
        positions = positions + config.get("pad_token_id", 1) + 1
    if mpnet:
        positions = positions + 2
    x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
    x = x + F.embedding(positions, w["embeddings.position_embeddings.weight"])
    if not mpnet:
        x = x + F.embedding(types, w["embeddings.token_type_embeddings.weight"])
    x = w.norm("embeddings.LayerNorm", x, eps)
    bias = None
    if mpnet:
        table = w["encoder.relative_attention_bias.weight"]
        relative = torch.arange(n)[None, :] - torch.arange(n)[:, None]
        bias = F.embedding(mpnet_bucket(relative, table.shape[0]), table).permute(2, 0, 1)
    for number in range(config["num_hidden_layers"]):
        layer = w("encoder.layer.%d" % number)
        if mpnet:
            q, k, v = (heads_of(layer.linear("attention.attn." + p, x), heads) for p in "qkv")
            y = layer.linear("attention.attn.o", attend(q, k, v, bias))
            x = layer.norm("attention.LayerNorm", x + y, eps)
        else:
            q, k, v = (heads_of(layer.linear("attention.self." + p, x), heads) for p in ("query", "key", "value"))
            y = layer.linear("attention.output.dense", attend(q, k, v))
            x = layer.norm("attention.output.LayerNorm", x + y, eps)
        y = layer.linear("output.dense", act(layer.linear("intermediate.dense", x)))
        x = layer.norm("output.LayerNorm", x + y, eps)
    return x


def mpnet_bucket(relative, buckets, most=128):
    half = buckets // 2
    exact = half // 2
    n = relative.abs()
    far = exact + (torch.log(n.float() / exact) / math.log(most / exact) * (half - exact)).long()
    far = torch.clamp(far, max=half - 1)
    return (relative > 0).long() * half + torch.where(n < exact, n, far)


def distilbert(config, tensors, ids, types):
    w = under(tensors, "embeddings.word_embeddings.weight", ["distilbert."])
    act = activation(config.get("activation", "gelu"))
    x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = w.norm("embeddings.LayerNorm", x, 1e-12)
    for number in range(config["n_layers"]):
        layer = w("transformer.layer.%d" % number)
        q, k, v = (heads_of(layer.linear("attention.%s_lin" % p, x), config["n_heads"]) for p in "qkv")
        y = layer.linear("attention.out_lin", attend(q, k, v))
        x = layer.norm("sa_layer_norm", x + y, 1e-12)
        y = layer.linear("ffn.lin2", act(layer.linear("ffn.lin1", x)))
        x = layer.norm("output_layer_norm", x + y, 1e-12)
    return x


def rotate(x, dims, base, interleaved=False):
    """the first dims components of each head, [heads, tokens, head_dims]"""
    frequencies = 1.0 / base ** (torch.arange(0, dims, 2).float() / dims)
    angles = torch.outer(torch.arange(x.shape[1]).float(), frequencies)
    cos, sin = angles.cos().double(), angles.sin().double()
    turned, rest = x[..., :dims], x[..., dims:]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return torch.cat((turned, rest), -1)


def modernbert(config, tensors, ids, types):
    w = under(tensors, "embeddings.tok_embeddings.weight", ["model."])
    eps = config.get("norm_eps", 1e-5)
    act = activation(config.get("hidden_activation", "gelu"))
    heads = config["num_attention_heads"]
    ropes = config.get("rope_parameters", {})
    full = ropes.get("full_attention", {}).get("rope_theta", config.get("global_rope_theta", 160000.0))
    sliding = ropes.get("sliding_attention", {}).get("rope_theta", config.get("local_rope_theta", 10000.0))
    every = config.get("global_attn_every_n_layers", 3)
    x = F.embedding(ids, w["embeddings.tok_embeddings.weight"])
    x = w.norm("embeddings.norm", x, eps)
    distance = (torch.arange(len(ids))[None, :] - torch.arange(len(ids))[:, None]).abs()
    window = torch.zeros(distance.shape, dtype=torch.float64)
    window[distance > config.get("local_attention", 128) // 2] = -math.inf
    for number in range(config["num_hidden_layers"]):
        layer = w("layers.%d" % number)
        if "layer_types" in config:
            local = config["layer_types"][number] == "sliding_attention"
        else:
            local = number % every != 0
        # layer 0 has no norm of its own: the one of the embeddings is just before it
        y = layer.norm("attn_norm", x, eps) if number > 0 else x
        q, k, v = (heads_of(t, heads) for t in layer.linear("attn.Wqkv", y).chunk(3, -1))
        base = sliding if local else full
        q, k = rotate(q, q.shape[-1], base), rotate(k, k.shape[-1], base)
        x = x + layer.linear("attn.Wo", attend(q, k, v, window if local else None))
        through, gate = layer.linear("mlp.Wi", layer.norm("mlp_norm", x, eps)).chunk(2, -1)
        x = x + layer.linear("mlp.Wo", act(through) * gate)
    return w.norm("final_norm", x, eps)


def nomic_bert(config, tensors, ids, types):
    """as its authors publish it (Wqkv, fc11, fc12), and with the names of newer files"""
    w = Weights(tensors)
    theirs = "encoder.layers.0.attn.Wqkv.weight" in tensors
    heads = config.get("n_head", config.get("num_attention_heads"))
    eps = config.get("layer_norm_epsilon", config.get("layer_norm_eps"))
    base = config.get("rotary_emb_base", config.get("rope_theta"))
    act = activation(config.get("activation_function", config.get("hidden_act")))
    x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
    if "embeddings.token_type_embeddings.weight" in w:
        x = x + F.embedding(types, w["embeddings.token_type_embeddings.weight"])
    x = w.norm("emb_ln" if theirs else "embeddings.LayerNorm", x, eps)
    dims = int(x.shape[-1] // heads * config.get("rotary_emb_fraction", 1))
    scaling, n = config.get("rotary_scaling_factor"), len(ids)
    if scaling and n > config["max_trained_positions"]:
        base = base * (scaling * n / config["max_trained_positions"] - (scaling - 1)) ** (dims / (dims - 2))
    interleaved = config.get("rotary_emb_interleaved", False)
    for number in range(config.get("n_layer", config.get("num_hidden_layers"))):
        layer = w(("encoder.layers.%d" if theirs else "encoder.layer.%d") % number)
        if theirs:
            q, k, v = layer.linear("attn.Wqkv", x).chunk(3, -1)
        else:
            q, k, v = (layer.linear("attention.self." + p, x) for p in ("query", "key", "value"))
        q, k, v = heads_of(q, heads), heads_of(k, heads), heads_of(v, heads)
        q, k = rotate(q, dims, base, interleaved), rotate(k, dims, base, interleaved)
        y = layer.linear("attn.out_proj" if theirs else "attention.output.dense", attend(q, k, v))
        x = layer.norm("norm1" if theirs else "attention.output.LayerNorm", x + y, eps)
        up, gate, down = ("mlp.fc11", "mlp.fc12", "mlp.fc2") if theirs else ("mlp.up", "mlp.gate", "mlp.down")
        y = layer.linear(down, layer.linear(up, x) * act(layer.linear(gate, x)))
        x = layer.norm("norm2" if theirs else "mlp.LayerNorm", x + y, eps)
    return x


def causal(n):
    return torch.full((n, n), -math.inf, dtype=torch.float64).triu(1)


def clip(config, tensors, ids, types):
    config = config.get("text_config", config)
    w = under(tensors, "embeddings.token_embedding.weight", ["text_model."])
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    act = activation(config["hidden_act"])
    x = F.embedding(ids, w["embeddings.token_embedding.weight"])
    x = x + w["embeddings.position_embedding.weight"][: len(ids)]
    for number in range(config["num_hidden_layers"]):
        layer = w("encoder.layers.%d" % number)
        y = layer.norm("layer_norm1", x, eps)
        q, k, v = (heads_of(layer.linear("self_attn.%s_proj" % p, y), heads) for p in "qkv")
        x = x + layer.linear("self_attn.out_proj", attend(q, k, v, causal(len(ids))))
        x = x + layer.linear("mlp.fc2", act(layer.linear("mlp.fc1", layer.norm("layer_norm2", x, eps))))
    return w.norm("final_layer_norm", x, eps)


def open_clip(config, tensors, ids, types):
    """with PyTorch's own MultiheadAttention, as that library has it"""
    model = config["model_cfg"]
    text = model["text_cfg"]
    w = under(tensors, "token_embedding.weight", ["text."])
    act = activation("quick_gelu" if model.get("quick_gelu") else "gelu")
    x = F.embedding(ids, w["token_embedding.weight"]) + w["positional_embedding"][: len(ids)]
    for number in range(text["layers"]):
        layer = w("transformer.resblocks.%d" % number)
        attention = torch.nn.MultiheadAttention(text["width"], text["heads"]).double().eval()
        attention.load_state_dict({
            "in_proj_weight": layer["attn.in_proj_weight"], "in_proj_bias": layer["attn.in_proj_bias"],
            "out_proj.weight": layer["attn.out_proj.weight"], "out_proj.bias": layer["attn.out_proj.bias"]})
        y = layer.norm("ln_1", x, 1e-5)[:, None, :]
        x = x + attention(y, y, y, need_weights=False, attn_mask=causal(len(ids)))[0][:, 0, :]
        x = x + layer.linear("mlp.c_proj", act(layer.linear("mlp.c_fc", layer.norm("ln_2", x, 1e-5))))
    return w.norm("ln_final", x, 1e-5)


BODIES = {
    "bert": bert, "roberta": bert, "xlm-roberta": bert, "camembert": bert, "mpnet": bert, "distilbert": distilbert,
    "modernbert": modernbert, "nomic_bert": nomic_bert, "clip": clip, "clip_text_model": clip,
}


# ---- what is behind the body ----

def pool(x, folder):
    config = read_json(folder, "1_Pooling/config.json") or {"pooling_mode_mean_tokens": True}
    n = x.shape[0]
    weights = torch.arange(1, n + 1, dtype=torch.float64)[:, None]
    modes = {
        "pooling_mode_cls_token": lambda: x[0],
        "pooling_mode_max_tokens": lambda: x.max(0).values,
        "pooling_mode_mean_tokens": lambda: x.mean(0),
        "pooling_mode_mean_sqrt_len_tokens": lambda: x.sum(0) / math.sqrt(n),
        "pooling_mode_weightedmean_tokens": lambda: (x * weights).sum(0) / weights.sum(),
        "pooling_mode_lasttoken": lambda: x[-1],
    }
    return torch.cat([modes[mode]() for mode in modes if config.get(mode)])


def modules(v, folder):
    for module in read_json(folder, "modules.json") or []:
        kind, path = module["type"].rsplit(".", 1)[-1], module["path"]
        if kind == "Dense":
            config = read_json(folder, path + "/config.json")
            w = Weights(load_tensors(os.path.join(folder, path, "model.safetensors")))
            v = w.linear("linear", v)
            if config["activation_function"].endswith("Tanh"):
                v = torch.tanh(v)
        elif kind == "LayerNorm":
            w = Weights(load_tensors(os.path.join(folder, path, "model.safetensors")))
            v = w.norm("norm", v, 1e-5)
        elif kind == "Normalize":
            v = F.normalize(v, dim=0)
    return v


def head(config, tensors, x):
    """heads for sequence classification, with the function that a cross-encoder puts behind one score"""
    w, family = Weights(tensors), config["model_type"]
    if family == "bert":
        v = w.linear("classifier", torch.tanh(w.linear("bert.pooler.dense", x[0])))
    elif family == "distilbert":
        v = w.linear("classifier", F.relu(w.linear("pre_classifier", x[0])))
    elif family == "modernbert":
        v = x.mean(0) if config.get("classifier_pooling", "cls") == "mean" else x[0]
        v = activation(config.get("classifier_activation", "gelu"))(w.linear("head.dense", v))
        v = w.linear("classifier", w.norm("head.norm", v, config.get("norm_eps", 1e-5)))
    else:
        v = w.linear("classifier.out_proj", torch.tanh(w.linear("classifier.dense", x[0])))
    return torch.sigmoid(v) if v.shape[0] == 1 else v


class Static:
    def __init__(self, folder, config, tensors):
        self.table = tensors.get("embeddings", tensors.get("embedding.weight"))
        self.rows = tensors.get("mapping")
        self.scale = tensors.get("weights")
        self.normalize = config.get("normalize", False)
        if not config:
            self.normalize = (read_json(folder, "config_sentence_transformers.json") or {}).get("normalize", False)

    def run(self, ids):
        if len(ids) == 0:
            return torch.zeros(self.table.shape[1], dtype=torch.float64)
        rows = ids if self.rows is None else self.rows.long()[ids]
        x = self.table[rows]
        if self.scale is not None:
            x = x * self.scale[ids][:, None]
        v = x.mean(0)
        return F.normalize(v, dim=0) if self.normalize else v


class Reference:
    """states(ids, types) of all tokens, or None; embedding(ids, types)"""

    def __init__(self, folder):
        self.folder = folder
        self.config = read_json(folder, "config.json") or read_json(folder, "open_clip_config.json") or {}
        names = [n for n in ("model.safetensors", "open_clip_model.safetensors") if os.path.exists(os.path.join(folder, n))]
        self.tensors = load_tensors(os.path.join(folder, names[0]))
        self.static = None
        if "model_cfg" in self.config:
            self.body = open_clip
        elif self.config.get("model_type") in BODIES:
            self.body = BODIES[self.config["model_type"]]
        else:
            self.static = Static(folder, self.config, self.tensors)
        self.scores = "ForSequenceClassification" in "".join(self.config.get("architectures", []))

    def states(self, ids, types):
        return None if self.static else self.body(self.config, self.tensors, ids, types)

    def embedding(self, ids, types):
        if self.static:
            return self.static.run(ids)
        x = self.states(ids, types)
        if self.scores:
            return head(self.config, self.tensors, x)
        if self.body in (clip, open_clip):
            # the end of a text is the token with the highest number
            v = x[ids.argmax()]
            if self.body is clip:
                return F.linear(v, self.tensors["text_projection.weight"]) if "text_projection.weight" in self.tensors else v
            return v @ under(self.tensors, "text_projection", ["text."])["text_projection"]
        return modules(pool(x, self.folder), self.folder)


def read_json(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)


# ---- making models ----

WORDS = 90


class Maker:
    def __init__(self, directory):
        self.directory = directory
        self.random = torch.Generator().manual_seed(20)

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.random)

    def dense(self, tensors, name, outs, ins, bias=True):
        tensors[name + ".weight"] = self.normal(outs, ins) * 1.5 / math.sqrt(ins)
        if bias:
            tensors[name + ".bias"] = self.normal(outs) * 0.2

    def norm(self, tensors, name, n, bias=True):
        tensors[name + ".weight"] = 1 + self.normal(n) * 0.2
        if bias:
            tensors[name + ".bias"] = self.normal(n) * 0.2

    def folder(self, name, config, tensors, special=("[CLS]", "[SEP]"), pair=2, dtype="F32", config_name="config.json", **files):
        folder = os.path.join(self.directory, name)
        os.makedirs(folder)
        if config_name:
            self.write(folder, config_name, config)
        weights = "open_clip_model.safetensors" if config_name == "open_clip_config.json" else "model.safetensors"
        save_tensors(os.path.join(folder, weights), tensors, dtype)
        self.write(folder, "tokenizer.json", tokenizer(special, pair))
        for path, content in files.items():
            path = path.replace("__", "/")
            if path.endswith("weights"):
                os.makedirs(os.path.join(folder, os.path.dirname(path)), exist_ok=True)
                save_tensors(os.path.join(folder, os.path.dirname(path), "model.safetensors"), content)
            else:
                self.write(folder, path + ".json", content)

    @staticmethod
    def write(folder, name, content):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            json.dump(content, f)

    def bert_tensors(self, prefix, hidden, inner, layers, positions, types, mpnet_heads=0):
        t = {}
        e = prefix + "embeddings."
        t[e + "word_embeddings.weight"] = self.normal(VOCABULARY, hidden)
        t[e + "position_embeddings.weight"] = self.normal(positions, hidden) * 0.5
        if types:
            t[e + "token_type_embeddings.weight"] = self.normal(types, hidden) * 0.5
        if mpnet_heads:
            t[prefix + "encoder.relative_attention_bias.weight"] = self.normal(32, mpnet_heads)
        self.norm(t, e + "LayerNorm", hidden)
        for n in range(layers):
            layer = prefix + "encoder.layer.%d." % n
            for p in ("attn.q", "attn.k", "attn.v", "attn.o") if mpnet_heads else ("self.query", "self.key", "self.value", "output.dense"):
                self.dense(t, layer + "attention." + p, hidden, hidden)
            self.norm(t, layer + ("attention.LayerNorm" if mpnet_heads else "attention.output.LayerNorm"), hidden)
            self.dense(t, layer + "intermediate.dense", inner, hidden)
            self.dense(t, layer + "output.dense", hidden, inner)
            self.norm(t, layer + "output.LayerNorm", hidden)
        return t

    def distilbert_tensors(self, hidden, inner, layers):
        t = {}
        e = "distilbert.embeddings."
        t[e + "word_embeddings.weight"] = self.normal(VOCABULARY, hidden)
        t[e + "position_embeddings.weight"] = self.normal(POSITIONS, hidden) * 0.5
        self.norm(t, e + "LayerNorm", hidden)
        for n in range(layers):
            layer = "distilbert.transformer.layer.%d." % n
            for p in ("q_lin", "k_lin", "v_lin", "out_lin"):
                self.dense(t, layer + "attention." + p, hidden, hidden)
            self.norm(t, layer + "sa_layer_norm", hidden)
            self.dense(t, layer + "ffn.lin1", inner, hidden)
            self.dense(t, layer + "ffn.lin2", hidden, inner)
            self.norm(t, layer + "output_layer_norm", hidden)
        return t

    def modernbert_tensors(self, prefix, hidden, inner, layers):
        t = {prefix + "embeddings.tok_embeddings.weight": self.normal(VOCABULARY, hidden)}
        self.norm(t, prefix + "embeddings.norm", hidden, False)
        for n in range(layers):
            layer = prefix + "layers.%d." % n
            if n > 0:
                self.norm(t, layer + "attn_norm", hidden, False)
            self.dense(t, layer + "attn.Wqkv", 3 * hidden, hidden, False)
            self.dense(t, layer + "attn.Wo", hidden, hidden, False)
            self.norm(t, layer + "mlp_norm", hidden, False)
            self.dense(t, layer + "mlp.Wi", 2 * inner, hidden, False)
            self.dense(t, layer + "mlp.Wo", hidden, inner, False)
        self.norm(t, prefix + "final_norm", hidden, False)
        return t

    def clip_tensors(self, hidden, inner, layers, out):
        p = "text_model."
        t = {p + "embeddings.token_embedding.weight": self.normal(VOCABULARY, hidden),
             p + "embeddings.position_embedding.weight": self.normal(POSITIONS, hidden) * 0.5}
        for n in range(layers):
            layer = p + "encoder.layers.%d." % n
            self.norm(t, layer + "layer_norm1", hidden)
            for name in ("q", "k", "v", "out"):
                self.dense(t, layer + "self_attn.%s_proj" % name, hidden, hidden)
            self.norm(t, layer + "layer_norm2", hidden)
            self.dense(t, layer + "mlp.fc1", inner, hidden)
            self.dense(t, layer + "mlp.fc2", hidden, inner)
        self.norm(t, p + "final_layer_norm", hidden)
        self.dense(t, "text_projection", out, hidden, False)
        return t

    def open_clip_tensors(self, prefix, hidden, layers, out):
        t = {prefix + "token_embedding.weight": self.normal(VOCABULARY, hidden),
             prefix + "positional_embedding": self.normal(POSITIONS, hidden) * 0.5}
        for n in range(layers):
            layer = prefix + "transformer.resblocks.%d." % n
            self.norm(t, layer + "ln_1", hidden)
            t[layer + "attn.in_proj_weight"] = self.normal(3 * hidden, hidden) * 1.5 / math.sqrt(hidden)
            t[layer + "attn.in_proj_bias"] = self.normal(3 * hidden) * 0.2
            self.dense(t, layer + "attn.out_proj", hidden, hidden)
            self.norm(t, layer + "ln_2", hidden)
            self.dense(t, layer + "mlp.c_fc", 4 * hidden, hidden)
            self.dense(t, layer + "mlp.c_proj", hidden, 4 * hidden)
        self.norm(t, prefix + "ln_final", hidden)
        t[prefix + "text_projection"] = self.normal(hidden, out) / math.sqrt(hidden)
        return t


SPECIAL = ["[PAD]", "<pad>", "[CLS]", "[SEP]", "[UNK]", "<s>", "</s>"]
END = "<end>"  # of CLIP: the highest number
TOKENS = SPECIAL + ["word%d" % i for i in range(WORDS)] + ["##%d" % i for i in range(10)] + ["word", END]
VOCABULARY = len(TOKENS)
POSITIONS = 160


def tokenizer(special, pair):
    """WordPiece over made words; pair: the tokens between two texts are that many less one"""
    number = {token: i for i, token in enumerate(TOKENS)}
    first, last = special

    def mark(token, kind=0):
        return {"SpecialToken": {"id": token, "type_id": kind}}

    def text(which, kind):
        return {"Sequence": {"id": which, "type_id": kind}}

    kind = 1 if pair == 2 else 0
    between = [mark(last)] * (pair - 1 if pair != 2 else 1)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t in SPECIAL + [END]],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark(first), text("A", 0), mark(last)],
            "pair": [mark(first), text("A", 0)] + between + [text("B", kind), mark(last, kind)],
            "special_tokens": {t: {"id": t, "ids": [number[t]], "tokens": [t]} for t in special},
        },
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": number},
    }


def sentence(*behind):
    out = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
           {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    for i, (kind, path) in enumerate(behind, 2):
        out.append({"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind})
    return out


def pooling(dims, *modes):
    return {"word_embedding_dimension": dims, **{"pooling_mode_" + m: True for m in modes}}


def make(directory):
    m = Maker(directory)
    angle = ("<s>", "</s>")

    def bert_config(family, hidden, inner, layers, heads, positions, **more):
        return {"model_type": family, "architectures": ["Model"], "hidden_size": hidden, "num_hidden_layers": layers,
                "num_attention_heads": heads, "intermediate_size": inner, "vocab_size": VOCABULARY,
                "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
                "hidden_act": "gelu", **more}

    def classifier(config, name):
        return {**config, "architectures": [name + "ForSequenceClassification"]}

    def add(tensors, *layers):
        for name, outs, ins in layers:
            m.dense(tensors, name, outs, ins)
        return tensors

    # BERT: the whole chain of sentence-transformers
    dense = {}
    m.dense(dense, "linear", 24, 48)
    m.folder("bert", bert_config("bert", 48, 96, 3, 4, POSITIONS),
             m.bert_tensors("", 48, 96, 3, POSITIONS, 2),
             modules=sentence(("Dense", "2_Dense"), ("Normalize", "3_Normalize")),
             **{"1_Pooling__config": pooling(48, "mean_tokens"),
                "2_Dense__config": {"in_features": 48, "out_features": 24, "bias": True,
                                    "activation_function": "torch.nn.modules.activation.Tanh"},
                "2_Dense__weights": dense})
    m.folder("bert-gelu-new-f16", bert_config("bert", 64, 80, 2, 2, POSITIONS, hidden_act="gelu_new"),
             m.bert_tensors("bert.", 64, 80, 2, POSITIONS, 2), dtype="F16",
             **{"1_Pooling__config": pooling(64, "cls_token")})
    m.folder("bert-relu-bf16", bert_config("bert", 40, 72, 2, 5, POSITIONS, hidden_act="relu"),
             m.bert_tensors("", 40, 72, 2, POSITIONS, 2), dtype="BF16",
             **{"1_Pooling__config": pooling(40, "weightedmean_tokens", "lasttoken")})
    for family in ("roberta", "xlm-roberta", "camembert"):
        m.folder(family, bert_config(family, 48, 64, 3, 3, POSITIONS + 2, layer_norm_eps=1e-5, type_vocab_size=1, pad_token_id=1),
                 m.bert_tensors("roberta.", 48, 64, 3, POSITIONS + 2, 1), special=angle, pair=3,
                 **{"1_Pooling__config": pooling(48, *{"roberta": ["cls_token"], "xlm-roberta": ["mean_tokens"],
                                                       "camembert": ["max_tokens", "mean_sqrt_len_tokens"]}[family])})
    distilbert_config = {"model_type": "distilbert", "architectures": ["DistilBertModel"], "dim": 48, "n_layers": 3,
                         "n_heads": 4, "hidden_dim": 96, "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS,
                         "activation": "gelu"}
    m.folder("distilbert", distilbert_config, m.distilbert_tensors(48, 96, 3),
             **{"1_Pooling__config": pooling(48, "mean_tokens")})
    mpnet_config = bert_config("mpnet", 48, 96, 3, 3, POSITIONS + 2, layer_norm_eps=1e-5,
                               relative_attention_num_buckets=32)
    m.folder("mpnet", mpnet_config, m.bert_tensors("", 48, 96, 3, POSITIONS + 2, 0, 3), special=angle, pair=3,
             modules=sentence(("Normalize", "2_Normalize")), **{"1_Pooling__config": pooling(48, "mean_tokens")})
    modernbert_config = {"model_type": "modernbert", "architectures": ["ModernBertModel"], "hidden_size": 48,
                         "num_hidden_layers": 5, "num_attention_heads": 3, "intermediate_size": 56,
                         "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "norm_eps": 1e-5,
                         "global_attn_every_n_layers": 3, "local_attention": 16, "global_rope_theta": 160000.0,
                         "local_rope_theta": 10000.0, "hidden_activation": "gelu"}
    m.folder("modernbert", modernbert_config, m.modernbert_tensors("model.", 48, 56, 5),
             **{"1_Pooling__config": pooling(48, "cls_token")})
    newer = {k: v for k, v in modernbert_config.items() if not k.endswith("rope_theta") and k != "global_attn_every_n_layers"}
    newer["layer_types"] = ["full_attention" if i % 2 == 0 else "sliding_attention" for i in range(5)]
    newer["rope_parameters"] = {"full_attention": {"rope_type": "default", "rope_theta": 80000.0},
                                "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}}
    m.folder("modernbert-newer", newer, m.modernbert_tensors("", 48, 56, 5),
             **{"1_Pooling__config": pooling(48, "mean_tokens")})

    for name, more in (("nomic-bert", {}),
                       ("nomic-bert-interleaved", {"rotary_emb_interleaved": True, "rotary_emb_fraction": 0.5}),
                       ("nomic-bert-scaled", {"rotary_scaling_factor": 2.0, "max_trained_positions": 40})):
        t = {"embeddings.word_embeddings.weight": m.normal(VOCABULARY, 48),
             "embeddings.token_type_embeddings.weight": m.normal(2, 48) * 0.5}
        m.norm(t, "emb_ln", 48)
        for n in range(3):
            layer = "encoder.layers.%d." % n
            m.dense(t, layer + "attn.Wqkv", 144, 48, False)
            m.dense(t, layer + "attn.out_proj", 48, 48, False)
            m.dense(t, layer + "mlp.fc11", 64, 48, False)
            m.dense(t, layer + "mlp.fc12", 64, 48, False)
            m.dense(t, layer + "mlp.fc2", 48, 64, False)
            m.norm(t, layer + "norm1", 48)
            m.norm(t, layer + "norm2", 48)
        m.folder(name, {"model_type": "nomic_bert", "architectures": ["NomicBertModel"], "n_embd": 48, "n_layer": 3,
                        "n_head": 3, "n_inner": 64, "vocab_size": VOCABULARY, "n_positions": 2048,
                        "type_vocab_size": 2, "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000,
                        "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "activation_function": "swiglu",
                        "prenorm": False, "qkv_proj_bias": False, "mlp_fc1_bias": False, **more}, t,
                 modules=sentence(("Normalize", "2_Normalize")), **{"1_Pooling__config": pooling(48, "mean_tokens")})

    clip_config = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96,
                   "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "layer_norm_eps": 1e-5,
                   "hidden_act": "quick_gelu", "eos_token_id": VOCABULARY - 1}
    m.folder("clip", {"model_type": "clip", "architectures": ["CLIPModel"], "text_config": clip_config},
             m.clip_tensors(48, 96, 3, 24), special=("<s>", END))
    m.folder("clip-older", {"model_type": "clip_text_model", "architectures": ["CLIPTextModelWithProjection"],
                            **clip_config, "hidden_act": "gelu", "eos_token_id": 2},
             m.clip_tensors(48, 96, 3, 24), special=("<s>", END))
    for name, prefix, quick in (("open-clip", "", False), ("open-clip-custom", "text.", True)):
        m.folder(name, {"model_cfg": {"embed_dim": 24, "quick_gelu": quick, "vision_cfg": {}, "text_cfg": {
            "context_length": POSITIONS, "vocab_size": VOCABULARY, "width": 48, "heads": 3, "layers": 3}}},
            m.open_clip_tensors(prefix, 48, 3, 24), special=("<s>", END), config_name="open_clip_config.json")

    # static: a table; with weights and shared rows
    static = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 40, "normalize": True}
    m.folder("static", static, {"embeddings": m.normal(VOCABULARY, 40)})
    m.folder("static-rows", {**static, "normalize": False},
             {"embeddings": m.normal(30, 40), "weights": 1 + m.normal(VOCABULARY) * 0.2,
              "mapping": torch.randint(0, 30, (VOCABULARY,), generator=m.random)})

    # heads
    m.folder("bert-scores", classifier(bert_config("bert", 48, 96, 2, 4, POSITIONS), "Bert"),
             add(m.bert_tensors("bert.", 48, 96, 2, POSITIONS, 2), ("bert.pooler.dense", 48, 48), ("classifier", 1, 48)))
    for family, name in (("roberta", "Roberta"), ("xlm-roberta", "XLMRoberta")):
        config = bert_config(family, 48, 64, 2, 3, POSITIONS + 2, layer_norm_eps=1e-5, type_vocab_size=1, pad_token_id=1)
        m.folder(family + "-scores", classifier(config, name),
                 add(m.bert_tensors("roberta.", 48, 64, 2, POSITIONS + 2, 1), ("classifier.dense", 48, 48), ("classifier.out_proj", 1, 48)),
                 special=angle, pair=3)
    m.folder("distilbert-scores", classifier(distilbert_config, "DistilBert"),
             add(m.distilbert_tensors(48, 96, 3), ("pre_classifier", 48, 48), ("classifier", 1, 48)))
    m.folder("mpnet-scores", classifier(mpnet_config, "MPNet"),
             add(m.bert_tensors("mpnet.", 48, 96, 3, POSITIONS + 2, 0, 3), ("classifier.dense", 48, 48), ("classifier.out_proj", 1, 48)),
             special=angle, pair=3)
    for pooled in ("cls", "mean"):
        t = m.modernbert_tensors("model.", 48, 56, 5)
        m.dense(t, "head.dense", 48, 48, False)
        m.norm(t, "head.norm", 48, False)
        m.dense(t, "classifier", 1, 48)
        m.folder("modernbert-scores-" + pooled, classifier({**modernbert_config, "classifier_pooling": pooled}, "ModernBert"), t)

    words = random.Random(3)
    with open(os.path.join(directory, "texts"), "w") as f:
        for n in (0, 1, 2, 5, 14, 15, 30, 33, 70, 120, 155, 300):
            f.write(" ".join("word%d" % words.randrange(WORDS + 40) for _ in range(n)) + "\n")


def make_large(directory):
    m = Maker(directory)
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6,
              "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522,
              "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
    tensors = m.bert_tensors("", 384, 1536, 6, 512, 2)
    tensors["embeddings.word_embeddings.weight"] = m.normal(config["vocab_size"], 384)
    m.folder("minilm", config, tensors, **{"1_Pooling__config": pooling(384, "mean_tokens")})
    words = random.Random(4)
    with open(os.path.join(directory, "queries"), "w") as f:
        for _ in range(400):
            f.write(" ".join("word%d" % words.randrange(WORDS) for _ in range(10)) + "\n")


def make_huge(directory, rows=2**18, dims=2**10):
    folder = os.path.join(directory, "huge")
    m = Maker(directory)
    static = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": dims, "normalize": True}
    for name in ("huge", "small"):
        m.folder(name, static, {"embeddings": m.normal(VOCABULARY, dims)})
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        header = json.dumps({"embeddings": {"dtype": "F32", "shape": [rows, dims], "data_offsets": [0, rows * dims * 4]}}).encode()
        f.write(struct.pack("<Q", len(header)) + header)
        for _ in range(0, rows, 2**12):
            f.write(m.normal(2**12, dims).numpy().tobytes())


# ---- comparing ----

def results_of(path):
    with open(path) as f:
        return [json.loads(line) for line in f if line.strip()]


def tokens_of(result):
    """ids and types of a text, or of a pair as the family joins them"""
    ids = result["ids"] or []
    if "pair" not in result:
        return ids, [0] * len(ids)
    behind = result["pair"][1:]
    last = result["pair"][-1:]
    if result["twice"]:
        return ids + last + behind, [0] * (len(ids) + 1 + len(behind))
    return ids + behind, [0] * len(ids) + [1] * len(behind)


def write_ids(results, out):
    with open(out, "w") as f:
        for result in results_of(results):
            ids, types = tokens_of(result)
            f.write(" ".join("%d:%d" % pair for pair in zip(ids, types)) + "\n")


def difference(got, wanted):
    """the largest one in a component, both at length one where they are vectors"""
    got = np.asarray(got, dtype=np.float64)
    wanted = wanted.numpy()
    if not np.isfinite(got).all():
        return math.inf
    if len(wanted) > 1:
        got = got / max(np.linalg.norm(got), 1e-12)
        wanted = wanted / max(np.linalg.norm(wanted), 1e-12)
    return float(np.abs(got - wanted).max()) if len(wanted) else 0.0


def compare(folder, results, file):
    reference = Reference(folder)
    texts = results_of(results)
    worst_sql = worst_embedding = worst_state = 0.0
    count = asked = 0
    with open(file, "rb") as f:
        kernels, dims, hidden = struct.unpack("<3I", f.read(12))
        numbers = np.frombuffer(f.read(), np.float32)
    at = 0
    with torch.no_grad():
        expected = []
        for result in texts:
            ids, types = (torch.tensor(t, dtype=torch.long) for t in tokens_of(result))
            if len(ids) == 0 and not reference.static:
                expected.append((torch.zeros(dims, dtype=torch.float64), None))
            else:
                states = reference.states(ids, types)
                if states is not None:
                    # families_tokens finds a token by its id: of those that come twice, the first
                    seen = ids.tolist()
                    states = states[[i for i, t in enumerate(seen) if t not in seen[:i]]]
                expected.append((reference.embedding(ids, types), states))
            if result["out"] is not None:
                asked += 1
                out = result["out"] if isinstance(result["out"], list) else [result["out"]]
                worst_sql = max(worst_sql, difference(out, expected[-1][0]))
        for _ in range(kernels):
            for embedding, state in expected:
                worst_embedding = max(worst_embedding, difference(numbers[at : at + dims], embedding))
                at += dims
                for row in state if state is not None else []:
                    worst_state = max(worst_state, difference(numbers[at : at + hidden], row))
                    at += hidden
                    count += 1
    if at != len(numbers):
        sys.exit("%s: %d numbers, not %d" % (folder, len(numbers), at))
    wrong = not max(worst_sql, worst_embedding, worst_state) < LIMIT
    print("| %s | %d | %s | %.1e | %d | %s |%s" % (
        os.path.basename(folder.rstrip("/")), len(texts), "%.1e" % worst_sql if asked else "-", worst_embedding,
        count, "%.1e" % worst_state if count else "-", " WRONG" if wrong else ""))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    elif sys.argv[1] == "large":
        make_large(sys.argv[2])
    elif sys.argv[1] == "huge":
        make_huge(sys.argv[2])
    elif sys.argv[1] == "ids":
        write_ids(sys.argv[2], sys.argv[3])
    else:
        compare(*sys.argv[2:5])
