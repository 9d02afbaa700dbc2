"""A real Chromium for the tests of the page, and axe-core to examine it; skipped with a reason where there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_AXE = "axe-core@4.14.1"


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser that logs what its console says and what it requests."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e .[dev]")
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("there is no Chromium with its driver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    # Containers have no sandbox and little shared memory.
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driven = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        yield driven
    finally:
        driven.quit()


def set_screen(browser: Any, width: int, *, dark: bool = False, medium: str = "") -> None:
    """A width in CSS pixels, light or dark, and a medium ("print")."""
    sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})


def requested(browser: Any) -> list[str]:
    """The addresses that were asked for since this was asked last."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def axe_core(folder: Path) -> str:
    """axe-core's script: from ``node_modules`` of the checkout, else from npm."""
    installed = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is not here and there is no npm to fetch it: npm install --no-save axe-core")
    try:
        subprocess.run([npm, "pack", "--silent", _AXE], cwd=folder, check=True, capture_output=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot fetch {_AXE} ({error})")
    archive = next(folder.glob("axe-core-*.tgz"))
    with tarfile.open(archive) as files:
        member = files.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()
