"""URLs in configs: which are taken, and what is told about the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config_reading.file import ConfigErrors, load_config

BASE = """\
name: far
task: classification
data: {source: table, path: 'URL', target: kind}
model: {family: linear}
"""


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigErrors) as errors:
        load_config(path)
    return [str(each).removeprefix(f"{folder}/") for each in errors.value.problems]


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("{source: table, path: 's3://a/b/rows.csv', target: y}", "remote: {endpoint: 'http://localhost:9000'}"),
        ("{source: table, path: 'gs://a/rows.parquet', target: y}", "remote: {anonymous: true}"),
        ("{source: table, path: 'HTTPS://a/rows.csv.gz?year=1999', target: y}", "remote: {check: once}"),
        ("{source: images, path: 's3://a/flowers/'}", ""),
        ("{source: arrays, path: 'https://a/x.npz'}", "remote: {threads: 2, timeout_seconds: 5}"),
        ("{source: idx, path: 'sftp://user@host/mnist'}", ""),
    ],
)
def test_urls_stay_as_they_are_written(tmp_path: Path, data: str, more: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"name: far\ntask: classification\ndata: {data}\nmodel: {{family: linear}}\n{more}\n")
    loaded = load_config(path)
    written = data.partition("path: '")[2].partition("'")[0]
    assert getattr(loaded.config.data, "path", None) == written
    assert loaded.resolved["data"]["path"] == written


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:hush@a/rows.csv", "expected a URL without credentials, which would be kept in run.json"),
        ("https://hush@a/rows.csv", "expected a URL without credentials"),
        ("sftp://user%3Ahush@a/rows.csv", "expected a URL without credentials"),
        ("https://a/rows.csv?accessToken=hush", "expected a URL without credentials"),
        ("https://a/rows.csv?X-Amz-Signature=hush", "expected a URL without credentials"),
        ("https://a/rows.csv?sig=hush", "expected a URL without credentials"),
        ("https://a/rows.csv?year=1&access_token=hush", "expected a URL without credentials"),
        (
            "file:///a/rows.csv",
            "expected a path without a scheme, or a URL of another machine, got 'file:///a/rows.csv'",
        ),
        ("s3://a/../../rows.csv", "expected a URL of a host or bucket and names, none of them empty, '.' or '..', got"),
        ("https://a/b/%2e%2e/rows.csv", "expected a URL of a host or bucket and names"),
        ("s3:///rows.csv", "expected a URL of a host or bucket and names"),
        ("simplecache::s3://a/rows.csv", "expected a URL of a host or bucket and names"),
        ("https://a/rows.xlsx", "expected a URL of the web to end in .csv, .tsv,"),
    ],
)
def test_urls_that_are_refused(tmp_path: Path, url: str, told: str) -> None:
    (problem,) = problems(tmp_path, BASE.replace("URL", url))
    assert problem.startswith(f"run.yaml:3: data.path: {told}"), problem
    assert "hush" not in problem


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("{source: images, path: 'http://a/flowers'}", "expected storage that can list a folder, as s3://, got"),
        ("{source: arrays, path: 'http://a/folder'}", "expected a URL of the web to end in .npz, got"),
        ("{source: series, path: 'http://a/folder', window: 4}", "expected a URL of the web to end in .csv, .tsv,"),
    ],
)
def test_the_web_has_no_folders(tmp_path: Path, data: str, told: str) -> None:
    (problem,) = problems(tmp_path, f"name: far\ntask: classification\ndata: {data}\nmodel: {{family: linear}}\n")
    assert problem.startswith(f"run.yaml:3: data.path: {told}"), problem


@pytest.mark.parametrize(
    ("url", "more", "told"),
    [
        ("rows.csv", "remote: {check: once}", "remote: expected no such section without a URL to read, got one."),
        (
            "https://a/rows.csv",
            "remote: {endpoint: 'http://localhost:1'}",
            "remote.endpoint: expected no such key without a URL of s3:// or gs://, got one.",
        ),
        (
            "s3://a/rows.csv",
            "remote: {endpoint: 'http://me:hush@localhost:1'}",
            "remote.endpoint: expected http:// or https:// and a host, without credentials, got something else.",
        ),
        ("s3://a/rows.csv", "remote: {timeout_seconds: 0}", "remote.timeout_seconds: expected "),
    ],
)
def test_the_section_remote(tmp_path: Path, url: str, more: str, told: str) -> None:
    (problem,) = problems(tmp_path, f"{BASE.replace('URL', url)}{more}\n")
    assert problem.startswith(f"run.yaml:5: {told}"), problem
    assert "hush" not in problem


def test_reading_a_config_imports_nothing_of_the_web(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(BASE.replace("URL", "s3://a/rows.csv"))
    script = (
        "import sys; from pathlib import Path; from pipeline.requests import Request; "
        "from pipeline.config_reading.file import load_config; load_config(Path(sys.argv[1])); "
        "print(sorted({'fsspec', 'aiohttp', 'pyarrow', 'numpy', 'pandas', 'tensorflow'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
