import sys

import numpy as np
import pytest

from firemesh.models import reference, train_digits
from firemesh.models.onnx_reader import read_onnx


def loss(params, x, labels):
    logits = train_digits.forward(params, x)[0]
    logits = logits - logits.max(axis=1, keepdims=True)
    share = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -share[np.arange(labels.size), labels].mean()


def test_gradients_equal_differences_of_the_loss():
    rng = np.random.default_rng(1)
    params = {k: v.astype(np.float64) for k, v in train_digits.initial(rng).items()}
    x, labels = rng.random((6, 1, 8, 8)), rng.integers(0, 10, 6)
    gradients = train_digits.gradients(params, x, labels)
    for name, value in params.items():
        for _ in range(6):
            index = tuple(int(rng.integers(size)) for size in value.shape)
            moved = []
            for step in (1e-5, -1e-5):
                changed = {**params, name: value.copy()}
                changed[name][index] += step
                moved.append(loss(changed, x, labels))
            slope = (moved[0] - moved[1]) / 2e-5
            assert gradients[name][index] == pytest.approx(slope, abs=2e-6), name


def test_split_is_a_partition_with_every_class_in_proportion():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1797)
    training, held = train_digits.split(labels, rng)
    assert (training.size, held.size) == (1437, 360)
    assert sorted([*training, *held]) == list(range(1797))
    shares = np.bincount(labels[held]) / np.bincount(labels)
    assert np.abs(shares - 360 / 1797).max() < 0.01


def test_training_lowers_the_loss_and_keeps_masked_weights_at_zero():
    rng = np.random.default_rng(2)
    x, labels = rng.random((64, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 64)
    start = train_digits.initial(rng)
    masks = train_digits.row_masks(start)
    start = {name: start[name] * masks.get(name, np.True_) for name in start}
    trained = train_digits.train(start, x, labels, 80, rng, masks)
    assert loss(trained, x, labels) < 0.7 * loss(start, x, labels)
    for name, mask in masks.items():
        assert not trained[name][~mask].any()
        assert trained[name][mask].any()


def test_a_short_run_writes_networks_that_read_back_and_classify(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(train_digits, "DENSE_EPOCHS", 8)
    monkeypatch.setattr(train_digits, "PRUNED_EPOCHS", 4)
    train_digits.main(tmp_path)
    with np.load(tmp_path / "digits.npz") as archive:
        x, labels = archive["images"][:, None].astype(np.float32), archive["labels"]
    for name in ("digits", "digits-pruned"):
        network = read_onnx(tmp_path / f"{name}.onnx")
        logits = reference.forward(network, x)[network.outputs[0]]
        assert (logits.argmax(axis=1) == labels).mean() >= 0.9


def test_a_call_without_a_folder_says_how_to_call_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_digits"])
    with pytest.raises(SystemExit, match="train_digits OUTDIR"):
        train_digits.command_line()


def test_a_missing_library_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setattr("sys.argv", ["train_digits", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"firemesh\[train\]"):
        train_digits.command_line()
