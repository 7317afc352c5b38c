"""A PyTorch module watched while it is trained, and its diagnosis on one page."""

import matplotlib.pyplot as plt
import torch
from torch import nn

import lazyrich.torch as lzt

torch.manual_seed(0)
x, x_test = torch.randn(48, 8), torch.randn(200, 8)
y, y_test = (x[:, 0] * x[:, 1] > 0).long(), (x_test[:, 0] * x_test[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Dropout(0.1), nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

with lzt.watch(model, optimizer, probe=(x, y), share=1.0) as monitor:
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

for record in monitor.records:
    print(
        f"step {record['step']:4.0f}: gap {record['linearization_gap']:.2f}, "
        f"kernel cosine {record['kernel_cosine']:.3f}"
    )

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
steps = [record["step"] for record in monitor.records]
for name in ("linearization_gap", "kernel_cosine"):
    axes.semilogx(steps, [record[name] for record in monitor.records], "o-", label=name)
axes.set(xlabel="optimizer steps", ylim=(0, 1.05))
axes.legend()
figure.savefig("watch_pytorch.png", dpi=150)

diagnosis = monitor.diagnosis(x_test, y_test)
print(diagnosis)
print("page:", diagnosis.to_html("diagnosis.html"))
assert diagnosis.regime != "lazy"
assert monitor.records[0]["linearization_gap"] < monitor.records[-1]["linearization_gap"]
