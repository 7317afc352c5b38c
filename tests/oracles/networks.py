"""Networks written out in plain NumPy, one row and one position at a time."""

import math

import numpy as np

PHI = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "gelu": lambda h: 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2))),
    "erf": np.vectorize(math.erf),
    "softplus": lambda h: np.log1p(np.exp(h)),
    "square": lambda h: h * h,
    "linear": lambda h: h,
}


def mlp(weights, biases, x, *, activation, multipliers):
    """h ← φ(m(hW + b)) for each row; the last layer without φ."""
    rows = []
    for h in np.asarray(x, float):
        for k, (weight, m) in enumerate(zip(weights, multipliers, strict=True)):
            bias = 0 if biases is None else np.asarray(biases[k], float)
            h = m * (np.asarray(weight, float).T @ h + bias)
            if k < len(weights) - 1:
                h = PHI[activation](h)
        rows.append(h)
    return np.array(rows)


def transformer(p, tokens, n_heads):
    """All positions of the causal block, head by head; the logits of the last position.

    ``p`` holds the arrays by name, matrices (inputs, outputs).
    """
    p = {name: np.asarray(value, float) for name, value in p.items()}
    d = p["embedding"].shape[1]
    width = d // n_heads
    logits = []
    for row in np.asarray(tokens):
        stream = p["embedding"][row] + p["positions"]
        after = stream.copy()
        for h in range(n_heads):
            block = slice(h * width, (h + 1) * width)
            q, k, v = (stream @ p[name][:, block] for name in ("query", "key", "value"))
            for i in range(len(row)):
                score = np.array([q[i] @ k[j] / math.sqrt(width) for j in range(i + 1)])
                weight = np.exp(score - score.max())
                weight /= weight.sum()
                after[i] += (weight @ v[: i + 1]) @ p["output"][block]
        hidden = np.maximum(after @ p["mlp_in"] + p["mlp_in_bias"], 0)
        final = after + hidden @ p["mlp_out"] + p["mlp_out_bias"]
        logits.append((final @ p["unembedding"])[-1])
    return np.array(logits)


def hermite(h, degree):
    """He_k(h) = Σ_j (−1)^j k!/(j!(k−2j)! 2^j) h^(k−2j), the explicit sum."""
    h = np.asarray(h, float)
    total = np.zeros_like(h)
    for j in range(degree // 2 + 1):
        size = math.factorial(degree) / (
            math.factorial(j) * math.factorial(degree - 2 * j) * 2.0**j
        )
        total += (-1) ** j * size * h ** (degree - 2 * j)
    return total
