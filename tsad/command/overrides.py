"""The words of a command line: bare verbs, options, overrides. Pure functions from text to text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tsad.core.errors import ConfigError

# Hydra's options: those that take the next word as their value, and those that do not.
VALUE_OPTIONS = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--info", "-i", "--experimental-rerun",
}  # fmt: skip
FLAGS = {"--help", "-h", "--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc"}
OWN = ("-v", "-o", "--version")  # never Hydra's
OUTPUTS = ("text", "json")  # what -o takes


@dataclass(frozen=True)
class OwnOptions:
    """What is taken off the words before Hydra sees them.

    Attributes:
        words: the others.
        verbose: ``-v``.
        output: ``-o text`` (the default) or ``-o json``.
    """

    words: list[str]
    verbose: bool
    output: str

    @property
    def as_json(self) -> bool:
        """Whether the answer is JSON."""
        return self.output == "json"


def own_options(words: Sequence[str]) -> OwnOptions:
    """Take ``-v`` and ``-o FORM`` (or ``-o=FORM``) off the words; of several forms the last counts.

    A form that does not exist is kept as it is, for :func:`check_output`: whoever says the error has to know the form.
    """
    rest, verbose, output = [], False, OUTPUTS[0]
    left = iter(words)
    for word in left:
        if word == "-v":
            verbose = True
        elif word == "-o":
            output = next(left, "")
        elif word.startswith("-o="):
            output = word.removeprefix("-o=")
        else:
            rest.append(word)
    return OwnOptions(rest, verbose, output)


def check_output(output: str) -> None:
    """Refuse a form of output that does not exist.

    Raises:
        ConfigError: it is none of ``OUTPUTS``.
    """
    if output not in OUTPUTS:
        raise ConfigError(f"-o {output}".strip() + " is no form of output", f"It takes {' or '.join(OUTPUTS)}.")


def is_override(word: str) -> bool:
    """Whether Hydra reads the word as an override: ``key=value``, ``+key=value``, ``~key``."""
    return not word.startswith("-") and ("=" in word or word[:1] in {"+", "~"})


def with_verb(words: Sequence[str], verbs: Iterable[str]) -> list[str]:
    """Rewrite a bare verb to ``task=verb`` and put options first: argparse takes none between overrides.

    Raises:
        ConfigError: two verbs, a word that is no verb, an option that does not exist.
    """
    names = sorted(verbs)
    options: list[str] = []
    overrides: list[str] = []
    chosen = ""
    awaits_value = False
    for word in words:
        verb = ""
        to = overrides
        if awaits_value:
            awaits_value, to = False, options
        elif word.startswith("-"):
            awaits_value, to = _option(word), options
        elif word.startswith("task="):
            verb = word.removeprefix("task=")
        elif not is_override(word):
            verb = _known(word, names)
            word = f"task={verb}"
        if verb and chosen and verb != chosen:
            raise ConfigError(f"two verbs: {chosen} and {verb}", "Give one; everything else is key=value.")
        chosen = verb or chosen
        to.append(word)
    return options + overrides


def _option(word: str) -> bool:
    """Whether the option takes the next word as its value."""
    name, equals, _ = word.partition("=")
    if name in FLAGS or name in VALUE_OPTIONS:
        return name in VALUE_OPTIONS and not equals
    close = difflib.get_close_matches(word, [*FLAGS, *VALUE_OPTIONS, *OWN], n=1)
    raise ConfigError(f"unknown option {word}", f"Did you mean {close[0]}?" if close else "See tsad --help.")


def _known(word: str, names: Sequence[str]) -> str:
    if word in names:
        return word
    close = difflib.get_close_matches(word, names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise ConfigError(f"unknown verb {word}", f"{hint}Verbs: {', '.join(names)}. Values are given as key=value.")
