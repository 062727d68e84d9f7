#!/usr/bin/env python3
"""What networks over pictures must compute: test/unit/image_expected.h.

    test/unit/tools/image_expected.py >test/unit/image_expected.h

In float64 (numpy), as encoder_expected.py: written after the description in
image_spec.h and sharing nothing with src/nn; weights and pixels are made from
their names.  test/bench/vision compares whole networks with PyTorch too.
"""

import json
import sys

import numpy as np

from encoder_expected import ACTIVATIONS, Model, tensor, uniform

PICTURES = 3


def value(name, shape):
    if name.endswith("norm.var"):
        return (1 + uniform(name, int(np.prod(shape))) / 2).astype(np.float32).astype(np.float64).reshape(shape)
    return tensor(name, shape)


def windows(x, height, width, stride):
    """[rows, columns, channels] to [rows, columns, height, width, channels]"""
    rows = (x.shape[0] - height) // stride + 1
    columns = (x.shape[1] - width) // stride + 1
    return np.array([[x[r * stride : r * stride + height, c * stride : c * stride + width] for c in range(columns)]
                     for r in range(rows)])


def convolve(layer, number, x):
    p = layer.get("padding", 0)
    name = f"layer.{number}."
    kernel = layer["kernel_height"], layer["kernel_width"]
    weight = value(name + "weight", (layer["out"], x.shape[2], *kernel))
    x = np.pad(x, ((p, p), (p, p), (0, 0)))
    y = np.einsum("rchwi,oihw->rco", windows(x, *kernel, layer["stride"]), weight)
    if layer.get("bias"):
        y = y + value(name + "bias", (layer["out"],))
    if layer.get("norm"):
        mean, var, w, b = (value(name + "norm." + part, (layer["out"],)) for part in ("mean", "var", "weight", "bias"))
        y = (y - mean) / np.sqrt(var + layer["epsilon"]) * w + b
    return y


def run_conv(spec, x):
    results = [x]
    for number, layer in enumerate(spec["layers"]):
        x = results[layer.get("input", 0)]
        if layer["kind"] == "conv":
            y = convolve(layer, number, x)
            if layer.get("add"):
                y = y + results[layer["add"]]
            y = ACTIVATIONS[layer.get("activation", "identity")](y)
        elif layer["kind"] == "max_pool":
            p = layer.get("padding", 0)
            x = np.pad(x, ((p, p), (p, p), (0, 0)), constant_values=-np.inf)
            y = windows(x, layer["kernel_height"], layer["kernel_width"], layer["stride"]).max((2, 3))
        elif layer["kind"] == "average_pool":
            y = windows(x, layer["kernel_height"], layer["kernel_width"], layer["stride"]).mean((2, 3))
        elif layer["kind"] == "shortcut":
            x = x[:: layer["stride"], :: layer["stride"]]
            before = (layer["out"] - x.shape[2]) // 2
            y = np.pad(x, ((0, 0), (0, 0), (before, layer["out"] - x.shape[2] - before)))
        else:
            y = x.mean((0, 1), keepdims=True)
        results.append(y)
    v = results[-1].reshape(-1)
    model = Model(dict(norm_epsilon=0), source=value)
    for m, module in enumerate(spec.get("modules", [])):
        if module["kind"] == "dense":
            v = model.linear(v, f"module.{m}", module["out"], module.get("bias", False))
            v = ACTIVATIONS[module.get("activation", "identity")](v)
        elif module["kind"] == "normalize":
            v = v / np.sqrt((v * v).sum())
    return v


class Patches(Model):
    """The transformer of encoder_expected.py behind another beginning"""

    def __init__(self, spec, patches):
        super().__init__({"patch_bias": False, "class_token": False, "pool_skip": 0, **spec})
        self.patches = patches

    def hidden_states(self, ids, types):
        h = self.hidden
        x = self.linear(self.patches, "patch", h, self.patch_bias)
        if self.class_token:
            x = np.concatenate([value("class.weight", (1, h)), x])
        if self.positions:
            x = x + value("position.weight", (self.positions, h))[self.position_offset :][: len(x)]
        if self.embedding_norm:
            x = self.norm(x, "embedding.norm")
        for layer in range(self.layers):
            a, m = f"layer.{layer}.attention.norm", f"layer.{layer}.mlp.norm"
            x = x + self.attention(self.norm(x, a), layer)
            x = x + self.mlp(self.norm(x, m), layer)
        return self.norm(x, "final.norm") if self.final_norm else x

    def pool(self, x, ids):
        return x[0] if self.pooling == ["cls"] else x[self.pool_skip :].mean(0)


def run_vit(spec, x):
    p = spec["patch"]
    patches = [x[r : r + p, c : c + p].transpose(2, 0, 1).reshape(-1)
               for r in range(0, spec["height"], p) for c in range(0, spec["width"], p)]
    return Patches(spec["transformer"], np.array(patches)).run([0], None)


def conv(out, kernel, stride=1, padding=0, **more):
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    layer = dict(kind="conv", out=out, kernel_height=height, kernel_width=width, stride=stride, padding=padding)
    if more.pop("norm", True):
        layer.update(norm=True, epsilon=1e-5)
    layer.update(more)
    return {k: v for k, v in layer.items() if v != 0}


