"""Weights in and out."""

import os

import pytest
import torch

from intriguing.errors import WeightsError
from intriguing.models import build_model, load_weights, save_weights, weights_hash

GREY = (1, 8, 8)


@pytest.fixture
def model():
    return build_model("mlp", GREY, 3, {"hidden": [5]}, seed=1)


@pytest.fixture
def other():
    return build_model("mlp", GREY, 3, {"hidden": [5]}, seed=2)


def test_weights_come_back_as_they_were_saved(model, other):
    load_weights(other, save_weights(model))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())
    assert weights_hash(save_weights(other)) == weights_hash(model)


def test_the_hash_follows_the_values(model, other):
    assert weights_hash(model) != weights_hash(other)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_a_torch_file_is_read_in_the_forms_that_training_scripts_leave(model, other, tmp_path, wrap):
    path = tmp_path / "my weights.pt"
    torch.save(wrap(model.state_dict()), path)
    load_weights(other, path)
    assert save_weights(other) == save_weights(model)


def test_a_safetensors_file_is_read_whatever_its_name(model, other, tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(save_weights(model))
    assert save_weights(load_weights(other, str(path))) == save_weights(model)


def test_missing_unexpected_and_misshaped_tensors_are_all_named(model, other):
    wide = build_model("mlp", GREY, 3, {"hidden": [5, 6]})
    before = save_weights(other)
    with pytest.raises(WeightsError) as told:
        load_weights(other, save_weights(wide))
    assert "unexpected: hidden2.linear.bias, hidden2.linear.weight" in str(told.value)
    assert "logits.weight is (3, 6), the model's is (3, 5)" in str(told.value)
    assert save_weights(other) == before
    with pytest.raises(WeightsError, match="missing: hidden2.linear.bias"):
        load_weights(wide, save_weights(model))


def test_a_missing_file_is_named(model):
    with pytest.raises(WeightsError, match=r"weights file nowhere.pt cannot be read: No such file"):
        load_weights(model, "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02junk", b"PK\x03\x04junk"])
def test_bytes_that_are_no_weights_are_refused(model, content):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(model, content)


def test_truncated_weights_are_refused(model, tmp_path):
    with pytest.raises(WeightsError, match="truncated"):
        load_weights(model, save_weights(model)[:-10])
    torch.save(model.state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(model, (tmp_path / "w.pt").read_bytes()[:-100])


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-ran",)


def test_code_in_a_weights_file_is_not_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"logits.weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="refused"):
        load_weights(model, tmp_path / "evil.pt")
    assert not (tmp_path / "evil-ran").exists()


def test_a_file_without_a_state_dict_is_refused(model, tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load_weights(model, tmp_path / "list.pt")
