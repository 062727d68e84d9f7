# The dual encoder of test/bench/quality, trained by PyTorch on the same features: the default architecture
# (a shared table of 128, mean, a square dense layer), loss, optimizer and schedule of ds_train.
# Standard input: lines of a letter and columns: P id ids, Q id group ids, C ids product, J query products.
import sys, time
import torch
import torch.nn.functional as F

DIMS, BATCH, EPOCHS, VOCABULARY = 128, 256, 6, 32768
torch.set_num_threads(1)
products, queries, pairs, relevant = {}, [], [], {}
for line in sys.stdin:
    kind, *column = line.rstrip('\n').split('\t')
    if kind == 'P':
        products[column[0]] = [int(i) for i in column[1].split()]
    elif kind == 'Q':
        queries.append((column[0], column[1], [int(i) for i in column[2].split()]))
    elif kind == 'C':
        pairs.append(([int(i) for i in column[0].split()], column[1]))
    elif kind == 'J':
        relevant[column[0]] = set(column[1].split())
names = list(products)
text_number, query_number = {}, {}
document_key = {p: text_number.setdefault(tuple(products[p]), len(text_number)) for p in names}
keys = torch.tensor([(query_number.setdefault(tuple(q), len(query_number)), document_key[p]) for q, p in pairs])


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.EmbeddingBag(VOCABULARY, DIMS, mode='mean')
        self.dense = torch.nn.Linear(DIMS, DIMS)
        torch.nn.init.uniform_(self.table.weight, -(3 / DIMS) ** 0.5, (3 / DIMS) ** 0.5)
        torch.nn.init.xavier_uniform_(self.dense.weight)
        with torch.no_grad():
            self.dense.weight.mul_(0.1).add_(torch.eye(DIMS))
        torch.nn.init.zeros_(self.dense.bias)

    def forward(self, texts):
        ids = torch.tensor([i for t in texts for i in t], dtype=torch.long)
        begins = torch.tensor([0] + [len(t) for t in texts[:-1]], dtype=torch.long).cumsum(0)
        return F.normalize(self.dense(self.table(ids, begins)), dim=1)


for seed in [int(s) for s in sys.argv[1:]]:
    torch.manual_seed(seed)
    tower = Tower()
    optimizer = torch.optim.Adam(tower.parameters(), lr=0.002)
    step, began = 0, time.time()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(pairs))
        for begin in range(0, len(pairs), BATCH):
            batch = order[begin:begin + BATCH]
            if len(batch) < 2:
                continue
            for group in optimizer.param_groups:
                group['lr'] = max(1e-5, 0.002 * 0.5 ** (step / 1000))
            q = tower([pairs[i][0] for i in batch.tolist()])
            d = tower([products[pairs[i][1]] for i in batch.tolist()])
            k = keys[batch]
            # equal texts are never each other's negatives
            same = (k[:, None, 0] == k[None, :, 0]) | (k[:, None, 1] == k[None, :, 1])
            same.fill_diagonal_(False)
            logits = (q @ d.T / 0.05).masked_fill(same, float('-inf'))
            loss = F.cross_entropy(logits, torch.arange(len(batch)))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
            optimizer.step()
            step += 1
    seconds = time.time() - began
    with torch.no_grad():
        d = torch.cat([tower([products[p] for p in names[i:i + 1000]]) for i in range(0, len(names), 1000)])
        best = (tower([q[2] for q in queries]) @ d.T).topk(10).indices.tolist()
    groups = {}
    for (name, group, _), top in zip(queries, best):
        if relevant.get(name):
            precision = sum(names[i] in relevant[name] for i in top) / 10
            groups.setdefault(group, []).append(precision)
            groups.setdefault('all', []).append(precision)
    for group, values in sorted(groups.items()):
        print('PyTorch, seed %d|%s|%d|%.4f' % (seed, group, len(values), sum(values) / len(values)))
    print('PyTorch, seed %d: %d steps in %.0f s' % (seed, step, seconds), flush=True)
