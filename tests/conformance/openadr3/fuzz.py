"""Schemathesis against the simulated OpenADR 3.1 head-end, on the public description with its known slips mended. Prints the result.

    python -m venv FOLDER && FOLDER/bin/pip install schemathesis==4.32.5
    python -m tests.conformance.openadr3.fuzz FOLDER/bin/st [--examples 10] [--write]

Schemathesis is not in the lock: it brings some thirty packages for one test of a simulator. The slips: objectType of a stored ven (and
resource) must be of two lists without a common word; request bodies lack `required`; the programme's descriptions lack their type, so that
anything at all counts as one. The stateful phase is off: the description has no links. MQTT paths are left out: here there is no broker.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from simulators.openadr3.serve import BUSINESS, SITE, AppServer
from simulators.openadr3.vtn import Client, Vtn
from tests.adapters.openadr3.headend import NOW
from tests.conformance.openadr3.prism import INTERFACES

RESULT = Path(__file__).with_name("schemathesis.txt")
KEPT = re.compile(r"^(Operations|API Operations|  Selected|  Tested|Failures|Test cases|  \d+ generated|Seed|  ❌|  ✅|  ⏭|No issues|=+ )")


def main(words: list[str] | None = None) -> int:
    """1 when anything is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("st", type=Path, help="the program of schemathesis")
    parser.add_argument("--examples", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(words)
    lines, status = ["Schemathesis 4.32.5 on openadr-3.1.0.yaml with its known slips mended (tests/conformance/openadr3/fuzz.py)."], 0
    lines.append(f"Command: python -m tests.conformance.openadr3.fuzz FOLDER/bin/st --examples {given.examples} --write")
    for client in (BUSINESS, SITE):
        found, text = run(given.st, client, given.examples)
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


def run(program: Path, client: Client, examples: int) -> tuple[int, str]:
    """One role: exit status (0: nothing found) and what was printed."""
    vtn = Vtn([BUSINESS, SITE], lambda: NOW)
    with AppServer(vtn.app) as server, tempfile.TemporaryDirectory() as folder:
        form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret}
        token = httpx.post(f"{server.url}/auth/token", data=form).json()["access_token"]
        description = Path(folder) / "openadr.yaml"
        description.write_text(yaml.safe_dump(mended(yaml.safe_load((INTERFACES / "openadr-3.1.0.yaml").read_text())), sort_keys=False))
        argv = [str(program.absolute()), "run", str(description), "--url", server.url, "-H", f"Authorization: Bearer {token}"]
        argv += ["--exclude-path-regex", "mqtt", "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", "1"]
        done = subprocess.run([*argv, "--no-color"], capture_output=True, text=True, cwd=folder)
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
