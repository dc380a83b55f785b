"""Every command of docs/collecting.md runs, in its order, against one service."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "collecting.md"
SERVE = "plumbline feedback serve\n"


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert SERVE in blocks
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PLUMBLINE_HOME": str(tmp_path / "home"),
        "PLUMBLINE_PROFILE": "collecting",
    }
    (tmp_path / "work").mkdir()
    server, outputs = None, []
    try:
        for block in blocks:
            script = block.replace("127.0.0.1:3002", f"127.0.0.1:{port}")
            if block == SERVE:
                # `exec`, so that the process that is stopped is the service and not a shell around
                # it.
                server = subprocess.Popen(
                    ["bash", "-c", f"exec {block.strip()} --port {port}"],
                    cwd=tmp_path / "work",
                    env=environment,
                )
                deadline = time.monotonic() + 90
                while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                    assert server.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
                continue
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=tmp_path / "work",
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, block + done.stdout + done.stderr
            outputs.append(done.stdout)
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)
    assert "1 tasks, 1 added" in outputs[0]
    assert "0 judgments; responses of dpo-400, sft-1" in outputs[0]
    assert "rater-01: collect" in outputs[1]
    assert '"tasks":{"0":1}' in outputs[3]
    assert '{"rows":0,"accepted":0,"duplicate":0,"quarantined":0,"results":[]}' in outputs[3]
