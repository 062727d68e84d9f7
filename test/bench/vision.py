#!/usr/bin/env python3
"""Networks over pictures in PyTorch, to compare ours with: see test/bench/vision.

    vision.py make KIND DIR [DATA]   spec.json, weights, pixels (for vision_ours), wanted, and
                                     of cifar the labels; KIND: cifar, resnet18, resnet50, vit, clip
    vision.py time KIND DIR SECONDS AT_ONCE   PyTorch's pictures a second on one thread
    vision.py compare DIR LIMIT      exit status 1 when out differs from wanted by more than LIMIT

The architectures are written down here after their published definitions;
nothing is shared with src/.  Expectations are computed in float64.
"""

import gzip
import io
import json
import os
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)


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
            out[name] = torch.from_numpy(np.frombuffer(blob, dtype="<f4").reshape(entry["shape"]).copy())
        return out


# ---- residual networks: a program of steps over named results, and the description of the same ----


class ResNet:
    """depth as torchvision has it, or the form for CIFAR"""

    def __init__(self, depth, cifar=False, classes=0):
        self.cifar = cifar
        self.steps = []  # (kind, input, add, out, kernel, stride, padding, relu, file's name of conv and norm)
        self.layers = []
        bottleneck = depth >= 50 and not cifar
        if cifar:
            self.size, stem, blocks, widths = 32, 16, [(depth - 2) // 6] * 3, [16, 32, 64]
        else:
            self.size, stem = 224, 64
            blocks = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}[depth]
            widths = [w * (4 if bottleneck else 1) for w in (64, 128, 256, 512)]
        x = self.conv(0, 3, stem, 3 if cifar else 7, 1 if cifar else 2, "conv1", "bn1", True)
        if not cifar:
            x = self.add(dict(kind="max_pool", input=x, out=stem, kernel_height=3, kernel_width=3, stride=2, padding=1))
        channels = stem
        for s, (count, width) in enumerate(zip(blocks, widths)):
            for b in range(count):
                stride = 2 if b == 0 and s > 0 else 1
                name = f"layer{s + 1}.{b}."
                shortcut = x
                if stride > 1 or channels != width:
                    if cifar:
                        shortcut = self.add(dict(kind="shortcut", input=x, out=width, stride=stride))
                    else:
                        shortcut = self.conv(x, channels, width, 1, stride, name + "downsample.0", name + "downsample.1", False)
                if bottleneck:
                    inner = width // 4
                    y = self.conv(x, channels, inner, 1, 1, name + "conv1", name + "bn1", True)
                    y = self.conv(y, inner, inner, 3, stride, name + "conv2", name + "bn2", True)
                    x = self.conv(y, inner, width, 1, 1, name + "conv3", name + "bn3", True, shortcut)
                else:
                    y = self.conv(x, channels, width, 3, stride, name + "conv1", name + "bn1", True)
                    x = self.conv(y, width, width, 3, 1, name + "conv2", name + "bn2", True, shortcut)
                channels = width
        self.add(dict(kind="global_average", input=x, out=channels))
        self.channels = channels
        self.classes = classes

    def add(self, layer, names=None):
        self.layers.append(layer)
        self.steps.append(names)
        return len(self.layers)

    def conv(self, x, ins, out, kernel, stride, name, norm, relu, add=0):
        layer = dict(kind="conv", input=x, out=out, kernel_height=kernel, kernel_width=kernel, stride=stride,
                     padding=kernel // 2, norm=True, epsilon=1e-5, add=add, activation="relu" if relu else "identity")
        return self.add(layer, (name, norm, (out, ins, kernel, kernel)))

    def random(self, generator):
        w = {}
        for step in self.steps:
            if step is None:
                continue
            name, norm, shape = step
            w[name + ".weight"] = torch.randn(shape, generator=generator) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
            n = shape[0]
            last = norm.endswith("bn3") or norm.endswith("bn2")
            w[norm + ".weight"] = torch.rand(n, generator=generator) * 0.5 + (0.2 if last else 0.75)
            w[norm + ".bias"] = torch.randn(n, generator=generator) * 0.1
            w[norm + ".running_mean"] = torch.randn(n, generator=generator) * 0.1
            w[norm + ".running_var"] = torch.rand(n, generator=generator) + 0.5
        if self.classes:
            w["fc.weight"] = torch.randn(self.classes, self.channels, generator=generator) / self.channels ** 0.5
            w["fc.bias"] = torch.randn(self.classes, generator=generator) * 0.1
        return w

    def spec(self):
        # zeros are not written
        layers = [{k: v for k, v in layer.items() if v not in (0, False, "identity")} for layer in self.layers]
        spec = dict(version=1, family="resnet", kind="conv", height=self.size, width=self.size, channels=3, layers=layers)
        if self.classes:
            spec["modules"] = [dict(kind="dense", **{"in": self.channels}, out=self.classes, bias=True)]
        return spec

    def tensors(self, w):
        out = []
        for step in self.steps:
            if step is not None:
                name, norm, _ = step
                out += [w[name + ".weight"]] + [w[norm + "." + k] for k in ("weight", "bias", "running_mean", "running_var")]
        fc = "linear" if self.cifar else "fc"
        if self.classes:
            out += [w[fc + ".weight"], w[fc + ".bias"]]
        return out

    def run(self, w, x):
        results = [x]
        for layer, step in zip(self.layers, self.steps):
            y = results[layer["input"]]
            if layer["kind"] == "conv":
                name, norm, _ = step
                y = F.conv2d(y, w[name + ".weight"], stride=layer["stride"], padding=layer["padding"])
                y = F.batch_norm(y, w[norm + ".running_mean"], w[norm + ".running_var"], w[norm + ".weight"], w[norm + ".bias"], eps=1e-5)
                if layer["add"]:
                    y = y + results[layer["add"]]
                if layer["activation"] == "relu":
                    y = F.relu(y)
            elif layer["kind"] == "max_pool":
                y = F.max_pool2d(y, 3, 2, 1)
            elif layer["kind"] == "shortcut":
                pad = (layer["out"] - y.shape[1]) // 2
                y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, pad, layer["out"] - y.shape[1] - pad))
            else:
                y = y.mean((2, 3))
            results.append(y)
        if self.classes:
            fc = "linear" if self.cifar else "fc"
            return F.linear(results[-1], w[fc + ".weight"], w[fc + ".bias"])
        return results[-1]

    def layers_of(self, w):
        """the same with batch norm folded, channels last: what someone who wants speed would run"""
        folded = {}
        for step in self.steps:
            if step is not None:
                name, norm, _ = step
                g = w[norm + ".weight"] / torch.sqrt(w[norm + ".running_var"] + 1e-5)
                folded[name] = ((w[name + ".weight"] * g.view(-1, 1, 1, 1)).contiguous(memory_format=torch.channels_last),
                                w[norm + ".bias"] - w[norm + ".running_mean"] * g)
        return folded

    def run_folded(self, w, folded, x):
        results = [x.contiguous(memory_format=torch.channels_last)]
        for layer, step in zip(self.layers, self.steps):
            y = results[layer["input"]]
            if layer["kind"] == "conv":
                y = F.conv2d(y, *folded[step[0]], stride=layer["stride"], padding=layer["padding"])
                if layer["add"]:
                    y += results[layer["add"]]
                if layer["activation"] == "relu":
                    y = F.relu_(y)
            elif layer["kind"] == "max_pool":
                y = F.max_pool2d(y, 3, 2, 1)
            elif layer["kind"] == "shortcut":
                pad = (layer["out"] - y.shape[1]) // 2
                y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, pad, layer["out"] - y.shape[1] - pad))
            else:
                y = y.mean((2, 3))
            results.append(y)
        return results[-1]


