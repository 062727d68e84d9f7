"""Training over pictures beside PyTorch, one thread.

    training_images.py steps OURS DIR      ten steps from the same weights and batches
    training_images.py speed OURS ROUNDS   the time of a step, taken in turns

OURS is build/bench/training_images_ours.  Needs torch and numpy (Debian: python3-torch).
"""
import resource
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)

PAIRS, HIGH, WIDE, STEPS, SHARDS = 32, 24, 20, 10, 4
EPSILON, MOMENTUM = 1e-5, 0.1
CONVS = {0: (16, 3, 5), 1: (16, 16, 3), 2: (16, 16, 3), 4: (24, 16, 3), 6: (24, 24, 1)}


def parameters(norm):
    """Names and shapes in the order of src/nn/image_spec.c"""
    for layer, (outs, ins, kernel) in CONVS.items():
        yield f"layer.{layer}.weight", (outs, ins, kernel, kernel)
        if not norm:
            yield f"layer.{layer}.bias", (outs,)
            continue
        for part in "weight", "bias", "mean", "var":
            yield f"layer.{layer}.norm.{part}", (outs,)
    yield "module.0.weight", (7, 24)
    yield "module.0.bias", (7,)


def transformer_parameters(clip, high, wide, patch, hidden, layers, outs):
    """... of a vision transformer; clip: as CLIP has it"""
    yield "patch.weight", (hidden, 3 * patch * patch)
    if not clip:
        yield "patch.bias", (hidden,)
    yield "class.weight", (hidden,)
    yield "position.weight", (1 + high // patch * (wide // patch), hidden)

    def norm(name):
        for part in "weight", "bias":
            yield f"{name}.{part}", (hidden,)

    def linear(name, out, ins):
        yield f"{name}.weight", (out, ins)
        yield f"{name}.bias", (out,)

    if clip:
        yield from norm("embedding.norm")
    for layer in range(layers):
        at = f"layer.{layer}."
        yield from norm(at + "attention.norm")
        yield from linear(at + "attention.qkv", 3 * hidden, hidden)
        yield from linear(at + "attention.out", hidden, hidden)
        yield from norm(at + "mlp.norm")
        yield from linear(at + "mlp.up", 4 * hidden, hidden)
        yield from linear(at + "mlp.down", hidden, 4 * hidden)
    yield from norm("final.norm")
    yield "module.0.weight", (outs, hidden)
    if not clip:
        yield "module.0.bias", (outs,)


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ (k / k.shape[-1] ** 0.5).transpose(-1, -2), -1) @ v


