"""Did training change the kernel of a residual network in PyTorch, and in which layer?"""

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

# Bright above or bright below.
classes = torch.arange(64) % 2
images = torch.randn(64, 1, 10, 10)
images[:, :, :5] += (classes * 1.0 - 0.5)[:, None, None, None]

start = lzt.sketch(model.eval(), images, m=16, y=classes)
assert start.labels is not None  # classes were given
print(
    f"labels against permuted ones: z = {start.labels.z_score:.1f}, p = {start.labels.p_value:.2f}"
)

optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(30):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model.train()(images), classes).backward()
    optimizer.step()

after = lzt.sketch(model.eval(), images, m=16)
print("cosine of the kernels:", start.cosine(after), "growth in scale:", start.growth(after))
for group in start.groups:
    print(f"{group:>7}", start.of_group(group).cosine(after.of_group(group)))
assert start.growth(after).low > 2  # this training is not lazy
