"""What a section [hardening] plans, and what it refuses."""

import pytest

from intriguing.errors import SpecError
from intriguing.hardening.options import HardeningOptions
from intriguing.stages.hardening.spec import HardeningSpec, HardeningVariant, default_variants
from intriguing.sweep.spec import load_spec
from tests.sweep.planning import plan_of

NET = {"architecture": "mlp", "layers": ["hidden1", "hidden2"], "training": {"epochs": 3}}


def spec(hardening, **rest):
    body = {"name": "h", "datasets": {"mnist-sample": {}}, "models": {"net": NET}}
    return load_spec(body | {"hardening": {"models": ["net"], "seeds": [0, 1], "images": 10} | hardening} | rest)


def names(plan, part):
    return [task.name for task in plan if task.name.startswith("hardening/") and part in task.name]


def test_there_are_eight_variants_and_five_seeds_by_default():
    section = HardeningSpec(models=["net"])
    assert len(section.seeds) == 5
    assert list(section.variants) == list(default_variants())
    assert len(section.variants) == 8
    methods = [variant.options().method for variant in section.variants.values()]
    assert methods == ["plain", "plain", "plain", "pools", "pools", "pools", "noise", "pgd"]


def test_an_epoch_is_a_task_that_goes_on_from_the_one_before_it_and_reads_what_its_pools_keep():
    plan = plan_of(spec({"defaults": {"kept_epochs": 2, "training": {"epochs": 4}}}))
    chain = [plan.tasks[name] for name in names(plan, "/each layer/1/epoch/")]
    assert len(chain) == 4
    assert chain[0].inputs == {}
    last = chain[3].inputs
    assert last["weights"].task == last["optimizer"].task == chain[2].name
    assert [output.task for output in last["pools"]] == [chain[1].name, chain[2].name]
    plain = plan.tasks[names(plan, "/none/0/epoch/")[2]]
    assert list(plain.inputs["pools"]) == []


def test_whole_seeds_come_first_and_the_baseline_before_those_that_are_fed_its_images():
    plan = plan_of(spec({}))
    measures = names(plan, "/measures/0003")
    assert [name.split("/")[-3] for name in measures] == ["0"] * 8 + ["1"] * 8
    assert measures[0].split("/")[3] == "weight decay"
    assert "attacks" not in plan.tasks[measures[0]].inputs
    assert all(plan.tasks[name].inputs["attacks"].task == measures[0] for name in measures[1:8])
    assert plan.tasks[measures[8]].publish == {"hardening": "hardening", "models": "models"}


def test_the_measures_of_an_epoch_are_a_task_so_a_kill_loses_one_epoch_s():
    plan = plan_of(spec({"curve_images": 7, "images": 10, "certified": 4, "curve_certified": 2}))
    one, two, last = (plan.tasks[name] for name in names(plan, "/pgd/1/measures/"))
    for number, task in enumerate((one, two, last), start=1):
        epoch = f"hardening/mnist-sample/net/pgd/1/epoch/{number:04d}"
        assert {task.inputs[name].task for name in ("weights", "clock")} == {epoch}
    assert [task.parameters["images"] for task in (one, two, last)] == [7, 7, 10]
    assert [task.parameters["certified"] for task in (one, two, last)] == [2, 2, 4]
    plain = plan_of(spec({})).tasks[one.name]
    assert plain.parameters["certified"] == 0
    assert one.publish == {"hardening": "hardening"}


def test_hardened_networks_are_models_for_later_stages_unless_they_are_trials():
    both = {"units": {"k": 2, "rows": 50}, "blind_spots": {"images": 4}, "transfer": {}}

    def searched(hardening):
        plan = plan_of(spec({"variants": {"weight decay": {}, "pgd": {"method": "pgd"}}} | hardening, **both))
        return {task.name.split("/")[2] for task in plan if task.name.startswith("search/")}

    assert searched({}) == {"net", "net, weight decay", "net, pgd"}
    assert searched({"joined": ["pgd"]}) == {"net", "net, pgd"}
    assert searched({"held_out": 100}) == {"net"}


def test_a_variant_takes_what_it_leaves_out_from_the_defaults():
    base = HardeningVariant(weight=0.2, new_per_epoch=7, training={"epochs": 3, "weight_decay": 1e-4})
    one = HardeningVariant(method="pools", weight=0.4, training={"epochs": 9}).over(base)
    assert one.options(("input",)) == HardeningOptions("pools", ("input",), weight=0.4, new_per_epoch=7)
    assert one.training == {"epochs": 9, "weight_decay": 1e-4}


@pytest.mark.parametrize(
    ("hardening", "told"),
    [
        ({"models": ["nett"]}, "hardening.models: .*nett.*net"),
        ({"baseline": "wd"}, "baseline: .*wd"),
        ({"joined": ["pdg"]}, "joined: .*pdg.*pgd"),
        ({"seeds": [1, 1]}, "named twice"),
        ({"held_out": 50, "joined": ["pgd"]}, "trials, which no other stage takes"),
        ({"variants": {"weight decay": {"method": "poools"}}}, "poools"),
        ({"variants": {"weight decay": {"weight": 2.0}}}, "weight = 2.0"),
        ({"variants": {"weight decay": {"training": {"epoch": 2}}}}, "epochs"),
        ({"variants": {"weight decay": {"method": "pools", "layers": []}}}, "layers is empty"),
        ({"images": 10**6}, "hardening.images is 1000000"),
        ({"held_out": 8000}, "nothing of 'mnist-sample' is left to train on"),
        ({"held_out": 20, "images": 30}, "20 are held out"),
    ],
)
def test_what_cannot_be_planned_is_said_with_its_key(hardening, told):
    with pytest.raises(SpecError, match=told):
        plan_of(spec(hardening))


def test_a_model_that_is_trained_on_a_part_is_refused():
    body = {"models": {"net": NET | {"train_part": "1 of 2"}}}
    with pytest.raises(SpecError, match=r"trained on a part .*1 of 2"):
        plan_of(spec({}, **body))


def test_the_row_of_a_hardened_network_is_where_its_last_measures_publish_it():
    later = {"blind_spots": {"images": 4}, "transfer": {}, "paper": {}}
    plan = plan_of(spec({"joined": ["pgd"], "seeds": [0]}, **later))
    read = [output for task in plan if task.name.startswith("paper/") for output in task.inputs["models"]]
    assert names(plan, "/pgd/0/measures/")[-1] in {output.task for output in read}
    assert all(plan.tasks[output.task].publish[output.name] == "models" for output in read)
