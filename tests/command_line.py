"""The command line in this process, which saves the seconds that imports take."""

import pytest

from factory.cli.main import main


def told(capture: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Runs `factory WORDS`; gives its exit code, standard output and standard error.

    Args:
        capture: `capsys`, or `capfd` for what other processes write, too.
    """
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capture.readouterr()
    return int(ended.value.code or 0), said.out, said.err
