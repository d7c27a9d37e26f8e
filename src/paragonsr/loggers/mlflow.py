"""Logger for MLflow."""

from typing import Any

from paragonsr.loggers.base import Image, ScalarLogger
from paragonsr.loggers.missing import missing
from paragonsr.loggers.options import LoggedRun, MlflowOptions


class MlflowLogger(ScalarLogger):
    """Logs scalars, parameters and pictures of a run to MLflow; a resumed run continues the same MLflow run.

    Args:
        options: experiment and server.
        run: its configuration is stored as an artifact.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, options: MlflowOptions, run: LoggedRun) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise missing("mlflow-skinny") from None
        import os

        local = (run.folder / "mlruns").absolute().as_uri()
        uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or local
        if uri.startswith("file:"):
            # MLflow's default is a database. A folder of files needs neither server nor schema, but must be allowed.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client: Any = MlflowClient(uri)
        self._id = self._continued(run) if run.resumed else None
        if self._id is None:
            self._id = self._begun(options.experiment, run)

    def _begun(self, experiment: str, run: LoggedRun) -> str:
        found = self._client.get_experiment_by_name(experiment)
        number = self._client.create_experiment(experiment) if found is None else found.experiment_id
        begun: str = self._client.create_run(number, run_name=run.name).info.run_id
        self._client.log_dict(begun, run.config, "config.json")
        (run.folder / "mlflow.id").write_text(begun)
        return begun

    def _continued(self, run: LoggedRun) -> str | None:
        file = run.folder / "mlflow.id"
        if not file.exists():
            return None
        known = file.read_text().strip()
        self._client.update_run(known, status="RUNNING")
        return known

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Write scalars by their tags."""
        for tag, value in values.items():
            self._client.log_metric(self._id, tag, value, step=iteration)

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Write an SR image as an artifact."""
        self._client.log_image(self._id, image, artifact_file=f"val/{name}_{iteration:06d}.png")

    def close(self) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self._id)
