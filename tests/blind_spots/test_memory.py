"""Searches are fitted to the memory that is available; what is available is asked of the system, not guessed."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import memory
from intriguing.errors import InputError
from intriguing.memory import available_memory

MB = 2**20


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal: 8000 kB\nMemFree: 100 kB\nMemAvailable: 6000 kB\n"


def test_the_page_cache_counts_as_available(tmp_path):
    assert available_memory(tree(tmp_path, {"proc/meminfo": MEMINFO})) == 6000 * 1024


def test_a_container_s_limit_counts_less_what_it_cannot_give_back(tmp_path):
    group = "sys/fs/cgroup/jobs"
    files = {
        "proc/meminfo": MEMINFO.replace("6000", str(10**9)),
        "proc/self/cgroup": "0::/jobs/mine\n",
        f"{group}/memory.max": str(100 * MB),
        f"{group}/memory.current": str(80 * MB),
        f"{group}/memory.stat": f"anon {30 * MB}\nactive_file {20 * MB}\ninactive_file {30 * MB}\n",
        f"{group}/mine/memory.max": "max",
        f"{group}/mine/memory.current": str(80 * MB),
    }
    assert available_memory(tree(tmp_path, files)) == 70 * MB


def test_version_1_of_control_groups_is_understood(tmp_path):
    group = "sys/fs/cgroup/memory"
    files = {
        "proc/meminfo": MEMINFO.replace("6000", str(10**9)),
        "proc/self/cgroup": "5:devices:/x\n4:cpu,memory:/not/visible/here\n",
        f"{group}/memory.limit_in_bytes": str(100 * MB),
        f"{group}/memory.usage_in_bytes": str(90 * MB),
        f"{group}/memory.stat": f"inactive_file 1\ntotal_inactive_file {40 * MB}\ntotal_active_file 0\n",
    }
    assert available_memory(tree(tmp_path, files)) == 50 * MB
    (tmp_path / f"{group}/memory.limit_in_bytes").write_text("9223372036854771712")
    assert available_memory(tmp_path) == 1024e9


def problem(inputs=60, count=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, 4)).requires_grad_(False)
    x = torch.rand(count, inputs, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


def test_slots_and_images_are_fitted_and_the_results_are_the_same(monkeypatch):
    model, x, y = problem()
    whole = minimal_distortion(model, x, y)
    assert whole.notes == ()
    # 60 float32 values: a slot holds 48 vectors of them, each of 3 searches per image 4.
    for megabytes, told in ((1.2, "slots fit"), (0.9, "searched in turns")):
        monkeypatch.setattr(memory, "available", lambda device, room=megabytes: room * 1e6)
        fitted = minimal_distortion(model, x, y)
        assert any(told in note for note in fitted.notes)
        assert torch.equal(fitted.adversarial, whole.adversarial) and fitted.status == whole.status


def test_the_plan_keeps_to_the_memory_that_it_is_given(monkeypatch):
    model, x, _ = problem(count=200)
    one = 60 * 4
    seen = []
    for room in (10**5, 10**6, 10**7):
        monkeypatch.setattr(memory, "available", lambda device, room=room: room)
        conduct = memory.Conduct(torch.float32, 4)
        plan = memory.plan(model, conduct, x, SearchOptions(), "all")
        kept = memory._kept(model, conduct, x[:1])
        rows = min(plan.slots, 256, -(-plan.images * 3 // 8) * 8)
        assert plan.images * 3 * 4 * one + rows * 48 * one + plan.block * kept <= 0.8 * room
        seen.append((plan.images, plan.slots, plan.block))
    assert seen == sorted(seen) and seen[-1] == (200, 256, 128)


def test_a_single_image_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 1e5)
    with pytest.raises(InputError, match="one image of 10000 values needs about .* more memory"):
        minimal_distortion(nn.Linear(10_000, 2), torch.rand(2, 10_000), [0, 1])
