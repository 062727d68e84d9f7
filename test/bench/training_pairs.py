"""Training on the pairs of the fashion products beside PyTorch, two processors each.

    training_pairs.py OURS DATA ROUNDS STEPS
    training_pairs.py quality DATA EPOCHS

OURS is build/bench/image_tower, DATA the folder of the data set.  Both train a small tower
(six 3 x 3 convolutions, 24 to 160 channels, 2 x 2 average pooling, 128 out) and a bag over queries, with
in-batch cross-entropy and Adam, on batches of 256 pairs of products that are not held out: shuffled, each
pair with its picture; and as ds_train makes them, all pairs of a product in one batch, where each
picture goes through the tower once.  In turns of STEPS steps.  "quality" trains PyTorch's alone, shuffled,
and asks the data set's queries as image_tower.c does: P@10 by the attributes that a query names.
Needs torch, numpy and PIL.
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


def read(data, held=False):
    """Pictures, pairs of a query's features and a product that is not held out, and attributes of the products; held: pictures of those, too"""
    pictures, number, pairs, attributes = [], {}, [], []
    with gzip.open(f"{data}/products.tsv.gz", "rt") as file:
        for line in file:
            f = line.rstrip("\n").split("\t")
            seen = mix(int(f[0])) % 5 != 0
            if not (seen or held):
                continue
            picture = Image.open(io.BytesIO(bytes.fromhex(f[8].lstrip("\\x")))).convert("RGB").resize((WIDE, HIGH))
            if seen:
                number[f[0]] = len(pictures)
            attributes.append((mix(int(f[0])) % 5, f[1], *f[3:7]))
            pictures.append(np.asarray(picture))
    with gzip.open(f"{data}/pairs.train.tsv.gz", "rt") as file:
        next(file)
        for line in file:
            _, query, product = line.rstrip("\n").split("\t")
            if product in number:
                pairs.append((features(query), number[product]))
    return torch.from_numpy(np.stack(pictures)), pairs, attributes


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

    def encode_queries(self, queries):
        ids = torch.tensor([i for f in queries for i in f])
        offsets = torch.tensor(np.cumsum([0] + [len(f) for f in queries[:-1]]))
        return F.normalize(self.dense(self.table(ids, offsets)))

    def encode_pictures(self, pictures):
        x = (pictures.float() / 255 - 0.5) / 0.25
        return self.tower(x.permute(0, 3, 1, 2))  # channels are last already

    def step(self):
        batch = [self.pairs[p] for p in self.numbers()]
        products = torch.tensor([p for _, p in batch])
        self.optimizer.zero_grad()
        q = self.encode_queries([f for f, _ in batch])
        if self.together:
            products, place = products.unique(return_inverse=True)
        v = self.encode_pictures(self.pictures[products])
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


def quality(data, epochs):
    """P@10 by the attributes named: over products held out, of queries with ten relevant ones there, and over all"""
    pictures, pairs, attributes = read(data, held=True)
    run, begin = Torch(pictures, pairs, False), time.time()
    for _ in range(len(pairs) // BATCH * epochs):
        run.step()
    print(f"{len(pairs)} pairs, {epochs} epochs, {time.time() - begin:.0f} s", flush=True)
    held = np.array([a[0] == 0 for a in attributes])
    groups = {}
    with torch.no_grad(), open(f"{data}/queries.dev.tsv") as file:
        vectors = torch.cat([run.encode_pictures(pictures[i:i + BATCH]) for i in range(0, len(pictures), BATCH)])
        next(file)
        for line in file:
            f = line.rstrip("\n").split("\t")
            asked = f[3:8]
            relevant = np.array([all(not x or x == y for x, y in zip(asked, a[1:])) for a in attributes])
            scores = (vectors @ run.encode_queries([features(f[2])])[0]).numpy()
            found = [relevant[best].sum() / 10 for best in (np.argsort(np.where(held, -scores, np.inf))[:10], np.argsort(-scores)[:10])]
            name = " ".join(n for n, x in zip(("gender", "type", "colour", "season", "usage"), asked) if x)
            for group in (name, "all"):
                groups.setdefault(group, []).append((*found, relevant[held].sum() >= 10))
        same = [np.mean([attributes[n][2] == attributes[p][2] for n in np.argsort(-(vectors @ vectors[p]).numpy())[:11] if n != p][:10]) for p in np.flatnonzero(held)]
    for name, rows in sorted(groups.items(), key=lambda g: g[0] == "all"):
        unseen = [r[0] for r in rows if r[2]]
        print(f"  {name:28} {np.mean(unseen):.3f} ({len(unseen)})  {np.mean([r[0] for r in rows]):.3f} {np.mean([r[1] for r in rows]):.3f}")
    print(f"picture to picture: {np.mean(same):.3f} of the ten nearest have the type of article")


def main():
    if sys.argv[1] == "quality":
        return quality(sys.argv[2], int(sys.argv[3]))
    program, data, rounds, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pictures, pairs, _ = read(data)
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
