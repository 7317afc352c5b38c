"""Oracle: the same run without a callback, under stand-ins for trainers and the real ones.

The stand-ins call the hooks in the order of Lightning 2.6 and transformers 5; the real
trainers run where they are installed.
"""

import contextlib
import copy
import json
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
import lazyrich.torch.lightning as lzt_lightning  # noqa: E402
import lazyrich.torch.transformers as lzt_transformers  # noqa: E402

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def step(model, optimizer):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()


@pytest.fixture
def installed(monkeypatch):
    """Both extras count as installed, whether they are or not."""
    for module in (lzt_lightning, lzt_transformers):
        monkeypatch.setattr(module, "require_extra", lambda *given: None)


class Module(nn.Module):
    """Stands in for a LightningModule."""

    def __init__(self):
        super().__init__()
        self.net, self.logged = network(), []

    def forward(self, x):
        return self.net(x)

    def log_dict(self, metrics, **kwargs):
        assert kwargs["rank_zero_only"]
        self.logged.append(metrics)


def fit(module, callback, n_steps, optimizer=None):
    """Stands in for ``lightning.Trainer.fit``."""
    optimizer = optimizer or torch.optim.SGD(module.parameters(), 0.1)
    trainer = SimpleNamespace(optimizers=[optimizer], is_global_zero=True)
    callback.on_train_start(trainer, module)
    for index in range(n_steps):
        step(module, optimizer)
        callback.on_train_batch_end(trainer, module, None, None, index)
    callback.on_train_end(trainer, module)
    return optimizer


def test_under_lightning_records_are_logged_and_the_run_is_the_same(installed):
    alone, watched = Module(), Module()
    optimizer = torch.optim.SGD(alone.parameters(), 0.1)
    for _ in range(12):
        step(alone, optimizer)
    callback = lzt_lightning.Monitor((X, Y), share=1.0)
    fit(watched, callback, 12)
    assert all(map(torch.equal, alone.parameters(), watched.parameters()))
    assert [one["step"] for one in callback.watch.records] == [1, 2, 5, 10]
    assert len(watched.logged) == 4
    assert "lazyrich/kernel_cosine" in watched.logged[0]


def test_under_lightning_a_resumed_run_goes_on(installed):
    whole, half = Module(), Module()
    one = lzt_lightning.Monitor((X, Y), share=1.0)
    fit(whole, one, 20)
    two = lzt_lightning.Monitor((X, Y), share=1.0)
    optimizer = fit(half, two, 7)
    three = lzt_lightning.Monitor((X, Y), share=1.0)
    three.load_state_dict(copy.deepcopy(two.state_dict()))
    fit(half, three, 13, optimizer)
    assert three.watch.records == one.watch.records
    assert len(half.logged) == 5


