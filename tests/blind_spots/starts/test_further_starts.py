"""Further starts: from images of other classes, from noise, and as many as the passes allow."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import grades, row_search
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.row_results import RowResults
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.blind_spots.solvers.primal_dual import PrimalDual
from intriguing.blind_spots.starts import further_starts
from intriguing.blind_spots.starts.further_starts import (
    COARSE,
    FINE,
    SAME,
    Neighbours,
    Pool,
    Segment,
    cosine,
    noisy,
    waves_of,
)
from intriguing.errors import InputError
from intriguing.models.feeding.rows import PADDED


def rugged(seed=0, inputs=24, classes=4):
    """A network whose distance has many local minima: three wide layers of large weights."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, classes)
    ).requires_grad_(False)
    for layer in model[::2]:
        layer.weight.mul_(4)
    return model


def images(count, inputs=24, key=1):
    return torch.rand(count, inputs, generator=torch.Generator().manual_seed(key))


def test_the_nearest_images_of_the_goals_come_one_after_the_other():
    pool = Pool(torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1, 1, 1]))
    x0 = torch.tensor([[0.2, 0.0], [2.8, 0.0], [0.2, 0.0]])
    goals = torch.tensor([[False, True, False]] * 2 + [[False, False, True]])
    neighbours = Neighbours(pool, x0, goals)
    taken = {row: [] for row in range(3)}
    for index in ([0, 1, 2], [1], [0, 1], [0, 1, 2], [0]):
        found, rows = neighbours.take(torch.tensor(index))
        for image, row in zip(found, rows.tolist(), strict=True):
            taken[row].append(float(image[0]))
    assert taken == {0: [1.0, 2.0, 3.0], 1: [3.0, 2.0, 1.0], 2: []}


def test_neighbours_are_looked_up_for_many_turns_at_once(monkeypatch):
    pool = Pool(images(50), torch.ones(50, dtype=torch.long))
    neighbours = Neighbours(pool, images(3, key=2), torch.ones(3, 2, dtype=torch.bool))
    order = torch.cdist(images(3, key=2).double(), images(50).double()).argsort(1)
    looked = []
    following = neighbours._following
    monkeypatch.setattr(neighbours, "_following", lambda rows: looked.append(rows.tolist()) or following(rows))
    for turn in range(40):
        found, rows = neighbours.take(torch.tensor([0, 2]) if turn % 2 else torch.arange(3))
        assert torch.equal(found[0], pool.images[order[0, turn]]) and rows[0] == 0
    assert looked == [[0, 1, 2], [0, 2], [0, 1, 2]]


def noted(monkeypatch):
    """The starts that each plan makes from now on, as lists by the plan's name."""
    made = {"FINE": [], "COARSE": []}
    for name, notes in made.items():
        plan = getattr(further_starts, name)
        kept = tuple(Kept(notes, start) for start in plan.starts)
        monkeypatch.setattr(row_search, name, replace(plan, starts=kept))
    return made


def test_every_kind_of_further_start_gets_its_turn_with_images_and_without(monkeypatch):
    model, x, pool = rugged(1), images(2), images(200, key=2)
    labels = model(x).argmax(1)
    for threshold, name, plan in ((1e9, "FINE", FINE), (0.0, "COARSE", COARSE)):
        monkeypatch.setattr(row_search, "_TOO_COARSE", threshold)
        for starts in (None, pool):
            made = noted(monkeypatch)
            minimal_distortion(model, x, labels, options=SearchOptions(passes=3000), starts=starts)
            assert set(made.pop(name)) == set(plan.starts), (name, starts is None)
            assert list(made.values()) == [[]]


class Kept(tuple):
    """A start that notes when it is made."""

    def __new__(cls, notes, start):
        kept = super().__new__(cls, start)
        kept.notes = notes
        return kept

    def __iter__(self):
        self.notes.append(tuple(self[i] for i in range(3)))
        return super().__iter__()


