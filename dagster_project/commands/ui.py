"""`make ui`: Dagster webserver and daemon, and MLflow, on the loopback interface until Ctrl-C."""

import argparse
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

from dagster_project.commands.instance import prepare_instance
from plumbline.storage.code_identity import ROOT
from resources.home import Home

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the three services, wait until they answer, and stop all when one ends or on Ctrl-C."""
    options = _parser().parse_args(arguments)
    home = Home.from_environment()
    home.profile()
    with prepare_instance(home):
        pass
    services = _commands(home, options)
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    logs = home.layout.profile_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in services.items():
            with (logs / f"{name}.log").open("ab") as log:
                running[name] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        pages = {
            "Dagster": f"http://{HOST}:{options.port}",
            "MLflow": f"http://{HOST}:{options.mlflow_port}",
        }
        for page, url in pages.items():
            _wait_until_answering(page, url, running, logs)
            print(f"{page:8s} {url}", flush=True)
        print(f"Profile  {home.profile_name}; logs in {logs}. Ctrl-C stops everything.", flush=True)
        while all(process.poll() is None for process in running.values()):
            time.sleep(0.5)
        ended = next(name for name, process in running.items() if process.poll() is not None)
        print(f"{ended} ended; see {logs / (ended + '.log')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(running.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make ui", description=__doc__)
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("PLUMBLINE_UI_PORT", "3000")),
        help="Dagster's port",
    )
    parser.add_argument(
        "--mlflow-port",
        type=int,
        default=int(os.environ.get("PLUMBLINE_MLFLOW_PORT", "5000")),
        help="MLflow's port",
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="for auditors: nothing can be launched or changed in Dagster, and no daemon runs",
    )
    return parser


def _commands(home: Home, options: argparse.Namespace) -> dict[str, list[str]]:
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    webserver = [str(BIN / "dagster-webserver"), "-h", HOST, "-p", str(options.port), *workspace]
    home.layout.mlflow_db.parent.mkdir(parents=True, exist_ok=True)
    mlflow = [
        str(BIN / "mlflow"),
        "server",
        "--host",
        HOST,
        "--port",
        str(options.mlflow_port),
        "--workers",
        "1",
    ]
    mlflow += [
        "--backend-store-uri",
        home.layout.mlflow_url,
        "--default-artifact-root",
        str(home.layout.mlflow_artifacts),
    ]
    if options.read_only:
        return {"webserver": [*webserver, "--read-only"], "mlflow": mlflow}
    return {
        "webserver": webserver,
        "daemon": [str(BIN / "dagster-daemon"), "run", *workspace],
        "mlflow": mlflow,
    }


def _wait_until_answering(
    page: str,
    url: str,
    running: dict[str, subprocess.Popen[bytes]],
    logs: Path,
    seconds: float = 120,
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, process in running.items():
            if process.poll() is not None:
                tail = "\n".join(
                    (logs / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                )
                raise SystemExit(
                    f"{name} ended with exit code {process.returncode}; the end of"
                    f" {logs / (name + '.log')}:\n{tail}"
                )
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit(f"{page} did not answer on {url} within {seconds:.0f} s; see {logs}")


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        os.killpg(process.pid, signal.SIGINT)
    for process in alive:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
