"""Studies as JSON and as CSV, for other programs and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from fastopt.tune.ledger.encoding import name_strategy, params_from_json, params_to_json
from fastopt.tune.ledger.restore import pack_space, unpack_space
from fastopt.tune.reporting.table import result_columns
from fastopt.tune.space import Categorical, Space, Trial

__all__ = ["read_csv", "read_json", "write_csv", "write_json"]

FORMAT = "fastopt study"
VERSION = 1
# Python's limit of 131,072 characters is less than a list in a note may have.
LONGEST_CELL = 2**31 - 1
# Of a trial as JSON, besides its params.
FIELDS = ("number", "state", "value", "error", "values", "notes", "started", "finished")
# The same, left out where they are empty, as in the files of earlier versions.
LATER_FIELDS = ("objectives", "constraints")


def _directions(directions: Sequence[str]) -> dict[str, Any]:
    return {"direction": directions[0]} if len(directions) == 1 else {"directions": directions}


def _lineage(space: Space, trial: Trial) -> list[dict[str, Any]]:
    return [
        {**change, "params": json.loads(params_to_json(space, change["params"]))}
        for change in trial.lineage
    ]


def write_json(study: Any, file: IO[str]) -> None:
    """What a study searches, and its trials."""
    space = study.space
    trials = [
        {
            **{name: getattr(trial, name) for name in FIELDS},
            **{name: facts for name in LATER_FIELDS if (facts := getattr(trial, name))},
            **({"lineage": _lineage(space, trial)} if trial.lineage else {}),
            "params": json.loads(params_to_json(space, trial.params)),
        }
        for trial in study.trials
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": study.name,
        **_directions(study.directions),
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
        if "directions" not in content:
            content["directions"] = [content["direction"]]
        if missing := {"name", "strategy", "seed"} - content.keys():
            raise KeyError(*sorted(missing))
        space = unpack_space(content["space"])
        trials = [
            Trial(
                params=params_from_json(space, json.dumps(record["params"])),
                **{name: record[name] for name in FIELDS},
                **{name: record.get(name, []) for name in LATER_FIELDS},
            )
            for record in content["trials"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a study that fastopt has written as JSON: {error!r}") from error
    return content, space, trials


def write_csv(
    names: Iterable[str], n_objectives: int, trials: Iterable[Trial], file: IO[str]
) -> None:
    """One line for each trial: ``param_NAME`` for params, ``note_NAME`` for notes, as JSON.

    The result is ``value``, or ``objective_0`` and so on; constraints are ``constraint_0`` ….
    """
    names, trials = list(names), list(trials)
    notes = list(dict.fromkeys(name for trial in trials for name in trial.notes))
    results = result_columns(n_objectives, trials)
    header = ["number", "state", *results]
    header += [f"param_{name}" for name in names] + [f"note_{name}" for name in notes]
    header += ["error", "started", "finished", "seconds"]
    writer = csv.writer(file)
    writer.writerow(header)
    for trial, numbers in zip(trials, zip(*results.values(), strict=True), strict=True):
        writer.writerow(
            [
                trial.number,
                trial.state,
                *numbers,
                *(trial.params.get(name) for name in names),
                *(json.dumps(trial.notes[n]) if n in trial.notes else None for n in notes),
                trial.error,
                trial.started,
                trial.finished,
                trial.seconds,
            ]
        )


def read_csv(space: Space, n_objectives: int, file: IO[str]) -> Iterator[Trial]:
    """The trials that have ended of a table with columns as :func:`write_csv` has.

    ``param_NAME`` and the result must be there; ``constraint_…``, ``state``, ``error`` and
    ``note_NAME`` are read too, other columns are not. Choices are found by their text.

    Raises
    ------
    ValueError
        For a column that is missing, or a cell that is not of its parameter or the text of two
        choices; it names the line.
    """
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(file)
    header = reader.fieldnames or []
    results = [*result_columns(n_objectives, [])]
    needed = [*(f"param_{name}" for name in space.names), *results]
    missing = [column for column in needed if column not in header]
    if missing:
        wanted = ", ".join(missing)
        raise ValueError(f"the table has no column {wanted}; it has {', '.join(header) or 'none'}")
    for row in reader:
        try:
            trial = _read_row(space, results, row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
        if trial is not None:
            yield trial


def _read_row(space: Space, results: list[str], row: Mapping[str, Any]) -> Trial | None:
    numbers = [float(row[column]) for column in results if row[column]]
    state = row.get("state") or ("done" if numbers else "failed")
    if state == "running":
        return None
    params = {
        name: _read_cell(parameter, cell)
        for name, parameter in space.parameters.items()
        if (cell := row[f"param_{name}"])
    }
    params |= _read_empty(space, params)
    notes = {
        name.removeprefix("note_"): _read_note(name, cell)
        for name, cell in row.items()
        if name and name.startswith("note_") and cell
    }
    return Trial(
        int(row.get("number") or 0),
        space.check(params),
        numbers[0] if numbers and len(results) == 1 else None,
        state,
        row.get("error") or None,
        notes=notes,
        objectives=numbers if len(results) > 1 else [],
        constraints=_read_constraints(row),
    )


def _read_note(column: str, cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        raise ValueError(
            f"{column} must be JSON, in which text stands in quotes, got {cell!r}"
        ) from None


def _read_constraints(row: Mapping[str, Any]) -> list[float]:
    given = [name for name, cell in row.items() if name and name.startswith("constraint_") and cell]
    names = [f"constraint_{i}" for i in range(len(given))]
    if {*given} != {*names}:
        wanted = ", ".join(names)
        raise ValueError(f"constraints are numbered from 0: needs {wanted}, got {', '.join(given)}")
    return [float(row[name]) for name in names]


def _read_empty(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that an empty cell stands for: None, or the empty text.

    The cell of a parameter whose condition does not hold is empty too.
    """
    choices = {
        name: _read_cell(parameter, "")
        for name, parameter in space.parameters.items()
        if name not in params
        and isinstance(parameter, Categorical)
        and "" in map(_text, parameter.choices)
    }
    if not choices:
        return {}
    (active,) = space.active([space.encode({**choices, **params})])
    return {name: choices[name] for name in choices if active[space.names.index(name)]}


def _text(choice: Any) -> str:
    # As a file in UTF-8 has it: a file name, for one, may be no text.
    return "" if choice is None else str(choice).encode("utf-8", "backslashreplace").decode()


def _read_cell(parameter: Any, cell: str) -> Any:
    if not isinstance(parameter, Categorical):
        return float(cell)
    meant = [choice for choice in parameter.choices if _text(choice) == cell]
    if not meant:
        raise ValueError(f"{cell!r} is not the text of one of the choices {parameter.choices!r}")
    if len(meant) > 1:
        both = ", ".join(map(repr, meant))
        raise ValueError(f"{cell!r} is the text of several choices, {both}; JSON keeps them apart")
    return meant[0]