def test_slow_starts_are_made_where_the_finish_shortens_the_first_start_by_much():
    x = torch.full((4, 16), 0.5)
    rows = {"x0": x, "goals": torch.tensor([[False, True]] * 4)}
    rows |= {"rivals": ~rows["goals"], "target": torch.ones(4, dtype=torch.long)}
    evaluator = Evaluator(nn.Linear(16, 2), (16,), PADDED)
    owner = torch.tensor([0, 0, 1, 2])
    results = RowResults(evaluator, grades._BEST, Layout(4), Box.of(0.0, 1.0, x), rows, owner)
    infinity = float("inf")
    results.outcome = {"best_l2": torch.tensor([2.0, 1.0, 3.0, infinity])}
    # The nearest row of an example counts; one that has no success has nothing shortened.
    factors = results.shortened(torch.tensor([9.0, 1.2, 3.15, infinity]))
    assert factors.tolist() == pytest.approx([1.2, 1.05, 1.0])
    assert (factors > row_search._TOO_COARSE).tolist() == [True, False, False]
    slow, other = ([kind for _, _, kind in plan.starts[: plan.waves[-1]]] for plan in (COARSE, FINE))
    assert slow[:2] == ["slow", "slow"] and "slow" not in other


def test_an_image_has_starts_of_one_plan_whatever_plan_its_company_has(monkeypatch):
    model, x = rugged(3), images(16)
    labels = model(x).argmax(1)
    targets = (labels + 1) % 4
    found = {}
    for threshold in (0.0, 1.1, 1e9):
        monkeypatch.setattr(row_search, "_TOO_COARSE", threshold)
        found[threshold] = minimal_distortion(model, x, labels, targets, SearchOptions(passes=600))
    passes = torch.stack([r.forward_passes + r.backward_passes for r in found.values()])
    coarse, fine = passes[1] == passes[0], passes[1] == passes[2]
    assert bool((coarse ^ fine).all()) and 0 < int(coarse.sum()) < 16
    assert torch.equal(found[1.1].adversarial[coarse], found[0.0].adversarial[coarse])
    assert torch.equal(found[1.1].adversarial[fine], found[1e9].adversarial[fine])


def test_a_wide_start_finds_a_nearer_class_that_was_not_searched():
    torch.manual_seed(0)
    model = nn.Linear(16, 3).requires_grad_(False)
    model.weight[2] = model.weight[0] + 3 * (model.weight[1] - model.weight[0]).flip(0)
    x = torch.full((8, 16), 0.5)
    model.bias += torch.tensor([0.3, 0.0, 0.0]) - model(x[:1])[0]
    classes = torch.arange(3)
    rows = {"x0": x, "target": torch.ones(8, dtype=torch.long)}
    rows |= {"goals": (classes == 1).expand(8, 3), "rivals": (classes == 0).expand(8, 3)}
    evaluator = Evaluator(model, (16,), PADDED)
    box, every = Box.of(0.0, 1.0, x), torch.arange(8)
    recipe = replace(grades._BEST, further=0)
    results = RowResults(evaluator, recipe, Layout.of(8, PADDED, 16), box, rows, every)
    search = row_search._RowSearch(results, SearchOptions(), box, 1.0, None)
    search.by_recipe()
    farther, nearer = (0.3 / (model.weight[k] - model.weight[0]).norm() for k in (1, 2))
    assert search.several and torch.allclose(search.outcome["best_l2"], farther.expand(8), rtol=1e-3)
    results.again([search._steps(FINE, 1, every, wide=False)], recipe.polish)
    assert bool((search.outcome["best_class"] == 1).all())
    results.again([search._steps(FINE, 1, every, wide=True)], recipe.polish)
    assert bool((search.outcome["best_class"] == 2).all())
    assert torch.allclose(search.outcome["best_l2"], nearer.expand(8), rtol=1e-3)


def test_noise_has_the_distance_and_depends_on_its_number_alone():
    x0 = torch.full((2, 4096), 0.5)
    distance = torch.tensor([1.0, 3.0])
    one, again = noisy(x0, distance, 1, 0.0, 1.0), noisy(x0[:1], distance[:1], 1, 0.0, 1.0)
    assert torch.allclose((one - x0).norm(dim=1), distance, rtol=1e-4) and torch.equal(one[:1], again)
    assert not torch.equal(one, noisy(x0, distance, 2, 0.0, 1.0))
    assert float(noisy(x0, 1e3 * distance, 1, 0.0, 1.0).amax()) == 1.0


