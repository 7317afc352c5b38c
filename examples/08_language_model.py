"""Which layers of a small language model learn? Rows are tokens, outputs their targets' logits."""

import torch
from torch import nn

import lazyrich.torch as lzt


class LanguageModel(nn.Module):
    """Stands for one of `transformers`; its read-out is the embedding."""

    def __init__(self, n_tokens=40, width=32):
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, width)
        self.positions = nn.Parameter(0.02 * torch.randn(12, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, input_ids):
        """The logits of every position."""
        hidden = self.tokens(input_ids) + self.positions[: input_ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(input_ids.shape[1])
        return self.body(hidden, mask=mask, is_causal=True) @ self.tokens.weight.T


class TargetLogit(LanguageModel):
    """The logit of the token after a position; the choice belongs to the row."""

    def forward(self, input_ids, position):  # ty: ignore[incompatible-method-override]
        """One logit a row."""
        here = torch.arange(len(input_ids))
        return super().forward(input_ids)[here, position, input_ids[here, position + 1]]


torch.manual_seed(0)
starts, model = torch.randint(40, (48,)), TargetLogit().eval()
texts = (starts[:, None] + 3 * torch.arange(10)) % 40  # each token is the last one plus three
rows = {"input_ids": texts, "position": torch.randint(1, 9, (48,))}
before = lzt.sketch(model, rows)
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
for _ in range(40):
    logits = LanguageModel.forward(model, texts[:, :-1])
    optimizer.zero_grad()
    nn.functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten()).backward()
    optimizer.step()
after = lzt.sketch(model, rows)
print("cosine of the kernels:", before.cosine(after))
for group in before.groups:
    print(f"{group:>40}", before.of_group(group).cosine(after.of_group(group)))
assert before.cosine(after).high < 0.999
