"""Commands that look after a run's folder: verify, prune."""

from intriguing.cli.app import Json, RunFolder, command
from intriguing.cli.terminal import heard_or_not, print_json, write
from intriguing.errors import StoreError


@command("verify outputs/demo", "verify outputs/demo --json")
def verify_command(folder: RunFolder, *, as_json: Json = False) -> int:
    """Hash every stored output and table of a run, and name what is damaged; exit code 1 if anything is."""
    from intriguing.basics.folders.bucket import place_at
    from intriguing.engine.verify import verify

    verification = verify(place_at(folder))
    with heard_or_not():
        if as_json:
            print_json(vars(verification))
        else:
            write("\n".join([*verification.damaged, verification.summary()]))
    return 1 if verification.damaged else 0


@command("prune outputs/demo", "prune outputs/mine")
def prune_command(folder: RunFolder) -> int:
    """Remove from the store what the run's plan no longer names. Nothing that the run names is executed."""
    from intriguing.basics.folders.bucket import place_at
    from intriguing.basics.folders.files import writing
    from intriguing.basics.folders.saved_plan import read_saved_plan
    from intriguing.engine.driver import prune
    from intriguing.engine.storage.lock import locked
    from intriguing.stats.findings import counted

    run_folder = place_at(folder)
    read_saved_plan(run_folder)
    with writing(run_folder, "Nothing was removed."), locked(run_folder):
        saved = read_saved_plan(run_folder)
        if len(saved.fingerprints) != saved.tasks:
            raise StoreError(
                f"{run_folder}/plan.json lists {len(saved.fingerprints):,} of {saved.tasks:,} tasks, so nothing is "
                "removed. Run the spec again: it is written anew."
            )
        count, size, kept = prune(run_folder)
    verb = "stays: it holds" if kept == 1 else "stay: they hold"
    stay = f"; {counted(kept, 'folder')} of the store {verb} files that are not the run's" if kept else ""
    write(f"{counted(count, 'output')} removed, {size / 1e6:.1f} MB{stay}")
    return 0