def test_a_segment_ends_at_the_boundary_and_needs_a_success_to_begin_with():
    model = nn.Linear(16, 2, bias=False).requires_grad_(False)
    model.weight.zero_()
    model.weight[0, 0] = 1.0
    x0 = torch.full((8, 16), 0.5)
    there = x0.clone()
    model.weight[1, 1] = 1.3
    there[:4, 1] = 1.0
    there[4:, 0] = 1.0
    target, classes = torch.ones(8, dtype=torch.long), torch.arange(2)
    rows = {"x0": x0 - torch.eye(16)[1] * 0.2, "there": there, "target": target}
    rows |= {"goals": classes == target[:, None], "rivals": classes != target[:, None]}
    outcome = run(Segment(Evaluator(model, (16,), PADDED), 0.0, 1.0), rows, Layout(8))
    # From 0.3 the second value must rise above 0.5 / 1.3.
    assert torch.allclose(outcome["best_l2"][:4], torch.full((4,), 0.5 / 1.3 - 0.3), atol=0.7 / 2**12 + 1e-6)
    assert bool((outcome["best_l2"][:4] > 0.5 / 1.3 - 0.3).all()) and outcome["forward"][:4].tolist() == [13] * 4
    assert outcome["best_l2"][4:].isinf().all() and outcome["forward"][4:].tolist() == [1] * 4


@pytest.mark.parametrize("targeted", [False, True])
def test_more_passes_never_give_a_larger_distance(targeted):
    model, x = rugged(3), images(8)
    labels = model(x).argmax(1)
    targets = (labels + 1) % 4 if targeted else None
    before, first = None, None
    for passes in (1, 450, 900):
        result = minimal_distortion(model, x, labels, targets, SearchOptions(passes=passes))
        spent = result.forward_passes + result.backward_passes
        assert bool((spent >= passes).all()) and int(spent.max()) < passes + 600
        if before is not None:
            assert bool((result.l2 <= before).all())
        before, first = result.l2, result.l2 if first is None else first
    assert float((before / first).mean()) < 1


def test_thorough_is_never_worse_than_best_with_the_same_starts():
    model, x, pool = rugged(1), images(5), images(200, key=2)
    labels = model(x).argmax(1)
    best, thorough = (
        minimal_distortion(model, x, labels, options=SearchOptions(grade=grade), starts=pool)
        for grade in ("best", "thorough")
    )
    assert bool((thorough.l2 <= best.l2).all())
    assert int((thorough.forward_passes + thorough.backward_passes).min()) >= 2000


def test_starts_are_of_use_and_an_image_does_not_depend_on_its_company():
    model, x, pool = rugged(3), images(9), images(400, key=3)
    labels = model(x).argmax(1)
    options = SearchOptions(passes=600)
    without = minimal_distortion(model, x, labels, options=options)
    whole = minimal_distortion(model, x, labels, options=options, starts=pool)
    assert not torch.equal(whole.l2, without.l2)
    part = minimal_distortion(model, x[5:8], labels[5:8], options=options.with_(slots=8), starts=pool)
    assert torch.equal(part.adversarial, whole.adversarial[5:8])
    bad = torch.cat([torch.full((1, 24), torch.nan), torch.full((1, 24), 7.0), pool])
    assert torch.equal(minimal_distortion(model, x, labels, options=options, starts=bad).l2, whole.l2)


def test_what_takes_no_starts_or_passes_says_so():
    model, x = rugged(), images(2)
    labels = model(x).argmax(1)
    for grade in ("fast", "faithful"):
        with pytest.raises(InputError, match="takes no starts; best and thorough do"):
            minimal_distortion(model, x, labels, options=SearchOptions(grade=grade), starts=x)
        with pytest.raises(InputError, match="takes no passes"):
            SearchOptions(grade=grade, passes=100)
    with pytest.raises(InputError, match=r"starts has the shape \(2, 23\); it must be \(S, \*\(24,\)\)"):
        minimal_distortion(model, x, labels, starts=x[:, :23])
    with pytest.raises(InputError, match="write starts / 255"):
        minimal_distortion(model, x, labels, starts=(255 * x).byte())
    with pytest.raises(InputError, match="passes is 0"):
        SearchOptions(passes=0)


class Steps(nn.Module):
    """Logits of values that are rounded first, so that no gradient reaches the input."""

    def forward(self, x):
        whole = (4 * x + 0 * x.sum()).round()
        return torch.stack([whole[:, :8].sum(1), whole[:, 8:].sum(1) + 0.5], 1)


def test_images_of_other_classes_help_where_there_is_no_gradient():
    model, x = Steps(), images(24, 16)
    labels = model(x).argmax(1)
    some, others = x[labels == 0][:3], x[labels == 1]
    alone = minimal_distortion(model, some, [0, 0, 0])
    assert alone.status == ["no_gradient"] * 3 and alone.reasons == [""] * 3
    helped = minimal_distortion(model, some, [0, 0, 0], starts=others)
    assert helped.status == ["found"] * 3 and all("Every gradient" in reason for reason in helped.reasons)
    assert bool((helped.l2 < torch.cdist(some, others).amin(1)).all())
    assert minimal_distortion(model, some, [0, 0, 0], starts=some).status == ["no_gradient"] * 3


