"""Each promise of SECURITY.md names the test that keeps it, and that test exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = re.findall(r"^- .*$", TEXT[TEXT.index("## Not trusted") :], re.M)


def test_each_promise_is_kept_by_a_test():
    assert len(PROMISES) > 12
    for promise in PROMISES:
        match = re.search(r"`(tests/\S+\.py)::(test_\w+)`$", promise)
        assert match, promise
        tree = ast.parse((ROOT / match[1]).read_text(encoding="utf-8"))
        assert match[2] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, promise
