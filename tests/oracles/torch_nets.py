"""The networks and losses as PyTorch users write them, and their training loop.

Functions take the ``torch`` module, since it is an optional package.
"""

import math


def mlp(torch, weights, biases, activation):
    """nn.Linear layers holding copies of weights stored (inputs, outputs)."""
    functions = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}
    layers = []
    for k, weight in enumerate(weights):
        tensor = torch.tensor(weight.T.copy())
        layer = torch.nn.Linear(*weight.shape, bias=biases is not None, dtype=tensor.dtype)
        with torch.no_grad():
            layer.weight.copy_(tensor)
            if biases is not None:
                layer.bias.copy_(torch.tensor(biases[k].copy()))
        layers += [layer] + ([functions[activation]()] if k < len(weights) - 1 else [])
    return torch.nn.Sequential(*layers)


def transformer(torch, arrays, n_heads):
    """The usual module: every position through attention, MLP and unembedding.

    ``arrays`` are (inputs, outputs) matrices and vectors by name.
    """

    class Transformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in arrays.items():
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(value.copy())))
            t = len(arrays["positions"])
            self.register_buffer("mask", torch.ones(t, t, dtype=torch.bool).tril())

        def forward(self, tokens):
            n, t = tokens.shape
            stream = self.embedding[tokens] + self.positions
            q, k, v = (
                (stream @ matrix).view(n, t, n_heads, -1).transpose(1, 2)
                for matrix in (self.query, self.key, self.value)
            )
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
            scores = scores.masked_fill(~self.mask, -math.inf)
            mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1)
            stream = stream + mixed @ self.output
            hidden = torch.relu(stream @ self.mlp_in + self.mlp_in_bias)
            stream = stream + hidden @ self.mlp_out + self.mlp_out_bias
            return (stream @ self.unembedding)[:, -1]

    return Transformer()


def loss_function(torch, name):
    """The mean squared error, or the cross-entropy of one-hot targets."""
    if name == "mean_squared_error":
        return torch.nn.functional.mse_loss
    return lambda logits, one_hot: torch.nn.functional.cross_entropy(logits, one_hot.argmax(1))


def optimizer(torch, name, parameters, learning_rate, **kwargs):
    """By name: sgd, adam, adamw."""
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[name](parameters, lr=learning_rate, **kwargs)


def train(model, x, y, *, loss, optimizer, n_steps):
    """The loss before each step, and after the last."""
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    return [*losses, loss(model(x), y).item()]