def test_starts_of_a_small_image_go_on_though_they_agree():
    torch.manual_seed(0)
    x = torch.rand(4, 1, 6, 6)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 3)).requires_grad_(False)
    # The first starts agree on 0.97768.
    assert float(minimal_distortion(model, x, model(x).argmax(1)).l2[0]) < 0.9695


def test_a_few_further_starts_are_made_first_and_then_more_at_a_time():
    assert [list(wave) for wave in waves_of(9, [1, 3], 4)] == [[0], [1, 2], [3, 4, 5, 6], [7, 8]]
    assert [list(wave) for wave in waves_of(3, [], 1)] == [[0], [1], [2]]
    assert [list(wave) for wave in waves_of(2, [3, 6], 4)] == [[0, 1]]
    assert [n for wave in waves_of(0, [3], 4) for n in wave] == []


def test_the_first_slow_start_runs_alone_since_half_of_them_agree():
    assert [list(wave) for wave in COARSE.by_waves(6, 0, dear=False, segments=False)] == [[0], [1, 2], [3]]
    assert [list(wave) for wave in FINE.by_waves(6, 0, dear=False, segments=False)] == [[0, 1], [2, 3, 4], [5]]


def test_changes_are_in_the_same_basin_by_their_direction_and_not_by_their_length():
    one = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    other = torch.tensor([[1.3, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.18, 0.0], [0.6, 0.4, 0.0]])
    assert (cosine(one, other) > SAME).tolist() == [True, False, True, False]
    assert torch.allclose(cosine(1e-3 * one, 1e-3 * other), cosine(one, other))
    assert cosine(0 * one, other).tolist() == [0.0] * 4


def test_a_start_that_comes_as_near_in_another_direction_does_not_agree():
    x = torch.full((2, 16), 0.5)
    rows = {"x0": x, "target": torch.tensor([1, 1]), "goals": torch.tensor([[False, True]] * 2)}
    rows |= {"rivals": ~rows["goals"]}
    box = Box.of(0.0, 1.0, x)
    evaluator = Evaluator(nn.Linear(16, 2), (16,), PADDED)
    results = RowResults(evaluator, grades._BEST, Layout(2), box, rows, torch.arange(2))
    best, other = x + 0.25 * torch.eye(16)[0], x + 0.25 * torch.eye(16)[1]
    length = torch.full((2,), 0.25)
    results.outcome = {"best": best.clone(), "best_l2": length.clone(), "best_class": rows["target"].clone()}
    results.outcome |= {"blind": torch.zeros(2, dtype=torch.bool), "bound": length.clone(), "beyond": 0 * length}
    ends = {"best": torch.stack([best[0], other[1]]), "best_l2": length, "bound": length, "best_class": rows["target"]}
    ends |= {"beyond": 0 * length}
    ends |= {"trial": ends["best"]}
    assert (results.kept(torch.arange(2), ends) > SAME).tolist() == [True, False]
    # One that ended early, since it could come no nearer, agrees by where it would have gone next.
    aside = best + 0.08 * torch.eye(16)[1]
    assert bool((cosine(best - x, aside - x) < SAME).all())
    ends |= {"best": aside, "best_l2": 1.05 * length, "bound": length, "trial": torch.lerp(aside, best, 0.9)}
    assert (results.kept(torch.arange(2), ends) > SAME).tolist() == [True, True]


def test_a_penalised_search_that_leads_to_the_same_point_spares_further_starts(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 32), nn.Sigmoid(), nn.Linear(32, 4)).requires_grad_(False)
    model[0].weight.mul_(12)
    x = images(24, 128)
    labels = model(x).argmax(1)
    agreeing = minimal_distortion(model, x, labels, (labels + 1) % 4)
    monkeypatch.setattr(row_search, "SURELY_SAME", 1.1)
    never = minimal_distortion(model, x, labels, (labels + 1) % 4)
    spared = agreeing.backward_passes < never.backward_passes
    assert 0 < int(spared.sum()) < 24
    assert torch.equal(agreeing.l2[~spared], never.l2[~spared])
    assert bool((agreeing.l2 <= 1.001 * never.l2)[spared].all())


