"""Weights in and out."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

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


def under(prefix):
    return lambda s: {f"{prefix}{k}": v for k, v in s.items()}


WRAPS = {
    "as it is": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model_state_dict": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": {"state": {}, "lr": 0.1}},
    "model": lambda s: {"model": s},
    "net": lambda s: {"net": s, "acc": 0.9},
    "nested": lambda s: {"checkpoint": {"model": s}},
    "DataParallel": under("module."),
    "Lightning": lambda s: {"state_dict": under("model.")(s), "pytorch-lightning_version": "2.2", "loops": {}},
    "Lightning with a loss": lambda s: {"state_dict": under("model.")(s) | {"loss.weight": torch.ones(3)}},
    "compiled": under("_orig_mod."),
    "compiled in parallel": under("module._orig_mod."),
    "compiled parts": lambda s: {k.replace("hidden1.", "hidden1._orig_mod."): v for k, v in s.items()},
    "a name of one's own": under("backbone."),
    "beside its average": lambda s: {"model_ema": {k: v + 1 for k, v in s.items()}, "model": s},
    "beside a teacher": lambda s: under("model.")(s) | under("teacher.")({k: v + 1 for k, v in s.items()}),
    "optimiser state of tensors": lambda s: {"optimizer": {"exp_avg": torch.ones(2)}, "model": s},
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_torch_file_is_read_in_the_forms_that_training_scripts_leave(model, other, tmp_path, caplog, wrap):
    path = tmp_path / "my weights.pt"
    torch.save(WRAPS[wrap](model.state_dict()), path)
    with caplog.at_level("INFO"):
        load_weights(other, path)
    assert save_weights(other) == save_weights(model)
    assert ("taken is the state dict" in caplog.text) == (wrap != "as it is")


def test_a_safetensors_file_may_have_a_prefix_too(model, other):
    load_weights(other, safetensors.torch.save(under("model.")(model.state_dict())))
    assert save_weights(other) == save_weights(model)


def test_a_model_that_is_wrapped_takes_the_weights_of_the_bare_one(model, other):
    for wrapped in (nn.DataParallel(other), nn.Sequential(OrderedDict(net=other))):
        with torch.no_grad():
            other.get_parameter("logits.weight").zero_()
        load_weights(wrapped, save_weights(model))
        assert save_weights(other) == save_weights(model)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_from_before_batch_norms_counted_are_taken(prefix):
    model, old = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(2))
    old(torch.randn(4, 1, 5, 5))
    saved = {prefix + n: t for n, t in old.state_dict().items() if not n.endswith("num_batches_tracked")}
    load_weights(model, safetensors.torch.save(saved))
    images = torch.randn(3, 1, 5, 5)
    assert torch.equal(model.eval()(images), old.eval()(images))
    del saved[f"{prefix}1.running_mean"]
    with pytest.raises(WeightsError, match=r"missing: .*1\.running_mean") as caught:
        load_weights(model, safetensors.torch.save(saved))
    assert "num_batches_tracked" not in str(caught.value)


def test_a_model_without_weights_takes_none():
    assert isinstance(load_weights(nn.ReLU(), save_weights(nn.ReLU())), nn.ReLU)


def test_two_state_dicts_that_fit_are_not_chosen_from(model, other):
    both = under("student.")(model.state_dict()) | under("teacher.")(other.state_dict())
    with pytest.raises(WeightsError, match=r"several state dicts that fit: student\.\*, teacher\.\*"):
        load_weights(other, safetensors.torch.save(both))


def test_the_nearest_name_stands_beside_a_missing_one(model, other):
    state = {k.replace("logits", "logit"): v for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"missing: logits.bias \(nearest: logit.bias\).*unexpected: logit.bias"):
        load_weights(other, safetensors.torch.save(state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_another_width_are_converted_and_that_is_said(model, other, caplog, dtype):
    state = {k: v.to(dtype) for k, v in model.state_dict().items()}
    with caplog.at_level("INFO"):
        load_weights(other, safetensors.torch.save(state))
    assert all(torch.equal(v, state[k].float()) for k, v in other.state_dict().items())
    assert f"{str(dtype).removeprefix('torch.')} to float32" in caplog.text


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused_by_name_and_type(model, other, tmp_path, dtype):
    before = save_weights(other)
    torch.save(model.state_dict() | {"logits.bias": torch.ones(3, dtype=dtype)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=f"hold logits.bias as {dtype}, and the model's is torch.float32"):
        load_weights(other, tmp_path / "w.pt")
    assert save_weights(other) == before


def test_values_that_the_models_type_cannot_hold_are_refused(model):
    state = model.state_dict() | {"logits.bias": torch.tensor([1.0, 1e30, 0.0])}
    with pytest.raises(WeightsError, match="values that torch.float16 cannot hold"):
        load_weights(model.half(), safetensors.torch.save(state))
    counted = nn.BatchNorm1d(2)
    state = counted.state_dict() | {"num_batches_tracked": torch.tensor(3.0)}
    with pytest.raises(WeightsError, match="num_batches_tracked as torch.float32"):
        load_weights(counted, safetensors.torch.save(state))


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
    with pytest.raises(WeightsError, match=r"The weights in nowhere.pt cannot be read: No such file"):
        load_weights(model, "nowhere.pt")


@pytest.mark.parametrize(
    ("name", "told"), [("weights.pt", "Did you mean 'weight.pth'"), ("zzz", "has a.pt, weight.pth")]
)
def test_a_missing_file_is_told_with_those_that_lie_there(model, tmp_path, name, told):
    for file in ("a.pt", "weight.pth", "weights.txt"):
        (tmp_path / file).write_text("")
    with pytest.raises(WeightsError, match=told):
        load_weights(model, tmp_path / name)


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


def lying(header, body=b"\0" * 16):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(start, stop, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


LIES = {
    "longer than the file": struct.pack("<Q", 10_000) + b'{"a": 1}',
    "of gigabytes": struct.pack("<Q", 2**40) + b"{}",
    "of all bits": b"\xff" * 8 + b"{}",
    "out of range": lying({"a": entry(0, 1_000, (250,))}),
    "overlapping": lying({"a": entry(0, 8), "b": entry(4, 12)}),
    "with a hole": lying({"a": entry(0, 8), "b": entry(12, 16, (1,))}),
    "backwards": lying({"a": entry(8, 0)}),
    "of another size than its shape": lying({"a": entry(0, 16, (100, 100))}),
    "of a huge shape": lying({"a": entry(0, 16, (2**62, 2**62))}),
    "of negative shape": lying({"a": entry(0, 16, (-1, -4))}),
    "with a name twice": lying(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                               b'"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'),
    "of an unknown type": lying({"a": entry(0, 16, (2,), "F999")}),
    "nested deeply": lying(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "of 5,000 digits": lying(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5_000 + b'],"data_offsets":[0,16]}}'),
    "no JSON": lying(b'{"a": oops}'),
    "with tensors that are none": lying({"a": 3}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_header_that_lies_is_refused(model, lie):
    before = save_weights(model)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_weights(model, LIES[lie])
    assert save_weights(model) == before


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-ran",)


def legacy(value):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def zipped(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def joblib_like(value):
    """A pickle as joblib dumps it, plain or packed."""
    return zlib.compress(pickle.dumps({"w": value}))


def scripted():
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    return file.getvalue()


def keyed_vectors():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], object), allow_pickle=True)
    return file.getvalue()


PICKLES = {
    "legacy": lambda: legacy({"logits.weight": Evil()}),
    "zip": lambda: zipped({"logits.weight": Evil()}),
    "whole model": lambda: zipped(nn.Linear(2, 2)),
    "script": scripted,
    "joblib": lambda: joblib_like(Evil()),
    "npy of objects": keyed_vectors,
    **{f"protocol {n}": lambda n=n: pickle.dumps({"state_dict": Evil()}, n) for n in range(6)},
}


@pytest.mark.parametrize("form", PICKLES)
def test_code_in_a_weights_file_is_not_run(model, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(PICKLES[form]())
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(model, tmp_path / "evil.pt")
    assert not (tmp_path / "evil-ran").exists()


def test_a_packed_archive_is_refused_before_it_is_unpacked(model, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(2**24))
    with pytest.raises(WeightsError, match="a packed archive"):
        load_weights(model, tmp_path / "bomb.pt")


@pytest.mark.parametrize("what", ["fifo", "folder", "device"])
def test_what_is_no_file_is_told_and_never_waited_for(model, tmp_path, what):
    path = tmp_path / "w.pt"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(
        WeightsError, match=f"cannot be read: it is a .*{what}.*, not a file" if what != "fifo" else "FIFO"
    ):
        load_weights(model, path)


def test_a_file_without_a_state_dict_says_what_it_holds(model, tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no state dict .* but a list"):
        load_weights(model, tmp_path / "list.pt")
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "dict.pt")
    with pytest.raises(WeightsError, match=r"no state dict .* but epoch \(int\), best \(float\)"):
        load_weights(model, tmp_path / "dict.pt")
    torch.save({**model.state_dict(), "epoch": 3}, tmp_path / "mixed.pt")
    with pytest.raises(WeightsError, match=r"hold epoch \(int\) beside their tensors"):
        load_weights(model, tmp_path / "mixed.pt")


def saved(value, save=torch.save):
    content = io.BytesIO()
    save(value, content)
    return content.getvalue()


def sparse(state):
    return {name: tensor.to_sparse() if tensor.ndim == 2 else tensor for name, tensor in state.items()}


def bare(state):
    return {name: tensor.to("meta") for name, tensor in state.items()}


NO_WEIGHTS = {
    "scripted": (lambda m: saved(torch.jit.script(m), torch.jit.save), r"scripted model.*save model\.state_dict"),
    "exported": (
        lambda m: saved(torch.export.export(m, (torch.rand(2, *GREY),)), torch.export.save),
        r"no file of torch\.save.*save model\.state_dict",
    ),
    "whole": (lambda m: saved(m), r"cannot be read \(it holds other objects than tensors, such as [\w.]+\)"),
    "with its arguments": (
        lambda m: saved({"model": m.state_dict(), "args": Namespace(lr=1)}),
        r"such as argparse\.Namespace\).* read it once by torch\.load\(FILE, weights_only=False\), and save",
    ),
    "cut short": (lambda m: saved(m.state_dict())[:-100], r"cannot be read \(it is cut short or damaged: copy"),
    "of the old form, cut short": (
        lambda m: saved(m.state_dict(), partial(torch.save, _use_new_zipfile_serialization=False))[:50],
        r"cannot be read \(it is cut short or damaged: copy",
    ),
    "something else": (
        lambda m: bytes(1000),
        r"it is neither safetensors nor a file of torch\.save, or it is cut short",
    ),
    "empty": (lambda m: b"", r"cannot be read \(it is empty"),
    "a pointer": (
        lambda m: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        r"cannot be read \(it is a pointer of Git LFS: `git lfs pull`",
    ),
    "a web page": (lambda m: b"\n<!DOCTYPE html><html></html>", r"cannot be read \(it is a web page"),
    "an index": (lambda m: b'{"weight_map": {}}', r"cannot be read \(it is JSON text, such as an index"),
    "Keras": (lambda m: b"\x89HDF\r\n\x1a\n" + bytes(100), r"cannot be read \(it is an HDF5 file"),
    "sparse": (lambda m: saved(sparse(m.state_dict())), "as a tensor of layout torch.sparse_coo"),
    "meta": (lambda m: saved(bare(m.state_dict())), "without values .on the device 'meta'"),
}


@pytest.mark.parametrize("form", NO_WEIGHTS)
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_what_is_no_state_dict_of_values_is_told_by_its_kind(model, form):
    make, told = NO_WEIGHTS[form]
    before = weights_hash(model)
    with pytest.raises(WeightsError, match=told):
        load_weights(model, make(model))
    assert weights_hash(model) == before
