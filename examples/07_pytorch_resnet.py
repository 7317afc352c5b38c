"""Did training change the kernel of a residual network in PyTorch, and in which layer?"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import lazyrich.torch as lzt


class Residual(nn.Sequential):
    """Layers and the shortcut around them."""

    def forward(self, input):
        """The sum of both."""
        return input + super().forward(input)


def layer(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


torch.manual_seed(0)
body = [layer(1, 8), Residual(layer(8, 8), layer(8, 8)), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
model = nn.Sequential(*body, nn.Linear(32, 2))

classes = torch.arange(64) % 2  # bright above or bright below
images = torch.randn(64, 1, 10, 10)
images[:, :, :5] += (classes * 1.0 - 0.5)[:, None, None, None]

start = lzt.sketch(model.eval(), images, m=16, y=classes)
assert start.labels is not None  # classes were given
print(f"labels against permuted ones: z = {start.labels.z_score:.1f}")

optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(30):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model.train()(images), classes).backward()
    optimizer.step()

after = lzt.sketch(model.eval(), images, m=16)
print("cosine of the kernels:", start.cosine(after), "growth in scale:", start.growth(after))
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.set(xlabel="layer", ylabel="cosine of its kernels", ylim=(0, 1))
for group in start.groups:
    cosine = start.of_group(group).cosine(after.of_group(group))
    print(f"{group:>7}", cosine)
    axes.plot([group, group], [cosine.low, cosine.high], "C0", linewidth=5, alpha=0.4)
    axes.plot(group, cosine.value, "C0o")
figure.savefig("pytorch_resnet.png", dpi=150)
assert start.growth(after).low > 2  # this training is not lazy
