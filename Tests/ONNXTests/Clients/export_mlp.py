"""Exports small perceptrons with PyTorch, as users do, and what they answer: Clients/exports/*.onnx and *.json.

Run with torch and onnx in the environment:  python export_mlp.py
Tests read the files; they need neither.
"""
import json
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent / "exports"


class Tabular(torch.nn.Module):
    """Batch normalization of the inputs, layers with each activation, layer normalization, two heads."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(12)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(12, 24), torch.nn.BatchNorm1d(24), torch.nn.ReLU(), torch.nn.Dropout(0.2),
            torch.nn.Linear(24, 17), torch.nn.GELU(), torch.nn.Linear(17, 16), torch.nn.GELU(approximate="tanh"),
            torch.nn.LayerNorm(16), torch.nn.Linear(16, 16), torch.nn.SiLU(), torch.nn.Linear(16, 16), torch.nn.LeakyReLU(0.1),
            torch.nn.Linear(16, 8), torch.nn.Tanh())
        self.click = torch.nn.Linear(8, 1)
        self.kind = torch.nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.body(self.norm(x))
        return torch.sigmoid(self.click(hidden)), torch.softmax(self.kind(hidden), dim=-1)


def main():
    torch.manual_seed(4)
    FOLDER.mkdir(exist_ok=True)
    model = Tabular()
    # Statistics that are not those of a new network.
    model.train()
    for _ in range(20):
        model(torch.randn(64, 12) * 2 + 1)
    model.eval()
    x = torch.randn(9, 12)
    with torch.no_grad():
        click, kind = model(x)
    for opset in (11, 17):
        torch.onnx.export(
            model, (x,), str(FOLDER / f"mlp_opset{opset}.onnx"), opset_version=opset, input_names=["x"], output_names=["click", "kind"],
            dynamic_axes={name: {0: "N"} for name in ("x", "click", "kind")}, dynamo=False)
    answers = {"x": x.tolist(), "click": click.tolist(), "kind": kind.tolist()}
    (FOLDER / "mlp.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