def test_a_finish_that_ends_early_leads_to_where_it_would_have_ended():
    torch.manual_seed(3)
    model, x = nn.Linear(24, 2).requires_grad_(False), torch.full((9, 24), 0.5)
    target, goals = torch.full((9,), 1), torch.tensor([[False, True]] * 9)
    model.bias.copy_(torch.tensor([0.0, -0.2]) - model(x[:1])[0] + model.bias)
    rows = {"x0": x, "target": target, "rivals": ~goals}
    normal = model.weight[1] - model.weight[0]
    optimum = 0.2 / normal.norm() ** 2 * normal
    aside = torch.randn(9, 24)
    aside -= torch.outer(aside @ normal, normal) / normal.norm() ** 2
    size = torch.linspace(0.1, 0.28, 9)[:, None] * optimum.norm()
    rows |= {"best": x + 1.001 * optimum + size * aside / aside.norm(dim=1, keepdim=True)}
    rows |= {"bar": optimum.norm().expand(9)}
    evaluator = Evaluator(model, (24,), PADDED)
    end = run(BoundaryFinish(evaluator, 0.0, 1.0, 20), rows, Layout(16))
    assert bool((end["backward"] == 1).all())
    assert float(cosine(end["best"] - x, optimum.expand(9, 24)).amin()) < 0.97
    assert float(cosine(end["trial"] - x, optimum.expand(9, 24)).amin()) > 0.9999


def begun():
    """A network, the rows of a finish on 16 images, and what a start found for them."""
    model, x = rugged(1), images(16)
    target = (model(x).argmax(1) + 1) % 4
    goals = torch.arange(4) == target[:, None]
    evaluator = Evaluator(model, (24,), PADDED)
    rows = {"x0": x, "target": target, "rivals": ~goals}
    start = run(PrimalDual(evaluator, 0.0, 1.0, 28), rows | {"goals": goals}, Layout(16))
    return evaluator, rows, start


def test_where_a_finish_leads_does_not_depend_on_company():
    evaluator, rows, start = begun()
    rows |= {"best": start["best"], "bar": start["best_l2"] * torch.linspace(0.7, 1.0, 16)}
    together = run(BoundaryFinish(evaluator, 0.0, 1.0, 20), rows, Layout(16))
    assert len(together["backward"].unique()) > 3
    for i in range(16):
        alone = run(BoundaryFinish(evaluator, 0.0, 1.0, 20), {k: v[i : i + 1] for k, v in rows.items()}, Layout(16))
        assert torch.equal(alone["trial"][0], together["trial"][i])


def test_a_finish_spares_the_passes_that_can_gain_next_to_nothing():
    evaluator, rows, start = begun()
    rows |= {"best": start["best"], "bar": start["best_l2"] * torch.linspace(0.8, 1.0, 16)}
    spared = run(BoundaryFinish(evaluator, 0.0, 1.0, 20), rows, Layout(16))
    every = run(BoundaryFinish(evaluator, 0.0, 1.0, 20, worth=-1.0), rows, Layout(16))
    assert torch.equal(every["forward"], 3 * every["backward"])
    assert bool((spared["forward"] >= spared["backward"]).all())
    assert int(spared["forward"].sum()) < 0.9 * int(every["forward"].sum())
    assert bool((spared["best_l2"] / every["best_l2"] - 1 < 1e-3).all())
    for i in range(16):
        before = evaluator.seen.forward
        alone = run(BoundaryFinish(evaluator, 0.0, 1.0, 20), {k: v[i : i + 1] for k, v in rows.items()}, Layout(16))
        assert torch.equal(alone["best"][0], spared["best"][i])
        assert int(alone["forward"]) == int(spared["forward"][i])
        assert evaluator.seen.forward - before == PADDED.padded(1) * int(alone["forward"])


def test_a_finish_goes_on_where_it_is_below_its_bar_and_not_sure_that_it_has_ended():
    evaluator, rows, start = begun()
    rows |= {"best": start["best"]}
    short = run(BoundaryFinish(evaluator, 0.0, 1.0, 2, 2), rows, Layout(16))
    bar = short["best_l2"] * torch.tensor([1.5, 0.98] * 8)
    longer = run(BoundaryFinish(evaluator, 0.0, 1.0, 2, 2, polish=20), rows | {"bar": bar}, Layout(16))
    rough = (short["bound"] < 0.999 * short["best_l2"]) & (bar > short["best_l2"])
    assert 2 < int(rough.sum()) < 16
    assert bool((longer["backward"] > 2)[rough].all())
    assert bool((longer["best_l2"] < short["best_l2"])[rough].all())
    assert int(longer["backward"][~rough].max()) <= 2