def pool(kind, out, kernel, stride, padding=0, **more):
    layer = dict(kind=kind, out=out, kernel_height=kernel, kernel_width=kernel, stride=stride, **more)
    return {**layer, "padding": padding} if padding else layer


def transformer(tokens, patch_dims, **more):
    flags = dict.fromkeys(("norm_bias", "qkv_bias", "out_bias", "up_bias", "down_bias", "norm_first"), True)
    return dict(version=1, family="vit", kind="patches", patch_dims=patch_dims, hidden=48, layers=2, heads=4, head_dims=12,
                intermediate=80, activation="gelu", norm_epsilon=1e-5, max_tokens=tokens, positions=tokens, **flags, **more)


RELU = dict(activation="relu")
SPECS = [
    # the form for CIFAR: a shortcut without weights
    dict(version=1, family="small", kind="conv", height=12, width=10, channels=3, layers=[
        conv(16, 3, 1, 1, **RELU),
        conv(16, 3, 1, 1, input=1, **RELU), conv(16, 3, 1, 1, input=2, add=1, **RELU),
        dict(kind="shortcut", input=3, out=24, stride=2),
        conv(24, 3, 2, 1, input=3, **RELU), conv(24, 3, 1, 1, input=5, add=4, **RELU),
        dict(kind="global_average", input=6, out=24)],
        modules=[{"kind": "dense", "in": 24, "out": 10, "bias": True}]),
    # that of ImageNet: 7 x 7, pooling, blocks of three
    dict(version=1, family="bottleneck", kind="conv", height=33, width=40, channels=3, layers=[
        conv(20, 7, 2, 3, **RELU), pool("max_pool", 20, 3, 2, 1, input=1),
        conv(64, 1, 1, input=2),
        conv(16, 1, 1, input=2, **RELU), conv(16, 3, 1, 1, input=4, **RELU), conv(64, 1, input=5, add=3, **RELU),
        conv(80, 1, 2, input=6),
        conv(20, 1, 1, input=6, **RELU), conv(20, 3, 2, 1, input=8, **RELU), conv(80, 1, input=9, add=7, **RELU),
        dict(kind="global_average", input=10, out=80)],
        modules=[{"kind": "normalize", "in": 80, "out": 80}]),
    # what has its own: other windows, channels and activations, a bias, no norm, average pooling
    dict(version=1, family="other", kind="conv", height=17, width=23, channels=5, layers=[
        conv(7, (3, 5), 1, 2, bias=True, norm=False, activation="gelu"), pool("average_pool", 7, 2, 2, input=1),
        conv(40, (1, 3), 1, input=2, bias=True, activation="silu"), pool("max_pool", 40, 2, 1, input=3),
        conv(33, 3, 3, 2, input=4, norm=False, activation="sigmoid"),
        conv(16, 2, 1, 1, input=5, activation="tanh"),
        pool("average_pool", 16, 4, 4, input=6)]),
    # wide enough for positions a page apart
    dict(version=1, family="wide", kind="conv", height=3, width=3, channels=64, layers=[
        conv(1024, 1, norm=False, **RELU), conv(64, 3, 1, 1, input=1, norm=False), dict(kind="global_average", input=2, out=64)]),
    dict(version=1, family="vit", kind="vit", height=16, width=24, channels=3, patch=4,
         transformer=transformer(25, 48, patch_bias=True, class_token=True, final_norm=True, pooling=["cls"])),
    dict(version=1, family="clip", kind="vit", height=35, width=35, channels=3, patch=7,
         transformer={**transformer(26, 147, class_token=True, embedding_norm=True, final_norm=True, pooling=["cls"],
                                    qkv_fused=True, modules=[{"kind": "dense", "in": 48, "out": 20}, {"kind": "normalize", "in": 20, "out": 20}]),
                      "activation": "quick_gelu"}),
    dict(version=1, family="average", kind="vit", height=8, width=8, channels=1, patch=2,
         transformer=transformer(17, 4, class_token=True, pooling=["mean"], pool_skip=1,
                                 modules=[dict(kind="norm", **{"in": 48, "out": 48}, epsilon=1e-5, bias=True)])),
    # no class token; more pictures than go through at once
    dict(version=1, family="plain", kind="vit", height=40, width=40, channels=3, patch=4,
         transformer=transformer(100, 48, patch_bias=True, pooling=["mean"])),
]


def main():
    print("/*\n * image_expected.h\n *\t\tMade by test/unit/tools/image_expected.py; do not edit.\n */")
    print("/* clang-format off */")
    for number, spec in enumerate(SPECS):
        print("static const double image_expected_%d[] = {" % number)
        for p in range(PICTURES):
            shape = (spec["height"], spec["width"], spec["channels"])
            x = 2 * uniform(f"picture.{p}", int(np.prod(shape))).astype(np.float32).astype(np.float64).reshape(shape)
            v = (run_conv if spec["kind"] == "conv" else run_vit)(spec, x)
            dims = len(v)
            shown = range(dims) if dims <= 8 else [int(i) for i in np.linspace(0, dims - 1, 8)]
            print("\t%s," % ", ".join("%.9g" % v[i] for i in shown))
        print("};\n")
    print("static const struct\n{\n\tconst char *spec;\n\tconst double *expected;\n} image_families[] = {")
    for number, spec in enumerate(SPECS):
        print("\t{%s, image_expected_%d}," % (json.dumps(json.dumps(spec)), number))
    print("};\n/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