def train(model, callback, n_steps, global_step=0):
    """Stands in for ``transformers.Trainer.train``."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    state = SimpleNamespace(is_world_process_zero=True, global_step=global_step)
    wrapped = SimpleNamespace(optimizer=optimizer)
    callback.on_train_begin(None, state, None, model=model, optimizer=wrapped)
    logs = {}
    for _ in range(n_steps):
        step(model, optimizer)
        callback.on_log(None, state, None, logs=logs)
    callback.on_train_end(None, state, None)
    return logs


def test_under_transformers_metrics_go_into_the_logs(installed):
    alone, watched = network(), network()
    optimizer = torch.optim.SGD(alone.parameters(), 0.1)
    for _ in range(12):
        step(alone, optimizer)
    callback = lzt_transformers.Monitor((X, Y), share=1.0)
    logs = train(watched, callback, 12)
    assert all(map(torch.equal, alone.parameters(), watched.parameters()))
    assert [one["step"] for one in callback.records] == [1, 2, 5, 10]
    assert logs["lazyrich_kernel_cosine"] == callback.records[-1]["kernel_cosine"]
    saved = json.loads(json.dumps(callback.state()))
    other = lzt_transformers.Monitor(**saved["args"])
    other.records = saved["attributes"]["records"]
    train(watched, other, 10, global_step=12)
    assert [one["step"] for one in other.records] == [1, 2, 5, 10, 20]


def test_without_the_packages_it_is_one_sentence(monkeypatch):
    for module, name in ((lzt_lightning, "lightning"), (lzt_transformers, "transformers")):
        monkeypatch.setattr("lazyrich._base._extras._is_installed", lambda package: False)
        with pytest.raises(lzt.InputError, match=rf"pip install 'lazyrich\[{name}\]'"):
            module.Monitor((X, Y))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's own: workers, calls to PyTorch
def test_the_real_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Real(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(network(), nn.Dropout(0.2))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            losses[-1].append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), 1e-2)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=4)
    results, losses, states = [], [], []
    for callbacks in ([], [lzt_lightning.Monitor((X, Y), share=1.0)]):
        module = Real()
        losses.append([])
        torch.manual_seed(2)
        trainer = lightning.Trainer(
            max_steps=12,
            accumulate_grad_batches=2,
            callbacks=callbacks,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, data)
        results.append(module)
        states.append(torch.get_rng_state())
    assert all(map(torch.equal, results[0].parameters(), results[1].parameters()))
    assert losses[0] == losses[1]
    assert torch.equal(*states)
    assert [one["step"] for one in callbacks[0].watch.records] == [1, 2, 5, 10]
    losses.append([])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    resumed = lzt_lightning.Monitor((X, Y), share=1.0)
    trainer = lightning.Trainer(
        max_steps=24,
        accumulate_grad_batches=2,
        callbacks=[resumed],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Real(), data, ckpt_path=tmp_path / "a.ckpt")
    assert [one["step"] for one in resumed.watch.records] == [1, 2, 5, 10, 20]


@pytest.mark.slow
def test_the_real_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=6, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0.1
    )
    tokens = torch.randint(11, (16, 6), generator=torch.Generator().manual_seed(3))
    rows = [{"input_ids": one, "labels": one} for one in tokens]
    probe = ({"input_ids": tokens}, tokens[:, 0])
    results, losses, states = [], [], []
    for callbacks in (
        [],
        [lzt_transformers.Monitor(probe, share=1.0, output=lambda out: out.logits[:, -1])],
    ):
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            max_steps=12,
            per_device_train_batch_size=4,
            report_to=[],
            gradient_accumulation_steps=2,
            logging_steps=1,
            save_strategy="no",
            seed=0,
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=rows, callbacks=callbacks
        )
        trainer.train()
        results.append(model)
        losses.append([one["loss"] for one in trainer.state.log_history if "loss" in one])
        states.append(torch.get_rng_state())
    assert all(map(torch.equal, results[0].parameters(), results[1].parameters()))
    assert len(losses[0]) == 12
    assert losses[0] == losses[1]
    assert torch.equal(*states)
    assert [one["step"] for one in callbacks[0].records] == [1, 2, 5, 10]
    assert any("lazyrich_kernel_cosine" in one for one in trainer.state.log_history)


def accelerated(*, is_watched):
    """A loop of Accelerate that accumulates two batches to a step."""
    accelerate = pytest.importorskip("accelerate")
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=4)
    model = nn.Sequential(network(), nn.Dropout(0.2))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    model, wrapped, data = accelerator.prepare(model, optimizer, data)
    monitor = lzt.watch(model, optimizer, (X, Y), share=1.0, say=None) if is_watched else None
    losses = []
    with monitor or contextlib.nullcontext():
        for _ in range(6):
            for x, y in data:
                with accelerator.accumulate(model):
                    loss = nn.functional.cross_entropy(model(x), y)
                    accelerator.backward(loss)
                    wrapped.step()
                    wrapped.zero_grad()
                losses.append(loss.item())
    return list(model.parameters()), losses, torch.get_rng_state(), monitor


@pytest.mark.slow
def test_under_accelerate_nothing_of_a_run_changes():
    alone, watched = (accelerated(is_watched=one) for one in (False, True))
    assert all(map(torch.equal, alone[0], watched[0]))
    assert alone[1] == watched[1]
    assert torch.equal(alone[2], watched[2])
    # Twenty-four batches are twelve steps.
    assert [one["step"] for one in watched[3].records] == [1, 2, 5, 10]
