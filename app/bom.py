"""Write what an image is made of, as a bill of materials (CycloneDX 1.6, JSON).

    /var/lib/dpkg/status ────────────┐
    /opt/hearthgate/**/*.dist-info ──┴──▶ components, sorted ──▶ standard output

    python3 bom.py ROOT NAME      ROOT: / while the image is built

Runs in the image while that is built, with nothing but Python's own library. The same
packages give the same bytes: the only time in it is SOURCE_DATE_EPOCH. Knows nothing of
what is in the base image without being a package.
"""

import datetime as dt
from email.parser import Parser
import json
import os
from pathlib import Path
import re
import sys
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]
Fields = dict[str, str]


def bill(root: Path, name: str, *, epoch: int) -> Json:
    """Return the bill of an image whose files are below root."""
    python = _python_packages(root)
    version = next(one["version"] for one in python if one["name"] == "hearthgate")
    made = dt.datetime.fromtimestamp(epoch, dt.UTC)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "container",
                "bom-ref": name,
                "name": name,
                "version": version,
            },
        },
        "components": sorted(
            [*python, *_debian_packages(root)], key=lambda one: str(one["bom-ref"])
        ),
    }


def _python_packages(root: Path) -> list[Json]:
    found = (root / "opt/hearthgate").glob("lib/*/site-packages/*.dist-info/METADATA")
    return [_python_package(path.read_text("utf-8")) for path in found]


def _python_package(text: str) -> Json:
    told = Parser().parsestr(text, headersonly=True)
    name = re.sub(r"[-_.]+", "-", str(told["Name"])).lower()
    made = _component(name, str(told["Version"]), "pypi", {})
    expression = told["License-Expression"]
    return {**made, "licenses": [{"expression": expression}]} if expression else made


def _debian_packages(root: Path) -> list[Json]:
    release = _fields((root / "etc/os-release").read_text("utf-8"), "=")
    distro = f"{release['ID']}-{release['VERSION_ID']}".replace('"', "")
    status = (root / "var/lib/dpkg/status").read_text("utf-8")
    told = [_fields(one, ": ") for one in status.split("\n\n") if one.strip()]
    return [
        _component(
            one["Package"],
            one["Version"],
            "deb/debian",
            {"arch": one["Architecture"], "distro": distro},
        )
        for one in told
        if one["Status"].endswith(" installed")
    ]


def _fields(text: str, sign: str) -> Fields:
    """Return the lines NAME, sign, VALUE; what is on lines that go on is left out."""
    lines = (line.partition(sign) for line in text.splitlines() if line[:1].strip())
    return {name: value for name, found, value in lines if found}


def _component(name: str, version: str, kind: str, more: Fields) -> Json:
    asked = "&".join(f"{key}={quote(value)}" for key, value in sorted(more.items()))
    purl = f"pkg:{kind}/{quote(name)}@{quote(version)}"
    purl = f"{purl}?{asked}" if asked else purl
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }


def main() -> None:
    """Write the bill of the image that is being built."""
    root, name = sys.argv[1:]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    json.dump(bill(Path(root), name, epoch=epoch), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
