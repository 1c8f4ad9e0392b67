"""What TensorBoard, MLflow and Weights & Biases hold after a study, read back from their files."""

import json
import struct
import time
import warnings

import pytest

from fastopt import tune

# The libraries warn of each other's deprecated functions.
pytestmark = pytest.mark.filterwarnings("default")
# The warning that a tracker has failed; in a test that expects none it is an error.
FAILED_TRACKER = "callback .* the study goes on"

SPACE = {
    "rule": tune.Categorical(["adam", "nag"]),
    "flag": tune.Categorical([True]),
    "x": tune.Int(0, 1),
}
ERROR = "ValueError: diverged"


def objective(params):
    if params["x"] == 1 and params["rule"] == "nag":
        raise ValueError("diverged")
    tune.note(accuracy=0.5, split=["a", "b"])
    yield 3.0
    yield 1.0 + params["x"]


@pytest.fixture(scope="module", params=["database", "files"])
def mlflow_uri(request, tmp_path_factory):
    """One store of each kind for all tests: MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "database":
            yield f"sqlite:///{folder}/mlflow.db"
        else:
            patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
            yield (folder / "mlruns").as_uri()


def run(tracker, **options):
    study = tune.Study(SPACE, strategy="grid", name="demo", callbacks=[tracker])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", FAILED_TRACKER)
        study.run(objective, **options)
    assert [trial.state for trial in study.trials] == ["done", "done", "done", "failed"]
    return study


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def scalars(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_holds_params_epochs_values_and_the_best(tmp_path):
    from tensorboard.plugins.hparams import api_pb2, metadata

    from fastopt.integrations.tensorboard import TensorBoard

    study = run(TensorBoard(tmp_path))

    best = read_events(tmp_path / "demo")
    assert scalars(best, "best") == [(0, 1.0), (1, 1.0), (2, 1.0)]
    for trial in study.trials:
        events = read_events(tmp_path / "demo" / f"trial-{trial.number:05d}")
        content = events.summary_metadata
        start = metadata.parse_session_start_info_plugin_data(
            content[metadata.SESSION_START_INFO_TAG].plugin_data.content
        )
        end = metadata.parse_session_end_info_plugin_data(
            content[metadata.SESSION_END_INFO_TAG].plugin_data.content
        )
        assert start.hparams["rule"].string_value == trial.params["rule"]
        assert start.hparams["x"].number_value == trial.params["x"]
        assert start.hparams["flag"].bool_value is True
        if trial.state == "done":
            assert end.status == api_pb2.STATUS_SUCCESS
            assert scalars(events, "epoch") == list(enumerate(trial.values))
            assert scalars(events, "value") == [(0, trial.value)]
            assert scalars(events, "note/accuracy") == [(0, 0.5)]
            assert "note/split" not in events.Tags()["scalars"]
        else:
            assert end.status == api_pb2.STATUS_FAILURE
            assert events.Tags()["scalars"] == []


def test_mlflow_holds_a_parent_run_and_a_nested_one_for_each_trial(mlflow_uri):
    from mlflow.tracking import MlflowClient

    from fastopt.integrations.mlflow import MLflow

    study = run(MLflow(mlflow_uri, experiment="digits"))
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.run_name == "demo"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["strategy"] == repr(study.strategy)
    best = client.get_metric_history(parent.info.run_id, "best")
    assert [(metric.step, metric.value) for metric in best] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    nested = {int(run.data.tags["trial"]): run for run in runs if run is not parent}
    assert sorted(nested) == [0, 1, 2, 3]
    for trial in study.trials:
        run_ = nested[trial.number]
        assert run_.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run_.data.params == {name: str(value) for name, value in trial.params.items()}
        if trial.state == "done":
            assert run_.info.status == "FINISHED"
            assert run_.data.metrics["value"] == trial.value
            assert run_.data.metrics["note/accuracy"] == 0.5
            assert run_.data.tags["note/split"] == "['a', 'b']"
            epochs = client.get_metric_history(run_.info.run_id, "epoch")
            assert [(m.step, m.value) for m in epochs] == list(enumerate(trial.values))
        else:
            assert run_.info.status == "FAILED"
            assert run_.data.tags["error"].startswith(ERROR)
            assert run_.data.metrics == {}


def wandb_records(path):
    """The records of a run's file: LevelDB's log format after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, whole = path.read_bytes(), 7, b""
    assert data[:4] in (b":W&B", b"")
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        if position + 7 + length > len(data):
            return
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            yield Record.FromString(whole)
            whole = b""


