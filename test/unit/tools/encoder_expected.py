#!/usr/bin/env python3
"""What encoders of every family must compute: test/unit/encoder_expected.h.

    test/unit/tools/encoder_expected.py >test/unit/encoder_expected.h

An implementation of its own in float64 (numpy), written after the families'
published code and sharing nothing with src/nn.  Weights and token ids are
made from their names by a hash, here and in the test alike, so that only
results are stored.  test/bench/families compares the forward pass with PyTorch too.
"""

import json
import sys

import numpy as np

MASK = (1 << 64) - 1


def mix(x):
    """splitmix64's finaliser, on an array of uint64"""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def name_hash(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def uniform(name, n):
    """n numbers in [-1, 1), multiples of 2^-23, from a name"""
    with np.errstate(over="ignore"):
        i = np.arange(n, dtype=np.uint64)
        x = mix(np.uint64(name_hash(name)) + i * np.uint64(0x9E3779B97F4A7C15))
    return (x >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0


def tensor(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if name.endswith("norm.weight") or name == "token.scale":
        u = 1 + u / 4
    elif name.endswith("bias"):
        u = u / 8
    elif name in ("token.weight", "position.weight", "type.weight"):
        u = u / 2
    elif name != "relative.weight":
        u = u / 4
    return u.astype(np.float32).astype(np.float64).reshape(shape)


def erf(x):
    """to 1e-15: the series for small x, a continued fraction for large x"""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) < 3
    z = np.where(small, x, 0)
    term = z.copy()
    total = z.copy()
    for k in range(1, 120):
        term = term * (-z * z) / k
        total = total + term / (2 * k + 1)
    series = total * 2 / np.sqrt(np.pi)
    y = np.where(small, 3, np.abs(x))
    fraction = np.zeros_like(y)
    for k in range(120, 0, -1):
        fraction = (k / 2) / (y + fraction)
    far = 1 - np.exp(-y * y) / (np.sqrt(np.pi) * (y + fraction))
    return np.where(small, series, np.sign(x) * far)


ACTIVATIONS = {
    "identity": lambda x: x,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


class Model:
    def __init__(self, spec, source=None):
        self.spec = dict(
            positions=0, position_offset=0, types=0, embedding_norm=False, gated=False,
            norm_first=False, first_norm_absent=False, final_norm=False, norm_bias=False,
            qkv_bias=False, out_bias=False, up_bias=False, down_bias=False, qkv_fused=False,
            gate_up_fused=False, causal=False, window=0, global_every=0, relative_buckets=0,
            relative_distance=0, rotary_dims=0, rotary_interleaved=False, rotary_base=0,
            window_base=0, rotary_scaling=0, rotary_trained=0, modules=[], token_weights=False,
        )
        self.spec.update(spec)
        self.source = source or tensor

    def __getattr__(self, name):
        return self.spec[name]

    def norm(self, x, prefix, epsilon=None, bias=None):
        n = x.shape[-1]
        mean = x.mean(-1, keepdims=True)
        var = ((x - mean) ** 2).mean(-1, keepdims=True)
        x = (x - mean) / np.sqrt(var + (epsilon or self.norm_epsilon))
        x = x * self.source(prefix + ".weight", (n,))
        if self.norm_bias if bias is None else bias:
            x = x + self.source(prefix + ".bias", (n,))
        return x

    def linear(self, x, prefix, out, bias):
        x = x @ self.source(prefix + ".weight", (out, x.shape[-1])).T
        return x + self.source(prefix + ".bias", (out,)) if bias else x

    def rotate(self, x, base):
        n, _, d = x.shape
        r = self.rotary_dims
        if self.rotary_scaling and n > self.rotary_trained:
            s = self.rotary_scaling
            base = base * (s * n / self.rotary_trained - (s - 1)) ** (r / (r - 2))
        frequency = 1.0 / base ** (np.arange(0, r, 2) / r)
        angle = np.arange(n)[:, None] * frequency[None, :]
        c, s = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        y = x.copy()
        if self.rotary_interleaved:
            a, b = x[..., 0:r:2], x[..., 1:r:2]
            y[..., 0:r:2], y[..., 1:r:2] = a * c - b * s, a * s + b * c
        else:
            a, b = x[..., : r // 2], x[..., r // 2 : r]
            y[..., : r // 2], y[..., r // 2 : r] = a * c - b * s, a * s + b * c
        return y

    def bucket(self, relative):
        """after T5: relative is key minus query"""
        half = self.relative_buckets // 2
        exact = half // 2
        n = -relative
        result = half if n < 0 else 0
        n = abs(n)
        if n < exact:
            return result + n
        large = exact + int(
            np.log(n / exact) / np.log(self.relative_distance / exact) * (half - exact) + 1e-9
        )
        return result + min(large, half - 1)

    def attention(self, x, layer):
        n = x.shape[0]
        h, d = self.heads, self.head_dims
        prefix = f"layer.{layer}.attention."
        if self.qkv_fused:
            qkv = self.linear(x, prefix + "qkv", 3 * h * d, self.qkv_bias)
            q, k, v = np.split(qkv, 3, axis=-1)
        else:
            q, k, v = (
                self.linear(x, prefix + p, h * d, self.qkv_bias) for p in ("query", "key", "value")
            )
        q, k, v = (t.reshape(n, h, d) for t in (q, k, v))
        local = self.window > 0 and layer % self.global_every != 0
        if self.rotary_dims:
            base = self.window_base if local and self.window_base else self.rotary_base
            q, k = self.rotate(q, base), self.rotate(k, base)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(d)
        i, j = np.arange(n)[:, None], np.arange(n)[None, :]
        if self.relative_buckets:
            table = self.source("relative.weight", (self.relative_buckets, h))
            scores = scores + np.array(
                [[table[self.bucket(b - a)] for b in range(n)] for a in range(n)]
            ).transpose(2, 0, 1)
        if self.causal:
            scores = np.where(j <= i, scores, -np.inf)
        if local:
            scores = np.where(np.abs(i - j) <= self.window // 2, scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", p, v).reshape(n, h * d)
        return self.linear(out, prefix + "out", self.hidden, self.out_bias)

    def mlp(self, x, layer):
        act = ACTIVATIONS[self.activation]
        prefix = f"layer.{layer}.mlp."
        i = self.intermediate
        if self.gate_up_fused:
            y = self.linear(x, prefix + "gate_up", 2 * i, self.up_bias)
            y = act(y[:, :i]) * y[:, i:]
        elif self.gated:
            y = act(self.linear(x, prefix + "gate", i, self.up_bias)) * self.linear(
                x, prefix + "up", i, self.up_bias
            )
        else:
            y = act(self.linear(x, prefix + "up", i, self.up_bias))
        return self.linear(y, prefix + "down", self.hidden, self.down_bias)

    def hidden_states(self, ids, types):
        h = self.hidden
        n = len(ids)
        x = self.source("token.weight", (self.vocabulary, h))[ids]
        if self.positions:
            table = self.source("position.weight", (self.positions, h))
            x = x + table[self.position_offset + np.arange(n)]
        if self.types:
            x = x + self.source("type.weight", (self.types, h))[types]
        if self.embedding_norm:
            x = self.norm(x, "embedding.norm")
        for layer in range(self.layers):
            a, m = f"layer.{layer}.attention.norm", f"layer.{layer}.mlp.norm"
            if self.norm_first:
                absent = layer == 0 and self.first_norm_absent
                x = x + self.attention(x if absent else self.norm(x, a), layer)
                x = x + self.mlp(self.norm(x, m), layer)
            else:
                x = self.norm(x + self.attention(x, layer), a)
                x = self.norm(x + self.mlp(x, layer), m)
        return self.norm(x, "final.norm") if self.final_norm else x

    def pool(self, x, ids):
        n = len(ids)
        w = np.arange(1, n + 1)[:, None]
        eot = [i for i, t in enumerate(ids) if t == self.spec.get("eot_id")]
        poolings = {
            "cls": lambda: x[0],
            "max": lambda: x.max(0),
            "mean": lambda: x.mean(0),
            "mean_sqrt": lambda: x.sum(0) / np.sqrt(n),
            "weighted_mean": lambda: (x * w).sum(0) / w.sum(),
            "last": lambda: x[-1],
            "eot": lambda: x[eot[0] if eot else -1],
        }
        return np.concatenate([f() for name, f in poolings.items() if name in self.pooling])

    def run(self, ids, types):
        if self.kind == "static":
            if len(ids) == 0:
                v = np.zeros(self.hidden)
            else:
                rows = ids
                if self.static_rows != self.vocabulary:
                    rows = token_rows(self.vocabulary, self.static_rows)[ids]
                x = self.source("token.weight", (self.static_rows, self.hidden))[rows]
                if self.token_weights:
                    x = x * self.source("token.scale", (self.vocabulary,))[ids][:, None]
                v = x.mean(0)
        elif len(ids) == 0:
            v = np.zeros(self.hidden * len(self.pooling))
        else:
            v = self.pool(self.hidden_states(ids, types), ids)
        for m, module in enumerate(self.modules):
            prefix = f"module.{m}"
            if module["kind"] == "dense":
                v = self.linear(v, prefix, module["out"], module.get("bias", False))
                v = ACTIVATIONS[module.get("activation", "identity")](v)
            elif module["kind"] == "norm":
                v = self.norm(v, prefix, module["epsilon"], module.get("bias", False))
            elif module["kind"] == "normalize":
                v = v / max(np.sqrt((v * v).sum()), 1e-12)
            else:
                v = v[: module["out"]]
        return v


def token_rows(vocabulary, rows):
    return ((uniform("token.row", vocabulary) + 1) / 2 * rows).astype(np.int64)


def token_ids(spec, text, n):
    u = (uniform(f"ids.{spec['family']}.{text}", n) + 1) / 2
    return (u * spec["vocabulary"]).astype(np.int64)


def token_types(spec, n):
    """the second half of a text has type 1, where there is one"""
    return (np.arange(n) >= (n + 1) // 2).astype(np.int64) * (spec.get("types", 0) > 1)


def base(family, **more):
    biases = dict.fromkeys(("norm_bias", "qkv_bias", "out_bias", "up_bias", "down_bias"), True)
    spec = dict(
        version=1, kind="transformer", family=family, vocabulary=101, hidden=48, layers=3, heads=4,
        head_dims=12, intermediate=80, activation="gelu", norm_epsilon=1e-5, max_tokens=200,
        pooling=["mean"], **biases,
    )
    spec.update(more)
    return {k: v for k, v in spec.items() if v is not False}


def normalize(dims):
    return {"kind": "normalize", "in": dims, "out": dims}


NONE = dict.fromkeys(("norm_bias", "qkv_bias", "out_bias", "up_bias", "down_bias"), False)

SPECS = [
    base("bert", positions=200, types=2, embedding_norm=True, modules=[normalize(48)]),
    base("roberta", positions=202, position_offset=2, types=1, embedding_norm=True,
         pooling=["cls"], hidden=64, heads=2, head_dims=32),
    base("distilbert", positions=200, embedding_norm=True, pooling=["cls", "max", "mean"]),
    base("mpnet", positions=202, position_offset=2, embedding_norm=True, relative_buckets=32,
         relative_distance=128, head_dims=16, heads=3),
    base("modernbert", norm_first=True, first_norm_absent=True, final_norm=True, gated=True,
         embedding_norm=True, qkv_fused=True, gate_up_fused=True, rotary_dims=16, heads=3,
         head_dims=16, rotary_base=160000.0, window_base=10000.0, window=20, global_every=3,
         layers=4, **NONE),
    base("nomicbert", types=2, embedding_norm=True, gated=True, qkv_fused=True, rotary_dims=20,
         heads=2, head_dims=20, rotary_base=1000.0, activation="silu", rotary_scaling=2.0,
         rotary_trained=64, modules=[dict(kind="norm", **{"in": 48, "out": 48}, epsilon=1e-5, bias=True),
                                     {"kind": "slice", "in": 48, "out": 32}, normalize(32)],
         **{**NONE, "norm_bias": True}),
    base("clip", positions=200, norm_first=True, final_norm=True, causal=True,
         activation="quick_gelu", pooling=["eot"], eot_id=100, qkv_fused=True,
         modules=[{"kind": "dense", "in": 48, "out": 24}, normalize(24)]),
    base("cross-encoder", positions=200, types=2, embedding_norm=True, pooling=["cls"], scores=True,
         activation="gelu_tanh",
         modules=[{"kind": "dense", "in": 48, "out": 48, "bias": True, "activation": "tanh"},
                  {"kind": "dense", "in": 48, "out": 1, "bias": True, "activation": "sigmoid"}]),
    base("other", positions=200, embedding_norm=True, rotary_dims=8, rotary_interleaved=True,
         rotary_base=10000.0, activation="relu", causal=True, window=7, global_every=2, gated=True,
         pooling=["mean_sqrt", "weighted_mean", "last"], hidden=52, head_dims=24, heads=5),
    dict(version=1, kind="static", family="model2vec", vocabulary=101, hidden=40, static_rows=30,
         token_weights=True, max_tokens=200, modules=[normalize(40)]),
]

LENGTHS = [1, 2, 7, 16, 17, 33, 70, 150]


def batch(spec, number):
    ids = token_ids(spec, number, LENGTHS[number])
    if number % 2 == 1 and spec.get("eot_id") is not None:
        ids[LENGTHS[number] // 2] = spec["eot_id"]
    return ids, token_types(spec, LENGTHS[number])


def main():
    print("/*\n * encoder_expected.h\n *\t\tMade by test/unit/tools/encoder_expected.py; do not edit.\n */")
    print("/* clang-format off */")
    print("static const unsigned encoder_lengths[] = {%s};\n" % ", ".join(map(str, LENGTHS)))
    for number, spec in enumerate(SPECS):
        model = Model(spec)
        results = [model.run(*batch(spec, t)) for t in range(len(LENGTHS))]
        dims = len(results[0])
        # of long vectors some components say enough
        shown = list(range(dims)) if dims <= 8 else [int(i) for i in np.linspace(0, dims - 1, 8)]
        print("static const double encoder_expected_%d[] = {" % number)
        for v in results:
            print("\t%s," % ", ".join("%.9g" % v[i] for i in shown))
        print("};\n")
    print("static const struct\n{\n\tconst char *spec;\n\tconst double *expected;\n} encoder_families[] = {")
    for number, spec in enumerate(SPECS):
        text = json.dumps(json.dumps(spec))
        print("\t{%s, encoder_expected_%d}," % (text, number))
    print("};\n/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
