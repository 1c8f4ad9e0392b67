"""Studies as JSON and as CSV, for other programs and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from fastopt.tune.ledger.encoding import name_strategy, params_from_json, params_to_json
from fastopt.tune.ledger.restore import pack_space, unpack_space
from fastopt.tune.space import Categorical, Space, Trial

__all__ = ["read_csv", "read_json", "write_csv", "write_json"]

FORMAT = "fastopt study"
VERSION = 1
# Of a trial as JSON, besides its params.
FIELDS = ("number", "state", "value", "error", "values", "notes", "started", "finished")


def write_json(study: Any, file: IO[str]) -> None:
    """All of a study: what it searches, and its trials."""
    space = study.space
    trials = [
        {
            **{name: getattr(trial, name) for name in FIELDS},
            "params": json.loads(params_to_json(space, trial.params)),
        }
        for trial in study.trials
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": study.name,
        "direction": study.direction,
        "strategy": name_strategy(study.strategy),
        "seed": study.seed,
        "space": pack_space(space),
        "trials": trials,
    }
    json.dump(content, file, indent=1)
    file.write("\n")


def read_json(file: IO[str]) -> tuple[dict[str, Any], Space, list[Trial]]:
    """What :func:`write_json` wrote: the whole, and of it the space and the trials.

    Raises
    ------
    ValueError
        If it is not that.
    """
    try:
        content = json.load(file)
        if content["format"] != FORMAT or content["version"] > VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']!r}")
        space = unpack_space(content["space"])
        trials = [
            Trial(
                params=params_from_json(space, json.dumps(record["params"])),
                **{name: record[name] for name in FIELDS},
            )
            for record in content["trials"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a study that fastopt has written as JSON: {error!r}") from error
    return content, space, trials


def write_csv(names: Iterable[str], trials: Iterable[Trial], file: IO[str]) -> None:
    """One line for each trial: ``param_NAME`` for params, ``note_NAME`` for notes, as JSON."""
    names, trials = list(names), list(trials)
    notes = list(dict.fromkeys(name for trial in trials for name in trial.notes))
    header = ["number", "state", "value"]
    header += [f"param_{name}" for name in names] + [f"note_{name}" for name in notes]
    header += ["error", "started", "finished", "seconds"]
    writer = csv.writer(file)
    writer.writerow(header)
    for trial in trials:
        writer.writerow(
            [
                trial.number,
                trial.state,
                trial.value,
                *(trial.params.get(name) for name in names),
                *(json.dumps(trial.notes[n]) if n in trial.notes else None for n in notes),
                trial.error,
                trial.started,
                trial.finished,
                trial.seconds,
            ]
        )


def read_csv(space: Space, file: IO[str]) -> Iterator[Trial]:
    """The trials that have ended of a table with columns ``param_NAME`` and ``value``.

    ``state``, ``error`` and ``note_NAME`` are read too, other columns are not. Choices are told
    apart by their text.

    Raises
    ------
    ValueError
        For a column that is missing, or a cell that is not of its parameter; it names the line.
    """
    reader = csv.DictReader(file)
    header = reader.fieldnames or []
    missing = [name for name in space.names if f"param_{name}" not in header]
    if missing or "value" not in header:
        wanted = ", ".join(f"param_{name}" for name in missing) or "value"
        raise ValueError(f"the table has no column {wanted}; it has {', '.join(header) or 'none'}")
    for row in reader:
        try:
            trial = _read_row(space, row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
        if trial is not None:
            yield trial


def _read_row(space: Space, row: Mapping[str, Any]) -> Trial | None:
    state = row.get("state") or ("done" if row["value"] else "failed")
    if state == "running":
        return None
    params = {
        name: _read_cell(parameter, cell)
        for name, parameter in space.parameters.items()
        if (cell := row[f"param_{name}"]) or _is_choice(parameter, cell)
    }
    notes = {
        name.removeprefix("note_"): json.loads(cell)
        for name, cell in row.items()
        if name and name.startswith("note_") and cell
    }
    value = float(row["value"]) if row["value"] else None
    number = int(row.get("number") or 0)
    return Trial(number, space.check(params), value, state, row.get("error") or None, notes=notes)


def _is_choice(parameter: Any, cell: str) -> bool:
    return isinstance(parameter, Categorical) and cell in map(_text, parameter.choices)


def _text(choice: Any) -> str:
    return "" if choice is None else str(choice)


def _read_cell(parameter: Any, cell: str) -> Any:
    if not isinstance(parameter, Categorical):
        return float(cell)
    for choice in parameter.choices:
        if _text(choice) == cell:
            return choice
    raise ValueError(f"{cell!r} is not the text of one of the choices {parameter.choices!r}")
