"""Searches are fitted to the memory that is available; what is available is asked of the system, not guessed."""

import resource

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.basics.process.memory import available_memory
from intriguing.blind_spots import memory
from intriguing.blind_spots.solvers import loop
from intriguing.errors import InputError
from intriguing.models.examination import Conduct
from intriguing.models.feeding import rows
from intriguing.models.feeding.rows import PADDED

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


def test_limits_of_the_process_itself_count(tmp_path, monkeypatch):
    """Batch systems set `ulimit -v`: a search planned with the whole machine's memory, and died."""
    page = resource.getpagesize()
    tree(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/statm": "900 50 20 10 0 300 0\n"})
    limits = {resource.RLIMIT_AS: 1000 * page, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert available_memory(tmp_path) == 100 * page
    limits[resource.RLIMIT_DATA] = 340 * page
    assert available_memory(tmp_path) == 40 * page
    limits[resource.RLIMIT_AS] = 800 * page
    assert available_memory(tmp_path) == 0


def problem(inputs=60, count=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, 4)).requires_grad_(False)
    x = torch.rand(count, inputs, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize(("count", "megabytes", "told"), [(40, 1.9, "64 slots fit"), (400, 0.9, "searched in turns")])
def test_slots_and_images_are_fitted_and_the_results_are_the_same(monkeypatch, count, megabytes, told):
    model, x, y = problem(count=count)
    options = SearchOptions(grade="fast" if count > 100 else "best")
    whole = minimal_distortion(model, x, y, options=options)
    assert whole.notes == ()
    monkeypatch.setattr(memory, "available", lambda device: megabytes * 1e6)
    fitted = minimal_distortion(model, x, y, options=options)
    assert any(told in note for note in fitted.notes)
    assert torch.equal(fitted.adversarial, whole.adversarial) and fitted.status == whole.status


@pytest.mark.parametrize("room", [2e5, 5e5, 1e6, 2e6, 1e7])
def test_the_plan_keeps_to_the_memory_that_it_is_given(monkeypatch, room):
    """Counted anew: 60 float32 values per vector, 3 searches per image, 52 vectors per slot in use, 8 at the least
    (2 where each row is fed alone); and what the 4 classes take."""
    model, x, _ = problem(count=200)
    monkeypatch.setattr(memory, "available", lambda device: room)
    conduct = Conduct(torch.float32, 4)
    cost = memory.cost_of(model, conduct, x[:1])
    plan = memory.plan(cost, conduct, x, SearchOptions(memory_fraction=0.5), "all")
    searches = plan.images * 3
    grain = 2 if plan.blocks.most == 1 else 8
    width = max(grain, min(plan.slots, 256, -(-searches // grain) * grain))
    activations = 2 * 24 * 4
    classes = 4 * (searches * 8 + plan.images * 10 * 4 + width * 6 * 4)
    needed = classes + searches * 8 * 240 + width * 52 * 240 + min(plan.blocks.most, -(-width // 32) * 32) * activations
    assert needed <= plan.needed + 1 <= plan.budget + 1 == room / 2 + 1
    assert plan.slots >= plan.blocks.most >= plan.blocks.least
    if room == 1e7:
        assert (plan.images, plan.slots, plan.blocks) == (200, 256, PADDED)


def test_little_memory_takes_no_starts_away(monkeypatch):
    """Where a cheap network is fed row by row for want of memory, it still starts from images of other classes."""
    model, x, y = problem(count=6)
    loaded = []

    def ends():
        loaded.append(True)
        return torch.rand(30, 60, generator=torch.Generator().manual_seed(2))

    plenty = minimal_distortion(model, x, y, starts=ends)
    monkeypatch.setattr(memory, "available", lambda device: 1e5)
    tight = minimal_distortion(model, x, y, starts=ends)
    assert tight.plan.blocks.most == 1 and tight.plan.fewer_rows
    assert len(loaded) == 2
    assert torch.allclose(tight.l2, plenty.l2, rtol=1e-5)


def test_images_to_start_from_are_loaded_before_the_rest_of_the_memory_is_planned(monkeypatch):
    model, x, y = problem(count=2)
    loaded = []

    def ends():
        loaded.append(True)
        return torch.rand(30, 60, generator=torch.Generator().manual_seed(2))

    def available(device):
        assert loaded
        return 1e9

    monkeypatch.setattr(memory, "available", available)
    assert minimal_distortion(model, x, y, starts=ends).notes == ()


def test_starts_that_are_not_used_are_told(monkeypatch, caplog):
    model, x, y = problem(count=2)
    linear = nn.Linear(60, 4).requires_grad_(False)
    with caplog.at_level("INFO", logger="intriguing"):
        solved = minimal_distortion(linear, x, linear(x).argmax(1), starts=x)
    assert solved.notes == ("The model is linear and solved exactly: the starts are not used.",)
    assert solved.notes[0] in caplog.text
    monkeypatch.setattr(rows, "MIDDLE", 1.0)
    monkeypatch.setattr(rows, "DEAR", 2.0)
    monkeypatch.setattr(rows, "_REUSE", 0.0)
    dear = minimal_distortion(model, x, y, starts=x)
    assert len(dear.notes) == 1 and "starts are not used unless passes are asked for" in dear.notes[0]
    assert minimal_distortion(model, x, y, options=SearchOptions(passes=1), starts=x).notes == ()


def test_weights_are_counted_once_not_for_every_image():
    wide = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10)).requires_grad_(False)
    cost = memory.cost_of(wide, Conduct(torch.float32, 10), torch.rand(1, 1000))
    assert (cost.operations, cost.bytes) == (2 * 1010 * 1000 + 2 * 1010, 2 * 4 * 1000)


def test_many_classes_count_in_the_memory_of_a_search(monkeypatch):
    """With 20,000 classes a search of 64 images took 245 MB where the plan said 1 MB; `targets="every"` took more."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3000)).requires_grad_(False)
    x = torch.rand(40, 6)
    y, options = model(x).argmax(1), SearchOptions(grade="fast")
    whole = minimal_distortion(model, x, y, options=options)
    assert whole.plan.needed > 3000 * 40 * (40 + 8 + 24)
    monkeypatch.setattr(memory, "available", lambda device: 6e6)
    fitted = minimal_distortion(model, x, y, options=options)
    assert fitted.plan.images < 40 and fitted.plan.needed < 0.8 * 6e6
    assert any("fit in memory at once" in note for note in fitted.notes)
    assert fitted.status == whole.status == ["found"] * 40
    assert torch.equal(fitted.adversarial, whole.adversarial)


def test_a_single_image_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 1e5)
    with pytest.raises(InputError, match="one image of 10000 values needs about .* more memory"):
        minimal_distortion(nn.Linear(10_000, 2), torch.rand(2, 10_000), [0, 1])


def test_long_rows_are_advanced_a_few_at_a_time_and_a_slot_costs_its_state_alone(monkeypatch):
    """On long rows a step's own memory is needed for a few rows only; what is found stays the same to the bit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, stride=5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 21 * 21, 6)).eval()
    x = torch.rand(40, 3, 105, 105, generator=torch.Generator().manual_seed(1))
    y = model(x[:2]).argmax(1)
    conduct = Conduct(torch.float32, 6)
    plan = memory.plan(memory.cost_of(model, conduct, x[:1]), conduct, x, SearchOptions(), "one")
    one = 4 * 3 * 105 * 105
    assert plan.blocks == PADDED and plan.slots == 256
    assert plan.needed == pytest.approx(
        one * (40 * 8 + 40 * 24 + 32 * 28) + 64 * plan.row_bytes + 6 * 40 * (8 + 40 + 24)
    )
    short = minimal_distortion(model, x[:2], y, options=SearchOptions(grade="fast"))
    monkeypatch.setattr(loop, "_LONG", 2**30)
    whole = minimal_distortion(model, x[:2], y, options=SearchOptions(grade="fast"))
    assert short.status == ["found"] * 2
    assert torch.equal(short.adversarial, whole.adversarial)


CURVED = [
    *(nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(), nn.Mish(), nn.ELU(), nn.Softplus(), nn.Sigmoid(), nn.Tanh()),
    *(
        nn.LeakyReLU(),
        nn.LogSigmoid(),
        nn.ReLU6(),
        nn.Hardswish(),
        nn.Hardsigmoid(),
        nn.Softmax(1),
        nn.LayerNorm(6),
        nn.GroupNorm(1, 2),
    ),
    nn.MaxPool2d(2, 1, 1),
]


@pytest.mark.parametrize("function", CURVED, ids=lambda function: type(function).__name__)
def test_an_untrained_network_is_not_traced_to_see_that_it_is_no_linear_one(function, monkeypatch):
    """Its logits hardly change, so no values show a bend; the trace took up to eight times the planned memory."""
    traced = []
    monkeypatch.setattr("intriguing.blind_spots.solvers.linear.trace", lambda *of: traced.append(of))
    last = nn.LazyLinear(3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), function, nn.Flatten(), last).eval()
    with torch.no_grad():
        model(torch.rand(2, 1, 6, 6))
        last.weight.mul_(1e-12)
    minimal_distortion(model, torch.rand(1, 1, 6, 6), [0], options=SearchOptions(grade="fast"))
    assert not traced


def test_a_linear_network_is_still_seen_as_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    x = torch.rand(2, 1, 6, 6)
    result = minimal_distortion(model, x, model(x).argmax(1))
    assert result.status == ["found"] * 2
    assert torch.allclose(result.lower_bound, result.l2, rtol=1e-3)


class Slope(nn.Module):
    """Logits that are slopes of another network, by torch.func or by autograd."""

    def __init__(self, functional):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 3))
        self.functional = functional

    def forward(self, x):
        if self.functional:
            return torch.func.vmap(torch.func.grad(lambda v: self.net(v).square().sum()))(x)[:, :5]
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.net(y).square().sum(), y, create_graph=True)
        return slope[:, :5]


def test_a_model_that_takes_gradients_by_torch_func_is_searched_as_others_are():
    """torch.func.grad refuses the hooks that count what autograd keeps."""
    torch.manual_seed(0)
    functional = Slope(True)
    other = Slope(False)
    other.load_state_dict(functional.state_dict())
    x = torch.rand(6, 12)
    labels = other(x).argmax(1)
    one, two = (minimal_distortion(model, x, labels) for model in (functional, other))
    assert one.status == two.status and one.status.count("found") == 6
    assert torch.allclose(one.l2, two.l2, rtol=1e-3)
    assert one.plan.row_bytes >= two.plan.row_bytes > 0
