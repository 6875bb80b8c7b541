"""Transfer (section 4.2, tables 2 and 4): what was found for one model is fed to all of its data set."""

from collections.abc import Iterator

from intriguing.engine.task import Output, Task
from intriguing.sweep import functions
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.blind_spots import attacked, search_name, searches
from intriguing.sweep.stages.common import Trained, dataset_resource, part_of


def transfer(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    """Tables 2 and 4: every model is fed what was made for every model of its data set."""
    attack, transfer = spec.blind_spots, spec.transfer
    if attack is None or transfer is None:
        return
    compute = {"threads": spec.compute.threads, "slots": spec.compute.slots}
    shards = searches(spec)
    for target in models:
        resources = {"dataset": dataset_resource(target.dataset), "model": target.resource}
        for i, (start, stop) in enumerate(shards):
            yield Task(
                f"clean/{target.place}/{i:05d}",
                functions.CLEAN,
                {**target.keys, **attacked(spec, start, stop), **compute},
                resources=resources,
                publish={"transfer": "transfer"},
                affinity=target.place,
                amount=stop - start,
                noun="fed images",
                rows={"transfer": stop - start},
            )
        for source in models:
            if source.dataset.name != target.dataset.name:
                continue
            for rule in attack.target_rules:
                for i, (start, stop) in enumerate(shards):
                    search = search_name(source, rule, i)
                    amount = (stop - start) * len(transfer.kinds)
                    yield Task(
                        f"transfer/{source.place}/{rule}/{i:05d}/to/{part_of(target.name)}/{target.seed}",
                        functions.FEED,
                        {
                            **target.keys,
                            **compute,
                            "source_model": source.name,
                            "source_seed": source.seed,
                            "split": attack.split,
                            "kinds": list(transfer.kinds),
                            "amplified_rms": transfer.amplified_rms,
                            "seed": spec.seed,
                        },
                        {"distortions": Output(search, "distortions"), "adversarial": Output(search, "adversarial")},
                        resources,
                        {"transfer": "transfer"},
                        affinity=target.place,
                        amount=amount,
                        noun="fed images",
                        rows={"transfer": amount},
                    )
