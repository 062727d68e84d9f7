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
    norm = variant == 0
    rng = np.random.default_rng(variant)
    path = f"{folder}/images{variant}"
    p, learned = {}, []
    with open(path, "wb") as file:
        for name, shape in parameters(norm):
            value = rng.standard_normal(shape).astype(np.float32) * np.float32(0.1)
            if name.endswith(("norm.weight", "norm.var")):
                value = np.abs(value) + np.float32(1)
            file.write(value.tobytes())
            p[name] = torch.from_numpy(value.copy())
            if not name.endswith(("norm.mean", "norm.var")):
                learned.append(p[name].requires_grad_())
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
            out = torch.cat([network(p, part, norm, moments) for part in x.chunk(SHARDS)])
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
    for name, value in p.items():
        n = value.numel()
        worst = max(worst, (float(np.abs(got[at:at + n] - value.detach().numpy().ravel()).max()), name))
        at += n
    assert at == len(got)
    good = worst[0] < 1e-4 and off < 1e-4
    print(f"| residual network {'with batch norm' if norm else 'without norm'}, classes, Adam | {losses[0]:.4f} to {losses[-1]:.4f} "
          f"| {off:.1e} | {worst[0]:.1e} ({worst[1]}) | {'ok' if good else 'NOT WITHIN 1e-4'} |", flush=True)
    return good


def steps(ours, folder):
    print("| architecture | loss | losses differ by | parameters differ by | |\n|---|---|---|---|---|", flush=True)
    return all([run_steps(ours, folder, variant) for variant in (0, 1)])


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
    return True


if __name__ == "__main__":
    done = steps(sys.argv[2], sys.argv[3]) if sys.argv[1] == "steps" else speed(sys.argv[2], int(sys.argv[3]))
    sys.exit(0 if done else 1)
