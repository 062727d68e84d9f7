"""Training on the pairs of the fashion products beside PyTorch, two processors each.

    training_pairs.py OURS DATA ROUNDS STEPS

OURS is build/bench/image_tower, DATA the folder of the data set.  Both train a small tower
(six 3 x 3 convolutions, 24 to 160 channels, 2 x 2 average pooling, 128 out) and a bag over queries, with
in-batch cross-entropy and Adam, on batches of 256 pairs of products that are not held out: shuffled, each
pair with its picture; and as ds_train makes them, all pairs of a product in one batch, where each
picture goes through the tower once.  In turns of STEPS steps.  Needs torch, numpy and PIL.
"""
import gzip
import io
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from training_images import Six, processor_seconds

BATCH, HIGH, WIDE, VOCABULARY = 256, 80, 60, 32768
LAYERS = "24p,48p,64,96p,128,160"
SMALL = "32s,48p,96p,128,128s,192,192"  # what ds_create_model makes of 60 x 80
torch.set_num_threads(2)


def mix(x):
    """src/base/random.h: ds_mix64"""
    mask = (1 << 64) - 1
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


def features(query):
    """Words and n-grams of three characters, hashed"""
    padded = f"^{query}$"
    return [hash(t) % VOCABULARY for t in query.split() + [padded[i:i + 3] for i in range(len(padded) - 2)]]


def read(data):
    pictures, number, pairs = [], {}, []
    with gzip.open(f"{data}/products.tsv.gz", "rt") as file:
        for line in file:
            f = line.rstrip("\n").split("\t")
            if mix(int(f[0])) % 5 == 0:
                continue
            picture = Image.open(io.BytesIO(bytes.fromhex(f[8].lstrip("\\x")))).convert("RGB").resize((WIDE, HIGH))
            number[f[0]] = len(pictures)
            pictures.append(np.asarray(picture))
    with gzip.open(f"{data}/pairs.train.tsv.gz", "rt") as file:
        next(file)
        for line in file:
            _, query, product = line.rstrip("\n").split("\t")
            if product in number:
                pairs.append((features(query), number[product]))
    return torch.from_numpy(np.stack(pictures)), pairs


class Torch:
    def __init__(self, pictures, pairs, together):
        self.pictures, self.pairs, self.together = pictures, pairs, together
        self.random = np.random.default_rng(1)
        self.table = torch.nn.EmbeddingBag(VOCABULARY, 128, mode="mean")
        self.dense = torch.nn.Linear(128, 128)
        self.tower = Six().to(memory_format=torch.channels_last)
        modules = self.table, self.dense, self.tower
        self.optimizer = torch.optim.Adam([p for m in modules for p in m.parameters()], lr=1e-3)
        self.order = iter(())

    def numbers(self):
        """Pairs of the next batch"""
        got = list(x for _, x in zip(range(BATCH), self.order))
        if len(got) == BATCH:
            return got
        key = self.random.permutation(len(self.pictures))
        order = self.random.permutation(len(self.pairs))
        self.order = iter(sorted(order, key=lambda p: key[self.pairs[p][1]]) if self.together else order)
        return self.numbers()

    def step(self):
        batch = [self.pairs[p] for p in self.numbers()]
        ids = torch.tensor([i for f, _ in batch for i in f])
        offsets = torch.tensor(np.cumsum([0] + [len(f) for f, _ in batch[:-1]]))
        products = torch.tensor([p for _, p in batch])
        self.optimizer.zero_grad()
        q = F.normalize(self.dense(self.table(ids, offsets)))
        if self.together:
            products, place = products.unique(return_inverse=True)
        x = (self.pictures[products].float() / 255 - 0.5) / 0.25
        v = self.tower(x.permute(0, 3, 1, 2))  # channels are last already
        if self.together:
            v = v[place]
        scores = q @ v.T / 0.05
        if self.together:  # another pair's document that is the own one is no negative
            scores = scores.masked_fill((place[:, None] == place) & ~torch.eye(BATCH, dtype=torch.bool), -np.inf)
        F.cross_entropy(scores, torch.arange(BATCH)).backward()
        self.optimizer.step()

    def turn(self, steps):
        begin, processor = time.time(), processor_seconds()
        for _ in range(steps):
            self.step()
        return time.time() - begin, processor_seconds() - processor


def ours(program, data, steps, together, layers, norm):
    out = subprocess.run([program, data, f"layers={layers}", f"steps={steps}", "workers=2", f"grouped={int(together)}", f"norm={norm}",
                          f"batch={BATCH}", f"mirrors={norm}"], check=True, capture_output=True, text=True).stdout.split("\n")[-2].split()
    return float(out[3]), float(out[6])


def main():
    program, data, rounds, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pictures, pairs = read(data)
    print(f"{len(pairs)} pairs, {len(pictures)} pictures; {rounds} turns of {steps} steps of {BATCH} pairs", flush=True)
    contenders = {}
    for together in False, True:
        torch_run = Torch(pictures, pairs, together)
        torch_run.step()
        contenders["PyTorch", together] = torch_run.turn
        contenders["here", together] = lambda n, t=together: ours(program, data, n, t, LAYERS, 0)
        contenders["here, the default network", together] = lambda n, t=together: ours(program, data, n, t, SMALL, 1)
    spent = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, turn in contenders.items():
            spent[name].append(turn(steps))
    print("| | pairs a second, shuffled | together | pairs a second of processor, shuffled | together |\n|---|---|---|---|---|")
    rate = {name: [steps * BATCH * len(turns) / sum(t[k] for t in turns) for k in (0, 1)] for name, turns in spent.items()}
    for name in "PyTorch", "here", "here, the default network":
        values = [rate[name, together][k] for k in (0, 1) for together in (False, True)]
        print(f"| {name} | " + " | ".join(f"{v:.0f}" for v in values) + " |")
    for name in "here", "here, the default network":
        values = [rate[name, together][k] / rate["PyTorch", together][k] for k in (0, 1) for together in (False, True)]
        print(f"| {name}: times PyTorch | " + " | ".join(f"{v:.2f}" for v in values) + " |")
    values = [rate["here", True][k] / rate["PyTorch", False][k] for k in (0, 1)]
    print(f"| here together, times PyTorch shuffled | | {values[0]:.2f} | | {values[1]:.2f} |", flush=True)


main()