# ---- vision transformers ----


class ViT:
    def __init__(self, size, patch, hidden, layers, heads, inner, clip, out=0):
        self.size, self.patch, self.hidden, self.layers, self.heads, self.inner = size, patch, hidden, layers, heads, inner
        self.clip, self.out, self.classes = clip, out, 0
        self.tokens = (size // patch) ** 2 + 1

    def shapes(self):
        h, i = self.hidden, self.inner
        shapes = {"patch.weight": (h, 3 * self.patch ** 2)}
        if not self.clip:
            shapes["patch.bias"] = (h,)
        shapes["class.weight"] = (h,)
        shapes["position.weight"] = (self.tokens, h)
        if self.clip:
            shapes["embedding.norm.weight"] = shapes["embedding.norm.bias"] = (h,)
        for layer in range(self.layers):
            for name, shape in (("attention.norm", (h,)), ("attention.query", (h, h)), ("attention.key", (h, h)),
                                ("attention.value", (h, h)), ("attention.out", (h, h)), ("mlp.norm", (h,)),
                                ("mlp.up", (i, h)), ("mlp.down", (h, i))):
                shapes[f"layer.{layer}.{name}.weight"] = shape
                shapes[f"layer.{layer}.{name}.bias"] = shape[:1]
        shapes["final.norm.weight"] = shapes["final.norm.bias"] = (h,)
        if self.out:
            shapes["module.0.weight"] = (self.out, h)
        return shapes

    def random(self, generator):
        w = {}
        for name, shape in self.shapes().items():
            x = torch.randn(shape, generator=generator)
            w[name] = 1 + 0.1 * x if name.endswith("norm.weight") else 0.1 * x if len(shape) == 1 else x / shape[1] ** 0.5
        return w

    def spec(self):
        t = dict(version=1, family="vit", kind="patches", patch_dims=3 * self.patch ** 2, patch_bias=not self.clip, class_token=True,
                 hidden=self.hidden, positions=self.tokens, embedding_norm=self.clip, layers=self.layers, heads=self.heads,
                 head_dims=self.hidden // self.heads, intermediate=self.inner, activation="quick_gelu" if self.clip else "gelu",
                 norm_first=True, final_norm=True, norm_epsilon=1e-5 if self.clip else 1e-12, norm_bias=True, qkv_bias=True,
                 out_bias=True, up_bias=True, down_bias=True, max_tokens=self.tokens, pooling=["cls"])
        modules = [dict(kind="dense", **{"in": self.hidden}, out=self.out)] if self.out else []
        modules.append(dict(kind="normalize", **{"in": self.out or self.hidden}, out=self.out or self.hidden))
        t["modules"] = modules
        return dict(version=1, family="vit", kind="vit", height=self.size, width=self.size, channels=3, patch=self.patch, transformer=t)

    def tensors(self, w):
        return [w[name] for name in self.shapes()]

    def run(self, w, x):
        eps = 1e-5 if self.clip else 1e-12
        h, p = self.hidden, self.patch
        norm = lambda x, name: F.layer_norm(x, (h,), w[name + ".weight"], w[name + ".bias"], eps)
        linear = lambda x, name: F.linear(x, w[name + ".weight"], w[name + ".bias"])
        x = F.conv2d(x, w["patch.weight"].view(h, 3, p, p), w.get("patch.bias"), stride=p).flatten(2).transpose(1, 2)
        n = x.shape[0]
        x = torch.cat([w["class.weight"].expand(n, 1, h), x], 1) + w["position.weight"]
        if self.clip:
            x = norm(x, "embedding.norm")
        for layer in range(self.layers):
            name = f"layer.{layer}."
            y = norm(x, name + "attention.norm")
            q, k, v = (linear(y, name + "attention." + part).view(n, -1, self.heads, h // self.heads).transpose(1, 2)
                       for part in ("query", "key", "value"))
            a = torch.softmax(q @ k.transpose(2, 3) / (h // self.heads) ** 0.5, -1) @ v
            x = x + linear(a.transpose(1, 2).reshape(n, -1, h), name + "attention.out")
            y = linear(norm(x, name + "mlp.norm"), name + "mlp.up")
            y = y * torch.sigmoid(1.702 * y) if self.clip else F.gelu(y)
            x = x + linear(y, name + "mlp.down")
        x = norm(x, "final.norm")[:, 0]
        if self.out:
            x = F.linear(x, w["module.0.weight"])
        return F.normalize(x)


def network(kind):
    if kind == "cifar":
        return ResNet(20, cifar=True)
    if kind.startswith("resnet"):
        return ResNet(int(kind[6:]))
    if kind == "vit":
        return ViT(224, 16, 192, 12, 3, 768, False)  # DeiT-tiny's shape
    return ViT(224, 32, 768, 12, 12, 3072, True, 512)  # CLIP's ViT-B/32


def cifar_pixels(data):
    from PIL import Image
    labels, pixels = [], []
    with gzip.open(os.path.join(data, "test-images.tsv.gz"), "rt") as f:
        for line in f:
            label, _, text = line.rstrip("\n").split("\t")
            labels.append(int(label))
            pixels.append(np.asarray(Image.open(io.BytesIO(bytes.fromhex(text.lstrip("\\")[1:]))).convert("RGB")))
    x = np.stack(pixels).astype(np.float32) / 255
    return labels, (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def read(directory, name):
    return np.fromfile(os.path.join(directory, name), dtype=np.float32)


def load(kind, directory):
    net = network(kind)
    if kind == "cifar":
        w = torch.load(os.path.join(directory, "weights.pt"))
    else:
        w = net.random(torch.Generator().manual_seed(1))
    pixels = read(directory, "pixels").reshape(-1, net.size, net.size, 3)
    return net, w, torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def make(kind, directory, data=None):
    os.makedirs(directory, exist_ok=True)
    net = network(kind)
    if kind == "cifar":
        w = load_tensors(os.path.join(data, "resnet20.safetensors"))
        torch.save(w, os.path.join(directory, "weights.pt"))
        labels, pixels = cifar_pixels(data)
        json.dump(labels, open(os.path.join(directory, "labels"), "w"))
    else:
        w = net.random(torch.Generator().manual_seed(1))
        pixels = np.random.RandomState(2).standard_normal((4, net.size, net.size, 3)).astype(np.float32)
    json.dump(net.spec(), open(os.path.join(directory, "spec.json"), "w"))
    np.concatenate([t.numpy().ravel() for t in net.tensors(w)]).astype(np.float32).tofile(os.path.join(directory, "weights"))
    pixels.astype(np.float32).tofile(os.path.join(directory, "pixels"))
    double = {name: t.double() for name, t in w.items()}
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        # double precision takes minutes for thousands of pictures
        out = [net.run(double, part.double()) for part in x[:200].split(100)]
        out = torch.cat(out + [net.run(w, part).double() for part in x[200:].split(100) if len(part)])
    out.float().numpy().tofile(os.path.join(directory, "wanted"))
    if kind == "cifar":
        scores = out @ double["linear.weight"].T + double["linear.bias"]
        top = (scores.argmax(1).numpy() == np.array(labels)).mean()
        print(f"PyTorch top-1 {100 * top:.2f} %")


def rate(kind, directory, seconds, at_once):
    net, w, x = load(kind, directory)
    x = x[: at_once * 8]
    folded = net.layers_of(w) if isinstance(net, ResNet) else None
    best = {}
    with torch.no_grad():
        for way in ("plain", "folded"):
            if way == "folded" and folded is None:
                continue
            times, begin, at = [], time.monotonic(), 0
            while len(times) < 5 or time.monotonic() - begin < seconds:
                part = x[at : at + at_once]
                at = at + at_once if at + 2 * at_once <= len(x) else 0
                before = time.process_time()
                out = net.run(w, part) if way == "plain" else net.run_folded(w, folded, part)
                times.append(time.process_time() - before)
            best[way] = len(part) / sorted(times)[len(times) // 2]
    print(" ".join(f"{best[way]:.2f} {way}" for way in best))


def compare(directory, limit):
    a, b = read(directory, "out").astype(np.float64), read(directory, "wanted").astype(np.float64)
    off = np.abs(a - b).max() if a.shape == b.shape else np.inf
    print(f"largest difference {off:.2e} of values up to {np.abs(b).max():.3f}")
    if os.path.exists(os.path.join(directory, "labels")):
        w = torch.load(os.path.join(directory, "weights.pt"))
        labels = np.array(json.load(open(os.path.join(directory, "labels"))))
        scores = a.reshape(len(labels), -1) @ w["linear.weight"].double().numpy().T + w["linear.bias"].double().numpy()
        print(f"top-1 {100 * (scores.argmax(1) == labels).mean():.2f} %")
    return int(not off <= limit)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(*rest)
    elif command == "time":
        rate(rest[0], rest[1], float(rest[2]), int(rest[3]))
    else:
        sys.exit(compare(rest[0], float(rest[1])))