def test_a_point_whose_finish_had_not_ended_is_finished_once_more(monkeypatch):
    model, x = rugged(2), images(12)
    labels = model(x).argmax(1)
    found = {}
    for polish in (0, 20):
        recipe = replace(grades._BEST, steps=4, longest_finish=4, further=0, polish=polish)
        monkeypatch.setitem(grades.GRADES, "best", replace(grades.GRADES["best"], recipe=recipe))
        found[polish] = minimal_distortion(model, x, labels, (labels + 1) % 4)
    assert bool((found[20].l2 <= found[0].l2 * (1 + 1e-5)).all()) and bool((found[20].l2 < 0.999 * found[0].l2).any())
    # What had ended costs nothing more.
    assert bool((found[20].backward_passes == found[0].backward_passes).any())


def test_rows_with_steps_of_their_own_end_as_in_a_start_of_such_steps():
    model, x = rugged(1), images(6)
    label = model(x).argmax(1)
    classes = torch.arange(4)
    rows = {"x0": x, "target": (label + 1) % 4, "rivals": classes == label[:, None], "goals": classes != label[:, None]}
    evaluator = Evaluator(model, (24,), PADDED)
    lengths = torch.tensor([16.0, 8.0] * 3)
    mixed = run(PrimalDual(evaluator, 0.0, 1.0, 12), rows | {"first": lengths}, Layout(8))
    for first in (16.0, 8.0):
        alone = run(PrimalDual(evaluator, 0.0, 1.0, 12, first=first), rows, Layout(8))
        same = lengths == first
        assert torch.allclose(mixed["best"][same], alone["best"][same], atol=1e-4)
        assert not torch.allclose(mixed["best"][~same], alone["best"][~same], atol=1e-4)


def test_starts_side_by_side_find_what_they_find_one_after_another_where_none_comes_nearer(monkeypatch):
    """The order counts only by what earlier starts found: a linear network has one optimum, so all of them agree."""
    torch.manual_seed(0)
    model, x = nn.Linear(24, 4).requires_grad_(False), images(5)
    labels = model(x).argmax(1)
    options = SearchOptions(exact_linear="off", passes=900)
    together = minimal_distortion(model, x, labels, (labels + 1) % 4, options)
    monkeypatch.setattr(further_starts, "TOGETHER", 2)
    for name in ("FINE", "COARSE"):
        monkeypatch.setattr(row_search, name, replace(getattr(row_search, name), waves=()))
    apart = minimal_distortion(model, x, labels, (labels + 1) % 4, options)
    assert torch.allclose(together.l2, apart.l2, rtol=1e-4)
    assert int((together.backward_passes - apart.backward_passes).abs().max()) < 120


def test_rows_with_a_pace_of_their_own_have_the_bits_of_a_start_of_that_pace():
    model, x = rugged(1), images(8)
    label, classes = model(x).argmax(1), torch.arange(4)
    rows = {"x0": x, "target": (label + 1) % 4, "rivals": classes == label[:, None], "goals": classes != label[:, None]}
    evaluator = Evaluator(model, (24,), PADDED)
    paces = [
        {"ticks": 12, "first": 16.0, "last": 2.0, "mean": 0.7},
        {"ticks": 20, "first": 8.0, "last": 0.2, "mean": 0.9},
    ]
    names = {"ticks": "ticks", "first": "first", "last": "last", "decay": "mean"}
    pace = {name: torch.tensor([p[key] for p in paces], dtype=torch.float64) for name, key in names.items()}
    mixed = {name: torch.cat([value, value]) for name, value in rows.items()}
    mixed |= {name: value.repeat_interleave(8) for name, value in pace.items()}
    together = run(PrimalDual(evaluator, 0.0, 1.0, 20), mixed, Layout(16))
    for i, own in enumerate(paces):
        alone = run(PrimalDual(evaluator, 0.0, 1.0, **own), rows, Layout(16))
        assert set(alone["backward"].tolist()) == {own["ticks"]}
        for name, value in alone.items():
            assert torch.equal(together[name][8 * i : 8 * i + 8], value)
    longer = {"first": torch.full((8,), 16.0)}
    some, all_ = (
        run(PrimalDual(evaluator, 0.0, 1.0, 12, first=f), rows | p, Layout(8)) for f, p in ((4, longer), (16, {}))
    )
    assert torch.equal(some["best"], all_["best"])
