"""results.json as JUnit XML: one test case a cell, and one more for the gate."""

import re
from collections.abc import Collection
from xml.etree import ElementTree as ET

from harness.report.headline import headline
from harness.report.matrix import blamed, evidence, fails, repeat_command
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

# XML 1.0 has no way to write these, and crash messages may hold them.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RAN = frozenset(outcome.value for outcome in Outcome if outcome.ran)
_MOST_PROBLEMS = 100


def to_junit(results: Results) -> str:
    """The document as text. A platform that is absent, but that nothing requires, is skipped."""
    summary = results["summary"]
    named = blamed(results)
    suite = ET.Element("testsuite", name=_legal(f"crosscheck.{results['suite']}"))
    suite.append(_properties(results))
    for cell in results["cells"]:
        suite.append(_cell(results["suite"], cell, named))
    suite.append(_gate(results))
    counts = {
        "tests": str(len(suite.findall("testcase"))),
        "failures": str(len(suite.findall("testcase/failure"))),
        "errors": str(len(suite.findall("testcase/error"))),
        "skipped": str(len(suite.findall("testcase/skipped"))),
        "time": f"{summary['seconds']:.3f}",
    }
    suite.attrib.update(counts)
    root = ET.Element("testsuites", {"name": "crosscheck", **counts})
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _properties(results: Results) -> ET.Element:
    kernels = results["summary"]["kernels"]
    pairs = {
        "compared_values": str(results["summary"]["compared_values"]),
        "exit_code": str(results["summary"]["exit_code"]),
        "float_results": str(kernels["float_results"]),
        "integer_kernels": str(kernels["integer_kernels"]),
    }
    for name, record in results["environment"].items():
        pairs[f"platform.{name}"] = ", ".join(f"{key}={value}" for key, value in record.items())
    element = ET.Element("properties")
    for name, value in pairs.items():
        ET.SubElement(element, "property", name=_legal(name), value=_legal(value))
    return element


def _cell(suite: str, cell: CellResult, named: Collection[str]) -> ET.Element:
    testcase = ET.Element(
        "testcase",
        classname=_legal(
            f"{cell['codec']}/q{cell['quality']}/{cell['precision']}/{cell['scope']}/{cell['lowering']}"
        ),
        name=_legal(cell["case"]),
        time=f"{cell['seconds']:.3f}",
    )
    if cell["as_expected"]:
        return testcase
    if cell["outcome"] in _RAN:
        tag = "failure"
    elif fails(cell, named):
        tag = "error"
    else:
        tag = "skipped"
    message = evidence(cell)
    found = ET.SubElement(testcase, tag, message=_legal(message))
    if tag != "skipped":
        found.set("type", cell["outcome"])
        found.text = _legal(f"{message}\nrepeat: {repeat_command(suite, cell['case'])}")
    return testcase


def _gate(results: Results) -> ET.Element:
    summary = results["summary"]
    testcase = ET.Element("testcase", classname="crosscheck", name="gate", time="0.000")
    if summary["exit_code"] == 0 and not summary["problems"] and not summary["interrupted"]:
        return testcase
    problems = summary["problems"]
    lines = list(problems[:_MOST_PROBLEMS])
    if len(problems) > len(lines):
        lines.append(f"... and {len(problems) - len(lines)} more, see results.json")
    failure = ET.SubElement(testcase, "failure", message=_legal(headline(results)), type="gate")
    failure.text = _legal("\n".join(lines))
    return testcase


def _legal(text: str) -> str:
    """`text` with U+FFFD for every character that XML 1.0 cannot hold."""
    return _ILLEGAL.sub("\ufffd", text)
