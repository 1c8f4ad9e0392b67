"""TensorBoard: a callback that writes a study as event files, its HPARAMS page included."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastopt.tune import Study, Trial

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.tensorboard needs TensorBoard; install it with: "
        "pip install tensorboard",
        name="tensorboard",
    ) from error

__all__ = ["TensorBoard"]

# Bytes; file systems take 255, and a longer name of each file in it.
LONGEST_PART = 200

STATUS = {
    "done": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}


class TensorBoard:
    """A callback for :class:`fastopt.tune.Study` that writes to ``log_dir``.

    Each trial is a run, ``NAME/trial-00007`` for trial 7 of the study ``NAME``. It has the trial's
    params, a scalar ``epoch`` for every value that the objective yields, and ``value`` in the end.
    Notes that are numbers are scalars ``note/NOTE``. The run ``NAME`` has the scalar ``best`` by
    trial number. Parts of the name that would lead out of ``log_dir`` become ``_``; parts that are
    longer than file systems take end in a hash.

    Parameters
    ----------
    log_dir : str or path
        The folder that ``tensorboard --logdir`` shows.

    Examples
    --------
    >>> from fastopt import tune
    >>> from fastopt.integrations.tensorboard import TensorBoard
    >>> study = tune.Study({"x": tune.Int(0, 4)}, strategy="grid", callbacks=[TensorBoard("runs")])
    >>> study.run(lambda params: (params["x"] - 3) ** 2)
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = Path(log_dir)
        # One for each running trial, and one for the study under the key None.
        self._writers: dict[int | None, EventFileWriter] = {}

    def _folder(self, study: Study) -> Path:
        """A folder in ``log_dir``, whatever the study's name."""
        parts = study.name.replace("\0", "_").split("/")
        return self.log_dir.joinpath(*map(_part_of_path, parts))

    def _write(self, writer: EventFileWriter, summary: Summary, step: int = 0) -> None:
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _scalar(self, writer: EventFileWriter, tag: str, value: float, step: int) -> None:
        self._write(writer, Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step)

    def _session(self, writer: EventFileWriter, tag: str, **content: Any) -> None:
        data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        plugin = SummaryMetadata.PluginData(
            plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
        )
        value = Summary.Value(
            tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR
        )
        self._write(writer, Summary(value=[value]))

    def on_trial_start(self, study: Study, trial: Trial) -> None:
        """Begin a run with the trial's params."""
        folder = self._folder(study) / f"trial-{trial.number:05d}"
        writer = self._writers[trial.number] = EventFileWriter(str(folder))
        start = SessionStartInfo(group_name=folder.name, start_time_secs=time.time())
        for name, value in trial.params.items():
            item = start.hparams[name]
            if isinstance(value, bool):
                item.bool_value = value
            elif isinstance(value, (int, float)):
                item.number_value = value
            else:
                item.string_value = str(value)
        self._session(writer, metadata.SESSION_START_INFO_TAG, session_start_info=start)

    def on_report(self, study: Study, trial: Trial, step: int, value: float) -> None:
        """Write what the objective yielded."""
        self._scalar(self._writers[trial.number], "epoch", value, step)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Write value and state, and end the run."""
        writer = self._writers.pop(trial.number, None)
        if writer is not None:
            if trial.value is not None:
                self._scalar(writer, "value", trial.value, 0)
            for kind in ("objective", "constraint"):
                for i, number in enumerate(getattr(trial, f"{kind}s")):
                    self._scalar(writer, f"{kind}_{i}", number, 0)
            for name, fact in trial.notes.items():
                if isinstance(fact, (int, float)):
                    self._scalar(writer, f"note/{name}", fact, 0)
            end = SessionEndInfo(status=STATUS[trial.state], end_time_secs=time.time())
            self._session(writer, metadata.SESSION_END_INFO_TAG, session_end_info=end)
            writer.close()
        if trial.feasible and len(study.directions) == 1:
            best = study.best_value
            if None not in self._writers:
                self._writers[None] = EventFileWriter(str(self._folder(study)))
            self._scalar(self._writers[None], "best", best, trial.number)
            self._writers[None].flush()

    def on_study_end(self, study: Study) -> None:
        """Close what is open; trials that are queued again get a new file when they start."""
        while self._writers:
            self._writers.popitem()[1].close()


def _part_of_path(part: str) -> str:
    if part in ("", ".", ".."):
        return "_"
    encoded = part.encode()
    if len(encoded) <= LONGEST_PART:
        return part
    digest = sha256(encoded).hexdigest()[:12]
    return f"{encoded[: LONGEST_PART - 13].decode(errors='ignore')}-{digest}"
