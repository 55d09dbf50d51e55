"""Schemathesis against the simulated OpenADR 3.1 head-end, on the public description with its known slips mended. Prints the result.

    python -m tests.conformance.openadr3.fuzz [--examples 10] [--write]     # a quarter of an hour
    python -m tests.conformance.openadr3.fuzz --quick                       # half a minute, without the coverage phase: what .ci/run does

Schemathesis has an environment and a lock of its own (requirements/lock-fuzz.txt): it brings some thirty packages for one test of a
simulator. Where it cannot be installed, or the description is not there, the run is skipped with the reason. The slips: objectType of a
stored ven (and resource) must be of two lists without a common word; request bodies lack `required`; the programme's descriptions lack
their type, so that anything at all counts as one. The stateful phase is off: the description has no links. MQTT paths are left out: here
there is no broker.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import yaml

from simulators.openadr3.serve import BUSINESS, SITE, AppServer
from simulators.openadr3.vtn import Client, Vtn
from tests.adapters.openadr3.headend import NOW
from tests.conformance.openadr3.prism import INTERFACES

CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER, LOCK = CHECKOUT / ".venv" / "schemathesis", CHECKOUT / "requirements" / "lock-fuzz.txt"
DESCRIPTION = INTERFACES / "openadr-3.1.0.yaml"
INSTALL_WITHIN_S, RUN_WITHIN_S = 120.0, 3600.0
QUICK = ("examples,fuzzing", 2)  # phases, examples per operation
WHOLE = "examples,coverage,fuzzing"
RESULT = Path(__file__).with_name("schemathesis.txt")
KEPT = re.compile(r"^(Operations|API Operations|  Selected|  Tested|Failures|Test cases|  \d+ generated|Seed|  ❌|  ✅|  ⏭|No issues)")


class Unavailable(Exception):
    """Schemathesis cannot be run here, and why."""


def main(words: list[str] | None = None) -> int:
    """1 when anything is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(words)
    try:
        program = installed(FOLDER, LOCK)
        if not DESCRIPTION.is_file():
            raise Unavailable(f"data folder absent: the interface description {DESCRIPTION.name}")
    except Unavailable as error:
        print(f"schemathesis skipped: {error}")
        return 0
    phases, examples = QUICK if given.quick else (WHOLE, given.examples)
    lines, status = ["Schemathesis 4.32.5 on openadr-3.1.0.yaml with its known slips mended (tests/conformance/openadr3/fuzz.py)."], 0
    lines.append(f"Command: python -m tests.conformance.openadr3.fuzz {'--quick' if given.quick else f'--examples {examples} --write'}")
    clients = (BUSINESS, SITE)
    with ThreadPoolExecutor(len(clients)) as both:
        results = list(both.map(lambda client: run(program, client, phases, examples), clients))
    for client, (found, text) in zip(clients, results, strict=True):
        lines += [
            "",
            f"== {'business side' if client is BUSINESS else 'VEN'}: {'nothing found' if not found else 'FOUND'} ==",
            *kept(text, found),
        ]
        status |= found
    print("\n".join(lines))
    if given.write:
        RESULT.write_text("\n".join(lines) + "\n")
    return status


def installed(folder: Path, lock: Path, within_s: float = INSTALL_WITHIN_S) -> Path:
    """The program, installed by its lock where it is not yet. Unavailable where the packages cannot be had; what is had and is not what the
    lock names is an error."""
    program, pip = folder / "bin" / "st", folder / "bin" / "pip"
    stamp = folder / "lock.txt"
    if program.exists() and stamp.exists() and stamp.read_text() == lock.read_text():
        return program
    install = [str(pip), "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)]
    try:
        venv.create(folder, clear=True, with_pip=True)
        done = subprocess.run(install, capture_output=True, text=True, timeout=within_s)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"package index unreachable: no answer within {within_s:g} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no environment can be made: {error}") from None
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise SystemExit(f"schemathesis: what was fetched is not what {lock.name} names")
    if done.returncode:
        raise Unavailable(f"package index unreachable: {(done.stderr.strip().splitlines() or ['no reason given'])[-1][:120]}")
    stamp.write_text(lock.read_text())
    return program


def run(program: Path, client: Client, phases: str, examples: int) -> tuple[int, str]:
    """One role: exit status (0: nothing found) and what was printed."""
    vtn = Vtn([BUSINESS, SITE], lambda: NOW)
    with AppServer(vtn.app) as server, tempfile.TemporaryDirectory() as folder:
        form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret}
        token = httpx.post(f"{server.url}/auth/token", data=form).json()["access_token"]
        description = Path(folder) / "openadr.yaml"
        description.write_text(yaml.safe_dump(mended(yaml.safe_load(DESCRIPTION.read_text())), sort_keys=False))
        argv = [str(program.absolute()), "run", str(description), "--url", server.url, "-H", f"Authorization: Bearer {token}"]
        argv += ["--exclude-path-regex", "mqtt", "--phases", phases, "--max-examples", str(examples), "--seed", "1"]
        argv += ["--suppress-health-check", "all", "--request-timeout", "60"]  # a busy machine is no finding
        done = subprocess.run([*argv, "--no-color"], capture_output=True, text=True, cwd=folder, timeout=RUN_WITHIN_S)
    return int(done.returncode != 0), done.stdout + done.stderr


def mended(description: dict[str, Any]) -> dict[str, Any]:
    """The description without its contradictions: a stored ven or resource is one in its own name, a body that is needed is asked for."""
    schemas = description["components"]["schemas"]
    for name in ("Ven", "Resource"):
        stored = schemas[name[0].lower() + name[1:]]
        plain = {**schemas[f"Bl{name}Request"], "properties": dict(schemas[f"Bl{name}Request"]["properties"])}
        plain["properties"].pop("objectType")
        plain["required"] = [k for k in plain["required"] if k != "objectType"]
        stored["allOf"] = [plain if "Request" in part.get("$ref", "") else part for part in stored["allOf"]]
    schemas["programRequest"]["properties"]["programDescriptions"]["items"]["type"] = "object"
    for methods in description["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                operation["requestBody"]["required"] = True
    return description


def kept(text: str, found: int) -> Iterator[str]:
    """The summary; everything where something was found."""
    lines = text.splitlines()
    yield from (line.rstrip() for line in lines if found or KEPT.match(line))


if __name__ == "__main__":
    sys.exit(main())
