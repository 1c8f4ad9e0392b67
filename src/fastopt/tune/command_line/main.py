"""The commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from fastopt import tune
from fastopt.tune.command_line.text import clean, describe, list_studies, list_trials
from fastopt.tune.ledger.database import spare
from fastopt.tune.space.trial import note_title

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except BrokenPipeError:  # of `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ImportError, OSError, TypeError, ValueError) as error:
        lines = [clean(line, 2000) for line in str(error).splitlines()]
        print("fastopt:", "\n".join(lines), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastopt",
        description="Look at the studies of fastopt.tune in a file, while they run or afterwards.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        made.add_argument("file", metavar="FILE", help="a study's file")
        if command is not _studies:
            made.add_argument("--name", help="which study, if the file holds several")
        return made

    add("studies", _studies, "List the studies in a file.")
    show = add("show", _show, "Show what a study searches, its best trials and its failures.")
    show.add_argument("--trials", type=_count, default=20, metavar="N", help="how many (20)")
    best = add("best", _best, "Print the best trial's value and params, or those of the front.")
    best.add_argument("--json", action="store_true", help="as JSON")
    report = add("report", _report, "Write one HTML page about a study; needs matplotlib.")
    report.add_argument("page", metavar="PAGE", help="the file to write")
    export = add("export", _export, "Write a study for other programs; - is the terminal.")
    kind = export.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", metavar="OUT", help="its trials as a table")
    kind.add_argument("--json", metavar="OUT", help="its space and trials; import reads that")
    read = add("import", _import, "Add the trials of another file to a study.")
    kind = read.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", metavar="IN", help="a table; the study must be there")
    kind.add_argument("--json", metavar="IN", help="what export wrote; the study is made if absent")
    watch = add("watch", _watch, "Show a study in the browser while it runs, on this machine only.")
    watch.add_argument("--port", type=int, default=0, help="by default any that is free")
    return parser


def _studies(options: argparse.Namespace) -> None:
    def opened(name: str) -> Any:
        try:
            return tune.open(options.file, name)
        except ValueError as error:
            return error

    names = tune.studies(options.file)
    print(list_studies((name, opened(name)) for name in names))


def _show(options: argparse.Namespace) -> None:
    with tune.open(options.file, options.name) as study:
        print(describe(study))
        if study.trials:
            print(f"\n{list_trials(study, options.trials)}")


def _best(options: argparse.Namespace) -> None:
    with tune.open(options.file, options.name) as study:
        several = len(study.directions) > 1
        found = study.front if several else [study.best]
        if options.json:
            facts = [_facts(trial, several) for trial in found]
            text = json.dumps(facts if several else facts[0], default=_plain)
            # Other programs read no NaN and no infinities, which notes and choices may be.
            print(json.dumps(json.loads(text, parse_constant=lambda name: None)))
            return
        for i, trial in enumerate(found):
            result = ", ".join(map(repr, trial.objectives)) if several else repr(trial.value)
            print(f"{chr(10) * (i > 0)}{result} in trial {trial.number}")
            notes = [(note_title(n, trial.params), fact) for n, fact in trial.notes.items()]
            for name, value in (*trial.params.items(), *notes):
                shown = repr(value) if isinstance(value, float) else clean(value, 2000)
                print(f"{clean(name, 200)} = {shown}")


def _plain(choice: Any) -> Any:
    return choice.item() if hasattr(choice, "item") else str(choice)


def _facts(trial: tune.Trial, several: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"number": trial.number}
    facts |= {"objectives": trial.objectives} if several else {"value": trial.value}
    if trial.constraints:
        facts["constraints"] = trial.constraints
    return {**facts, "params": trial.params, "notes": trial.notes}


def _report(options: argparse.Namespace) -> None:
    with tune.open(options.file, options.name) as study:
        study.report(options.page)


@contextmanager
def _file(path: str, mode: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdin if mode == "r" else sys.stdout
        return
    # Spreadsheets write a byte order mark. Texts may hold what UTF-8 cannot.
    encoding, errors = ("utf-8-sig", "strict") if mode == "r" else ("utf-8", "backslashreplace")
    with open(path, mode, encoding=encoding, errors=errors, newline="") as file:
        yield file


def _export(options: argparse.Namespace) -> None:
    from fastopt.tune.command_line.exchange import write_csv, write_json

    out = options.csv or options.json
    with tune.open(options.file, options.name) as study:
        spare(study.storage, out)
        with _file(out, "w") as file:
            if options.csv:
                write_csv(study.space.names, len(study.directions), study.trials, file)
            else:
                write_json(study, file)


def _import(options: argparse.Namespace) -> None:
    from fastopt.tune.command_line.exchange import read_csv, read_json

    with _file(options.csv or options.json, "r") as file:
        if options.csv:
            with tune.open(options.file, options.name, writable=True) as study:
                _add(study, list(read_csv(study.space, len(study.directions), file)))
            return
        content, space, trials = read_json(file)
    from fastopt.tune.strategies.by_name import restore_strategy

    facts: dict[str, Any] = {name: content[name] for name in ("directions", "seed")}
    name = options.name or content["name"]
    strategy = restore_strategy(content["strategy"])
    with tune.Study(space, strategy=strategy, storage=options.file, name=name, **facts) as study:
        _add(study, [trial for trial in trials if trial.state != "running"])


def _add(study: tune.Study, trials: Sequence[tune.Trial]) -> None:
    study._add_all(trials)
    print(f"{len(trials)} trials added to {clean(study.name, 200)!r}", file=sys.stderr)


def _watch(options: argparse.Namespace) -> None:
    from fastopt.tune.watching.server import serve

    serve(options.file, options.name, options.port, partial(print, flush=True))
