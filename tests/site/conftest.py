"""Site files written by tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / "config" / "sites" / "demo-2mw.yaml"


@pytest.fixture
def demo_with(tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy of the demo site with texts replaced; every text must occur, and only its first occurrence changes."""

    def write(*changes: tuple[str, str]) -> Path:
        text = DEMO.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return path

    return write
