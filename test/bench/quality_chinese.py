# The transformers of test/bench/quality, trained by PyTorch on the same tokens: the shape, the distribution of
# first weights, dropout, loss, optimizer and schedule that ds_train has there.
# Arguments: task epochs rate warmup seeds...  Standard input: "ids of a query|ids of a document|ids of a third|label|part", part 0 is
# trained on, part 1 tested.
import sys, time
import torch
import torch.nn.functional as F
from torch import nn

LAYERS, HIDDEN, HEADS, TOKENS, BATCH, DROPOUT = 4, 128, 4, 128, 32, 0.1
torch.set_num_threads(1)
task, epochs, rate, warmup = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
parts = ([], [])
rows_of = {}  # the table has the ids that occur: rows of others would not change anything
for line in sys.stdin:
    *texts, label, part = line.rstrip('\n').split('|')
    parts[int(part)].append(([[rows_of.setdefault(i, len(rows_of)) for i in t.split()] for t in texts if t], float(label)))


class Bert(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.token = nn.Embedding(len(rows_of), HIDDEN)
        self.position = nn.Embedding(TOKENS, HIDDEN)
        self.kind = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        layer = nn.TransformerEncoderLayer(HIDDEN, HEADS, 4 * HIDDEN, DROPOUT, 'gelu', 1e-12, batch_first=True)
        layer.dropout = nn.Identity()  # BERT has none between the layers of its MLP
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.pooler = nn.Linear(HIDDEN, HIDDEN) if outputs else None
        self.head = nn.Linear(HIDDEN, outputs) if outputs else None
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0, 0.02)
            else:
                nn.init.constant_(p, 1 if 'norm' in name and name.endswith('weight') else 0)

    def forward(self, texts, types):
        longest = max(len(t) for t in texts)
        ids = torch.tensor([t + [0] * (longest - len(t)) for t in texts])
        kinds = torch.tensor([t + [0] * (longest - len(t)) for t in types])
        mask = torch.tensor([[1.0] * len(t) + [0.0] * (longest - len(t)) for t in texts])
        x = self.norm(self.token(ids) + self.position.weight[:longest] + self.kind(kinds))
        x = self.layers(F.dropout(x, DROPOUT, self.training), src_key_padding_mask=mask == 0)
        if self.head is not None:
            return self.head(torch.tanh(self.pooler(x[:, 0])))
        return F.normalize((x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True))


def joint(texts):
    a, b = list(texts[0]), list(texts[1][1:])
    while len(a) + len(b) > TOKENS:  # the longer one first, before its [SEP]
        del (a if len(a) >= len(b) else b)[-2]
    return a + b, [0] * len(a) + [1] * len(b)


def encode(model, texts):
    texts = [t[:TOKENS] for t in texts]
    return model(texts, [[0] * len(t) for t in texts])


def loss_of(model, rows):
    if task == 'qbqtc':
        pairs = [joint(r[0]) for r in rows]
        return F.cross_entropy(model([p[0] for p in pairs], [p[1] for p in pairs]), torch.tensor([int(r[1]) for r in rows]))
    v = encode(model, [t for i in range(len(rows[0][0])) for t in (r[0][i] for r in rows)]).split(len(rows))
    if task == 'sts':
        return F.mse_loss((v[0] * v[1]).sum(1), torch.tensor([r[1] for r in rows]))
    scores = v[0] @ torch.cat(v[1:]).T / 0.05
    for i, r in enumerate(rows):  # what equals the own document, or an equal query has, is no negative
        for j, s in enumerate(rows):
            if i != j and (r[0][1] == s[0][1] or r[0][0] == s[0][0]):
                scores[i, j] = float('-inf')
            if r[0][1] == s[0][2]:
                scores[i, len(rows) + j] = float('-inf')
    return F.cross_entropy(scores, torch.arange(len(rows)))


def ranks(x):
    order = sorted(range(len(x)), key=lambda i: x[i])
    out = [0.0] * len(x)
    i = 0
    while i < len(x):
        j = i
        while j + 1 < len(x) and x[order[j + 1]] == x[order[i]]:
            j += 1
        for k in range(i, j + 1):
            out[order[k]] = (i + j) / 2
        i = j + 1
    return torch.tensor(out, dtype=torch.float64)


def measure(model):
    rows = parts[1]
    if task == 'qbqtc':
        got = []
        for i in range(0, len(rows), 200):
            pairs = [joint(r[0]) for r in rows[i:i + 200]]
            got += model([p[0] for p in pairs], [p[1] for p in pairs]).argmax(1).tolist()
        f1 = []
        for c in range(3):
            both = sum(g == c and r[1] == c for g, r in zip(got, rows))
            f1.append(2 * both / max(1, sum(g == c for g in got) + sum(r[1] == c for r in rows)))
        return '%.4f|%.4f' % (sum(g == r[1] for g, r in zip(got, rows)) / len(rows), sum(f1) / 3)
    v = [torch.cat([encode(model, [r[0][i] for r in rows[b:b + 200]]) for b in range(0, len(rows), 200)]) for i in range(len(rows[0][0]))]
    scores = [(v[0] * o).sum(1) for o in v[1:]]
    if task == 'simclue':
        return '%.4f' % (scores[0] > scores[1]).double().mean().item()
    a, b = ranks(scores[0].tolist()), ranks([r[1] for r in rows])
    return '%.4f' % torch.corrcoef(torch.stack([a, b]))[0, 1].item()


for seed in [int(s) for s in sys.argv[5:]]:
    torch.manual_seed(seed)
    model = Bert(3 if task == 'qbqtc' else 0)
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{'params': decayed, 'weight_decay': 0.01}, {'params': others, 'weight_decay': 0}])
    steps = epochs * ((len(parts[0]) + BATCH - 1) // BATCH)
    step, began = 0, time.process_time()
    for epoch in range(epochs):
        order = torch.randperm(len(parts[0])).tolist()
        for begin in range(0, len(order), BATCH):
            for group in optimizer.param_groups:
                group['lr'] = rate * min((step + 1) / warmup if step < warmup else 1, 1 - max(0, step - warmup) / (steps - warmup))
            loss = loss_of(model, [parts[0][i] for i in order[begin:begin + BATCH]])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
    seconds = time.process_time() - began
    model.eval()
    with torch.no_grad():
        print('PyTorch, seed %d|%s|%.0f s of processor time' % (seed, measure(model), seconds), flush=True)
