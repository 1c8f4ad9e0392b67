"""Fails if a test was skipped for another reason than those named here, or if none ran.

    python .ci/check_skips.py REPORT

REPORT is what pytest writes with --junitxml. A package that is missing is no reason: it belongs to
the extra `test`, or is installed before.
"""

import re
import sys
from xml.etree import ElementTree

# What a message may say, and why nothing could be installed to run the test.
ALLOWED = {
    r"the flags of an x86-64 CPU": "reads the flags that Linux reports for x86-64 only",
    r"knows the registers of x86-64 and aarch64": "no other CPU's control register is known",
    r"spaCy, which needs Thinc 8.3": "another Thinc is installed; tools/peers.sh runs it",
    r"no CPU that contracts": "only AVX-512 brings fused operations by itself",
    r"only root may give files to others": "another user's file is needed",
    r"no affinity masks|nothing to narrow": "the system has no masks, or the process one CPU",
    r"needs (POSIX processes|fork)\b": "Windows has no fork",
    r"maps one file many times, on Linux": "other systems have no memfd_create",
}


def skipped_tests(report):
    for case in report.iter("testcase"):
        for skip in case.iter("skipped"):
            if skip.get("type") != "pytest.xfail":
                # Of a file that skips itself the message says only that; the text says why.
                reason = f"{skip.get('message', '')} {skip.text or ''}"
                yield f"{case.get('classname')}::{case.get('name')}", reason


def main(path):
    report = ElementTree.parse(path)
    ran = sum(1 for case in report.iter("testcase") if case.find("skipped") is None)
    skips = list(skipped_tests(report))
    refused = [
        (test, message)
        for test, message in skips
        if not any(re.search(reason, message) for reason in ALLOWED)
    ]
    print(f"{ran} tests ran, {len(skips)} were skipped, {len(refused)} of them without an excuse")
    for test, message in refused:
        print(f"  {test}: {message}")
    if refused or not ran:
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