def transformer(p, x, patch, heads, layers):
    """What it makes of pictures x [n, 3, height, width]"""
    n, hidden = len(x), len(p["class.weight"])

    def norm(name, v):
        return F.layer_norm(v, (hidden,), p[name + ".weight"], p[name + ".bias"], EPSILON)

    def linear(name, v):
        return F.linear(v, p[name + ".weight"], p.get(name + ".bias"))

    x = F.conv2d(x, p["patch.weight"].view(hidden, 3, patch, patch), p.get("patch.bias"), patch).flatten(2).transpose(1, 2)
    x = torch.cat([p["class.weight"].expand(n, 1, hidden), x], 1) + p["position.weight"]
    clip = "embedding.norm.weight" in p
    if clip:
        x = norm("embedding.norm", x)
    for layer in range(layers):
        at = f"layer.{layer}."
        q, k, v = linear(at + "attention.qkv", norm(at + "attention.norm", x)).view(n, -1, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        x = x + linear(at + "attention.out", attention(q, k, v).transpose(1, 2).reshape(x.shape))
        up = linear(at + "mlp.up", norm(at + "mlp.norm", x))
        x = x + linear(at + "mlp.down", up * torch.sigmoid(1.702 * up) if clip else F.gelu(up))
    return linear("module.0", norm("final.norm", x)[:, 0])


def network(p, x, norm, moments):
    """Logits of one shard's pictures x [n, 3, height, width]"""
    def conv(layer, v, stride=1, added=None):
        at = f"layer.{layer}."
        w = p[at + "weight"]
        v = F.conv2d(v, w, p.get(at + "bias"), stride, w.shape[-1] // 2)
        if norm:
            with torch.no_grad():
                moments.setdefault(at, []).append((v.mean((0, 2, 3)), v.var((0, 2, 3))))
            v = F.batch_norm(v, None, None, p[at + "norm.weight"], p[at + "norm.bias"], True, 0.0, EPSILON)
        return F.relu(v if added is None else v + added)

    one = conv(0, x, 2)
    x = F.max_pool2d(conv(2, conv(1, one), added=one), 3, 2, 1)
    short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
    x = F.avg_pool2d(conv(6, conv(4, x, 2), added=short), 2, 2)
    return F.linear(x.mean((2, 3)), p["module.0.weight"], p["module.0.bias"])


def run_steps(ours, folder, variant):
    norm, vit, clip = variant == 0, variant > 1, variant == 3
    name = ("vision transformer" + (" of CLIP" if clip else "") if vit
            else f"residual network {'with batch norm' if norm else 'without norm'}")
    shapes = transformer_parameters(clip, HIGH, WIDE, 4, 32, 2, 7) if vit else parameters(norm)
    rng = np.random.default_rng(variant)
    path = f"{folder}/images{variant}"
    p, learned = {}, []
    with open(path, "wb") as file:
        for part, shape in shapes:
            value = rng.standard_normal(shape).astype(np.float32) * np.float32(0.1)
            if part.endswith(("norm.weight", "norm.var")):
                value = np.abs(value) + np.float32(1)
            file.write(value.tobytes())
            p[part] = torch.from_numpy(value.copy())
            if not part.endswith(("norm.mean", "norm.var")):
                learned.append(p[part].requires_grad_())
        optimizer = torch.optim.Adam(learned, lr=1e-3, eps=1e-6)
        losses = []
        for _ in range(STEPS):
            pixels = rng.integers(0, 256, (PAIRS, HIGH, WIDE, 3)).astype(np.float32)
            labels = rng.integers(0, 7, PAIRS)
            file.write(pixels.tobytes() + labels.astype(np.float32).tobytes())
            x = ((torch.from_numpy(pixels) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
            moments = {}
            optimizer.zero_grad()
            # a shard's batch norm sees its own pictures
            out = transformer(p, x, 4, 2, 2) if vit else torch.cat([network(p, part, norm, moments) for part in x.chunk(SHARDS)])
            loss = F.cross_entropy(out, torch.from_numpy(labels))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            losses.append(loss.item())
            for at, seen in moments.items():
                for k, part in enumerate(("mean", "var")):
                    p[f"{at}norm.{part}"].lerp_(torch.stack([m[k] for m in seen]).mean(0), MOMENTUM)
    printed = subprocess.run([ours, "steps", str(variant), path], check=True, capture_output=True, text=True).stdout.split("\n")
    off = max(abs(a - float(b)) for a, b in zip(losses, printed))
    got = np.fromfile(path + ".out", np.float32)
    worst, at = (0.0, ""), 0
    for part, value in p.items():
        n = value.numel()
        worst = max(worst, (float(np.abs(got[at:at + n] - value.detach().numpy().ravel()).max()), part))
        at += n
    assert at == len(got)
    good = worst[0] < 1e-4 and off < 1e-4
    print(f"| {name}, classes, Adam | {losses[0]:.4f} to {losses[-1]:.4f} "
          f"| {off:.1e} | {worst[0]:.1e} ({worst[1]}) | {'ok' if good else 'NOT WITHIN 1e-4'} |", flush=True)
    return good


def steps(ours, folder):
    print("| architecture | loss | losses differ by | parameters differ by | |\n|---|---|---|---|---|", flush=True)
    return all([run_steps(ours, folder, variant) for variant in (0, 1, 2, 3)])


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Six(torch.nn.Module):
    """Six 3 x 3 convolutions, 24 to 160 channels, 2 x 2 average pooling, 128 out"""

    def __init__(self):
        super().__init__()
        c = [3, 24, 48, 64, 96, 128, 160]
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=1) for a, b in zip(c, c[1:]))
        self.out = torch.nn.Linear(160, 128)

    def forward(self, x):
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if i in (0, 1, 3):
                x = F.avg_pool2d(x, 2)
        return F.normalize(self.out(x.mean((2, 3))))


def torch_six(pairs, channels_last, count):
    table = torch.nn.EmbeddingBag(5000, 128, mode="mean")
    dense = torch.nn.Linear(128, 128)
    tower = Six()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    tower = tower.to(memory_format=layout)
    optimizer = torch.optim.Adam([*table.parameters(), *dense.parameters(), *tower.parameters()], lr=2e-3)
    pixels = torch.randint(0, 256, (pairs, 80, 60, 3), dtype=torch.uint8)
    offsets = torch.arange(0, pairs * 12, 12)
    times = []
    for _ in range(count + 1):
        ids = torch.randint(0, 5000, (pairs * 12,))
        start = processor_seconds()
        optimizer.zero_grad()
        x = ((pixels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        q = F.normalize(dense(table(ids, offsets)))
        F.cross_entropy(q @ tower(x).T / 0.05, torch.arange(pairs)).backward()
        optimizer.step()
        times.append(processor_seconds() - start)
    return min(times[1:])


def torch_vit(pairs, count):
    """14 x 14 patches of 16 x 16, six layers of width 192, 128 out, beside a bag"""
    table = torch.nn.EmbeddingBag(5000, 128, mode="mean")
    dense = torch.nn.Linear(128, 128)
    p = {name: (torch.ones(shape) if name.endswith("norm.weight") else 0.02 * torch.randn(shape)).requires_grad_()
         for name, shape in transformer_parameters(False, 224, 224, 16, 192, 6, 128)}
    optimizer = torch.optim.Adam([*table.parameters(), *dense.parameters(), *p.values()], lr=2e-3)
    pixels = torch.randint(0, 256, (pairs, 224, 224, 3), dtype=torch.uint8)
    offsets = torch.arange(0, pairs * 12, 12)
    times = []
    for _ in range(count + 1):
        ids = torch.randint(0, 5000, (pairs * 12,))
        start = processor_seconds()
        optimizer.zero_grad()
        x = ((pixels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
        q = F.normalize(dense(table(ids, offsets)))
        F.cross_entropy(q @ F.normalize(transformer(p, x, 16, 3, 6)).T / 0.05, torch.arange(pairs)).backward()
        optimizer.step()
        times.append(processor_seconds() - start)
    return min(times[1:])


def speed(ours, rounds):
    print("Fastest step of processor time, one thread; in turns, so that both meet the same machine.")
    print("| six convolutions, 80 x 60, 128 pairs | pairs a second |\n|---|---|")
    theirs, last, own, shared = [], [], [], []
    for _ in range(rounds):
        theirs.append(torch_six(128, False, 2))
        last.append(torch_six(128, True, 2))
        for out, repeated in (own, 1), (shared, 3):
            out.append(float(subprocess.run([ours, "speed", "2", "128", str(repeated)], check=True, capture_output=True,
                                            text=True).stdout))
    for name, times in (("PyTorch", theirs), ("PyTorch, channels last", last), ("here", own),
                        ("here, three pairs with each picture", shared)):
        print(f"| {name} | {128 / min(times):.0f} |")
    print(f"| ratio to the better of PyTorch's | {min(theirs + last) / min(own):.2f}; with three pairs "
          f"{min(theirs + last) / min(shared):.2f} |", flush=True)
    theirs, own = [], []
    for _ in range(rounds):
        theirs.append(torch_vit(32, 2))
        own.append(float(subprocess.run([ours, "vit", "2", "32"], check=True, capture_output=True, text=True).stdout))
    print("\n| vision transformer, 196 patches, 6 layers of 192, 32 pairs | pairs a second |\n|---|---|")
    print(f"| PyTorch | {32 / min(theirs):.1f} |\n| here | {32 / min(own):.1f} |\n| ratio | {min(theirs) / min(own):.2f} |", flush=True)
    return True


if __name__ == "__main__":
    done = steps(sys.argv[2], sys.argv[3]) if sys.argv[1] == "steps" else speed(sys.argv[2], int(sys.argv[3]))
    sys.exit(0 if done else 1)