def records_of_ended_run(folder):
    """All records of a run. W&B's own process writes the last ones after ``finish`` returned."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        records = [record for path in folder.glob("*.wandb") for record in wandb_records(path)]
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"{folder} has no run that ended")


def items(entries):
    return {
        entry.key or ".".join(entry.nested_key): json.loads(entry.value_json) for entry in entries
    }


def test_wandb_holds_a_run_of_the_group_for_each_trial(tmp_path):
    import wandb

    from fastopt.integrations.wandb import WandB

    settings = wandb.Settings(silent=True, console="off")
    own = {"batch_size": 8, "x": "of no trial"}
    tracker = WandB("digits", mode="offline", dir=str(tmp_path), settings=settings, config=own)
    study = run(tracker)
    found = {}
    for folder in tmp_path.glob("wandb/offline-run-*"):
        config, history, summary, code, name = {}, [], {}, None, None
        for record in records_of_ended_run(folder):
            if record.WhichOneof("record_type") == "run":
                assert record.run.project == "digits"
                assert record.run.run_group == "demo"
                assert record.run.job_type == "trial"
                name = record.run.display_name
                config |= items(record.run.config.update)
            history += [items(record.history.item)] if record.history.item else []
            summary |= items(record.summary.update)
            if record.WhichOneof("record_type") == "exit":
                code = record.exit.exit_code
        found[name] = config, [row["epoch"] for row in history], summary, code
    assert sorted(found) == [f"demo-{number}" for number in range(4)]
    for trial in study.trials:
        config, epochs, summary, code = found[f"demo-{trial.number}"]
        assert {name: config[name] for name in trial.params} == trial.params
        assert config["batch_size"] == 8
        assert epochs == trial.values
        assert summary["state"] == trial.state
        assert summary["value"] == trial.value
        assert summary.get("note/accuracy") == trial.notes.get("accuracy")
        assert (code, summary["error"] is None) == ((0, True), (1, False))[trial.state == "failed"]


def broken_tensorboard(tmp_path):
    from fastopt.integrations.tensorboard import TensorBoard

    (tmp_path / "file").write_text("in the way")
    return TensorBoard(tmp_path / "file")


def broken_mlflow(tmp_path):
    from fastopt.integrations.mlflow import MLflow

    return MLflow("unknown://store")


def broken_wandb(tmp_path):
    from fastopt.integrations.wandb import WandB

    return WandB("digits", mode="no such mode")


@pytest.mark.parametrize("broken", [broken_tensorboard, broken_mlflow, broken_wandb])
def test_tracker_that_fails_is_warned_of_once_and_the_study_goes_on(broken, tmp_path):
    study = tune.Study(SPACE, strategy="grid", callbacks=[broken(tmp_path)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study.run(objective)
        study.run(objective)
    assert [trial.state for trial in study.trials] == ["done", "done", "done", "failed"]
    said = [each for each in caught if "the study goes on" in str(each.message)]
    assert len(said) == 1
    assert said[0].category is RuntimeWarning


def interrupt(callback):
    """Interrupt a study in its first trial, and finish it."""
    study = tune.Study(SPACE, strategy="grid", callbacks=[callback])

    def interrupted(params):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(interrupted)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", FAILED_TRACKER)
        study.run(objective)
    assert [trial.number for trial in study.finished] == [0, 1, 2, 3]


def test_interrupted_trial_gets_a_second_event_file(tmp_path):
    from fastopt.integrations.tensorboard import TensorBoard

    interrupt(TensorBoard(tmp_path))
    files = [len(list((tmp_path / "study" / f"trial-0000{i}").iterdir())) for i in range(4)]
    assert files == [2, 1, 1, 1]


def test_interrupted_run_of_mlflow_is_killed_and_started_again(mlflow_uri):
    from mlflow.tracking import MlflowClient

    from fastopt.integrations.mlflow import MLflow

    interrupt(MLflow(mlflow_uri, experiment="interrupted"))
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("interrupted").experiment_id
    states = sorted(run.info.status for run in client.search_runs([experiment]))
    # Two runs of the study, one of the interrupted trial, and one of each of the four trials
    assert states == ["FAILED", *["FINISHED"] * 5, "KILLED"]


def test_interrupted_run_of_wandb_ends_as_a_failure_and_the_trial_gets_another(tmp_path):
    import wandb

    from fastopt.integrations.wandb import WandB

    settings = wandb.Settings(silent=True, console="off")
    interrupt(WandB("digits", mode="offline", dir=str(tmp_path), settings=settings))
    ends = []
    for folder in tmp_path.glob("wandb/offline-run-*"):
        records = {each.WhichOneof("record_type"): each for each in records_of_ended_run(folder)}
        ends.append((records["run"].run.display_name, records["exit"].exit.exit_code))
    # The first trial was interrupted, the last one fails.
    expected = [("study-0", 0), ("study-0", 1), ("study-1", 0), ("study-2", 0), ("study-3", 1)]
    assert sorted(ends) == expected


def test_tensorboard_writes_nowhere_but_into_its_folder(tmp_path):
    from fastopt.integrations.tensorboard import TensorBoard

    for name in ("../../up", str(tmp_path / "absolute"), "a/b", ".", "nul\0"):
        study = tune.Study(
            {"x": tune.Int(0, 1)},
            strategy="grid",
            name=name,
            callbacks=[TensorBoard(tmp_path / "in" / "logs")],
        )
        study.run(lambda params: params["x"])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["logs"]
    assert (tmp_path / "in" / "logs" / "a" / "b" / "trial-00001").is_dir()
    assert (tmp_path / "in" / "logs" / "_" / "_" / "up" / "trial-00001").is_dir()


def test_tensorboard_writes_studies_whose_names_are_longer_than_those_of_files(tmp_path):
    from fastopt.integrations.tensorboard import TensorBoard

    for last in "ab":
        study = tune.Study(
            {"x": tune.Int(0, 1)},
            strategy="grid",
            name="ü" * 200 + last,
            callbacks=[TensorBoard(tmp_path)],
        )
        study.run(lambda params: params["x"])
    assert len([path for path in tmp_path.iterdir() if (path / "trial-00001").is_dir()]) == 2


def test_mlflow_gets_every_param_whatever_its_name(mlflow_uri):
    from mlflow.tracking import MlflowClient

    from fastopt.integrations.mlflow import MLflow

    names = ["f(x)", "f[x]", "a/b", "../up", "/root", "a//b", ".", "", "ü", "x" * 300]
    names += [f"p{i}" for i in range(150)]
    space = {name: tune.Int(i, i) for i, name in enumerate(names)}
    tracker = MLflow(mlflow_uri, experiment="names")
    tune.Study(space, strategy="grid", callbacks=[tracker]).run(lambda params: 0.0)
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("names").experiment_id
    (trial,) = [r for r in client.search_runs([experiment]) if "trial" in r.data.tags]
    assert sorted(map(int, trial.data.params.values())) == list(range(len(names)))
    assert trial.data.params["f_x_"] == "0"
    assert trial.data.params["a/b"] == "2"


def test_trackers_hold_objectives_and_constraints_and_no_best_where_there_is_none(
    tmp_path, mlflow_uri
):
    from mlflow.tracking import MlflowClient

    from fastopt.integrations.mlflow import MLflow
    from fastopt.integrations.tensorboard import TensorBoard

    trackers = [MLflow(mlflow_uri, experiment="several"), TensorBoard(tmp_path)]
    study = tune.Study(
        SPACE, strategy="grid", directions=["minimize", "maximize"], callbacks=trackers
    )
    alone = tune.Study(SPACE, strategy="grid", name="alone", callbacks=trackers)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", FAILED_TRACKER)
        study.run(lambda params: tune.Result((params["x"], 1.0), [0.5]))
        alone.run(lambda params: tune.Result(params["x"], [0.5]))
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("several").experiment_id
    runs = client.search_runs([experiment])
    metrics = [run.data.metrics for run in runs if "trial" in run.data.tags]
    assert sum(found.get("objective_1") == 1.0 for found in metrics) == 4
    assert all(found["constraint_0"] == 0.5 for found in metrics)
    assert not any("best" in run.data.metrics for run in runs)
    for trial in study.trials:
        events = read_events(tmp_path / "study" / f"trial-{trial.number:05d}")
        assert scalars(events, "objective_0") == [(0, float(trial.params["x"]))]
        assert scalars(events, "objective_1") == [(0, 1.0)]
        assert scalars(events, "constraint_0") == [(0, 0.5)]
    for trial in alone.trials:
        events = read_events(tmp_path / "alone" / f"trial-{trial.number:05d}")
        assert scalars(events, "constraint_0") == [(0, 0.5)]
    # Only a best value has events in the folder of a study itself.
    for name in ("study", "alone"):
        assert all(path.is_dir() for path in (tmp_path / name).iterdir())


class StopAtOnce:
    """A scheduler that stops every trial of x = 1 at its first value."""

    def decide(self, moment):
        return "stop" if moment.trial.params["x"] == 1 else "go"


def test_trackers_say_which_trials_were_stopped_early(tmp_path, mlflow_uri):
    from mlflow.tracking import MlflowClient

    from fastopt.integrations.mlflow import MLflow
    from fastopt.integrations.tensorboard import TensorBoard

    def training(params):
        yield from (3.0, 2.0)

    trackers = [MLflow(mlflow_uri, experiment="stopped"), TensorBoard(tmp_path)]
    study = tune.Study({"x": tune.Int(0, 1)}, strategy="grid", callbacks=trackers)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", FAILED_TRACKER)
        study.run(training, scheduler=StopAtOnce())
    assert [trial.state for trial in study.trials] == ["done", "stopped"]
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("stopped").experiment_id
    runs = [run for run in client.search_runs([experiment]) if "trial" in run.data.tags]
    states = {run.data.tags["trial"]: run.info.status for run in runs}
    assert states == {"0": "FINISHED", "1": "KILLED"}
    for trial in study.trials:
        events = read_events(tmp_path / "study" / f"trial-{trial.number:05d}")
        assert scalars(events, "epoch") == list(enumerate(trial.values))
        assert scalars(events, "value") == [(0, trial.value)]


def test_mlflow_records_to_its_own_address_and_leaves_the_active_run_alone(mlflow_uri):
    import mlflow

    from fastopt.integrations.mlflow import MLflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_uri)
    try:
        mlflow.set_experiment("mine")
        with mlflow.start_run() as mine:
            run(MLflow(experiment="beside"))
            assert mlflow.active_run().info.run_id == mine.info.run_id
            assert mlflow.active_run().info.status == "RUNNING"
        kept = mlflow.get_run(mine.info.run_id)
        experiment = mlflow.get_experiment_by_name("beside").experiment_id
        beside = mlflow.MlflowClient().search_runs([experiment])
    finally:
        mlflow.set_tracking_uri(before)
    assert (kept.data.params, kept.data.metrics) == ({}, {})
    assert len(beside) == 1 + 4
    assert mine.info.run_id not in {run.data.tags.get("mlflow.parentRunId") for run in beside}
