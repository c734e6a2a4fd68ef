"""The ``tsad`` command: words to Hydra, Hydra's config to a verb, every error to one clear line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tsad import __version__
from tsad.command.naming import nearest
from tsad.command.overrides import is_override, with_verb
from tsad.command.quoting import quoted
from tsad.command.secrets import refuse_secrets
from tsad.config import (
    CONFIG_NAME,
    VERSION_BASE,
    compose,
    explained,
    finish,
    home,
    keys_of,
    options_of,
    search_folders,
    search_here_first,
    settings,
    workbench,
    yaml_text,
)
from tsad.core.errors import ConfigError, TsadError
from tsad.files.locate import shipped
from tsad.verbs.lookup import verb_function

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("tsad")
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
# Nothing phones home; a hub is asked only where the user says HF_HUB_OFFLINE=0.
SILENCED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "COLLECT_ANALYTICS": "false",
    "HF_UPDATE_DOWNLOAD_COUNTS": "false",
}
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
HELP = """tsad {version}: teaches a time-series anomaly detector from people's corrections.

    tsad [VERB] [KEY=VALUE ...]          e.g. tsad train adapter.r=16
    tsad -m VERB KEY=A,B [...]           one run for each value
    tsad VERB --help                     the verb's own keys

Verbs (none = status)
{verbs}

Groups (GROUP=OPTION; their keys: tsad --cfg job)
{groups}

Options
  -m, --multirun   try several values: a,b or range(1,5)
  --cfg job        print the composed config instead of running
  -v               tracebacks and debug lines
  --version        the version
  -sc install=bash print what completion needs: eval "$(tsad -sc install=bash)"
  --hydra-help     Hydra's own options

Values with spaces, parentheses, = or Chinese characters need no quotes beyond the shell's.
Everything lies in $TSAD_HOME (now {home}).
"""


def main() -> None:
    """Run ``tsad`` with the words of the command line and exit: 0, 1 for an error, 130 when interrupted."""
    words = sys.argv[1:]
    verbose = "-v" in words
    words = [w for w in words if w != "-v"]
    try:
        sys.exit(_run(words, verbose))
    except KeyboardInterrupt:
        _fail("interrupted", verbose)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _fail(_line(error, words), verbose)
        sys.exit(1)


def quiet_environment() -> None:
    """Switch off the telemetry of every component and, unless the user says otherwise, every hub."""
    os.environ.update(SILENCED)
    # Threads that spin while they wait stall each other tenfold where another process wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in OFFLINE:
        os.environ.setdefault(name, "1")


def run_verb(cfg: DictConfig, verb: str, choices: dict[str, Any], overrides: Sequence[str]) -> float | None:
    """Check the whole config, then run the verb; returns what a sweeper optimises."""
    function = verb_function(verb)
    checked = settings(finish(cfg, choices), overrides, keys_of(function), verb)
    return function(workbench(checked), **dict(checked.keys))


def _run(words: list[str], verbose: bool) -> int:
    if "--version" in words:
        print(f"tsad {__version__}")
        return 0
    if "-sc" in words or "--shell-completion" in words:
        return _complete(words)
    words = with_verb(words, options_of("task"))
    if "--help" in words or "-h" in words:
        print(_help(words), end="")
        return 0
    refuse_secrets(words)
    _set_up(verbose)
    words = [quoted(w) if is_override(w) else w for w in words]
    if {"-m", "--multirun"} & set(words):
        _check_sweep([w for w in words if is_override(w)])
    _hydra(words)
    return 0


def _set_up(verbose: bool) -> None:
    quiet_environment()
    os.environ["TSAD_HOME"] = str(home())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to main() instead of being printed by Hydra
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    if not verbose:  # what libraries warn their callers of is for engineers
        warnings.simplefilter("ignore")


def _check_sweep(overrides: list[str]) -> None:
    """Check every listed value of a sweep before its first run, so that a typo in the last one costs nothing.

    Raises:
        ConfigError: a value that its run would refuse.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep

    tried: list[list[str]] = []
    for override, text in zip(OverridesParser.create().parse_overrides(overrides), overrides, strict=True):
        listed = isinstance(override.value(), ChoiceSweep)
        if listed or not override.is_sweep_override():
            key = override.get_key_element()
            tried.append([f"{key}={v}" for v in override.sweep_string_iterator()] if listed else [text])
    first = [values[0] for values in tried]
    for at, values in enumerate(tried):
        for value in values if len(values) > 1 else ():
            settings(compose([*first[:at], value, *first[at + 1 :]]))


def _hydra(words: Sequence[str]) -> None:
    """Hand the words to Hydra, which composes and calls the verb, once or for every value of a sweep."""
    import hydra

    search_here_first()
    sys.argv[1:] = words
    failed: list[Exception] = []

    @hydra.main(config_path=str(shipped("conf")), config_name=CONFIG_NAME, version_base=VERSION_BASE)
    def tsad(cfg: DictConfig) -> float | None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        job = HydraConfig.get()
        choices = dict(job.runtime.choices)
        # As typed: a resolved ${oc.env:...} could be a secret.
        overrides = [str(o) for o in OmegaConf.to_container(job.overrides.task, resolve=False) or ()]
        if job.mode is not None and job.mode.name == "MULTIRUN":
            log.info("--- %s: %s", job.job.num, " ".join(overrides))
            return run_verb(cfg, str(choices["task"]), choices, overrides)
        try:
            return run_verb(cfg, str(choices["task"]), choices, overrides)
        except Exception as error:  # raised again below: on its way Hydra would print a line of its own
            failed.append(error)
            return None

    tsad()
    for error in failed:
        raise error


# --- help and completion: answered without torch, MLflow or pandas ------------------------------------------


def _help(words: Sequence[str]) -> str:
    verb = next((w.removeprefix("task=") for w in words if w.startswith("task=")), "")
    if verb:
        text = _yaml(f"task/{verb}").replace("# @package _global_\n", "").removesuffix("{}\n").rstrip()
        return f"tsad {verb} [KEY=VALUE ...]\n\n{text}\n"
    groups = [g.name for place in search_folders() for g in place.iterdir() if g.is_dir() and options_of(g.name)]
    others = sorted(set(groups) - {"task", "local"})
    width = max(map(len, [*options_of("task"), *others])) + 2
    return HELP.format(
        version=__version__,
        verbs="\n".join(f"  {v:<{width}}{_about(v)}" for v in options_of("task")),
        groups="\n".join(f"  {g:<{width}}{', '.join(options_of(g))}" for g in others),
        home=home(),
    )


def _about(verb: str) -> str:
    """The first comment of the verb's YAML."""
    lines = _yaml(f"task/{verb}").splitlines()
    return next((ln.lstrip("# ") for ln in lines if ln.startswith("#") and "@package" not in ln), "")


def _yaml(name: str) -> str:
    text = yaml_text(name)
    if text is None:
        raise ConfigError(f"there is no verb {name.removeprefix('task/')}", nearest(name[5:], options_of("task")))
    return text


def _complete(words: Sequence[str]) -> int:
    """Answer the shell: Hydra's candidates for the line with its verb rewritten, and verbs where one may stand."""
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    typed_words = rest.split()
    current = typed_words.pop() if typed_words and not rest.endswith(" ") else ""
    verbs = options_of("task")
    rewritten = [f"task={w}" if w in verbs else quoted(w) for w in typed_words if w in verbs or not _stray(w)]
    os.environ["COMP_LINE"] = f"{program} {' '.join([*rewritten, current])}"
    if not any(w.startswith("query=") for w in words):
        _hydra(words)
        return 0
    found = io.StringIO()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with contextlib.suppress(Exception), contextlib.redirect_stdout(found), contextlib.redirect_stderr(io.StringIO()):
        _hydra(words)
    candidates = found.getvalue().split()
    if not any(w.startswith("task=") for w in rewritten) and not is_override(current) and "." not in current:
        candidates += [v for v in verbs if v.startswith(current)]
    print(" ".join(sorted(set(candidates))))
    return 0


def _stray(word: str) -> bool:
    return not is_override(word) and not word.startswith("-")


# --- errors -------------------------------------------------------------------------------------------------


def _fail(line: str, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    with contextlib.suppress(BrokenPipeError):
        print(f"error: {line}", file=sys.stderr)


def _line(error: Exception, words: Sequence[str]) -> str:
    """One line for an error: a named one as it is, Hydra's explained, any other by its type."""
    overrides = [w for w in words if is_override(w)]
    with contextlib.suppress(TsadError):
        overrides = [w for w in with_verb(words, options_of("task")) if is_override(w)]
    named = explained(error, overrides) if "hydra" in sys.modules else error
    if isinstance(named, TsadError):
        return " ".join(str(named).split())
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return f"{type(error).__name__}: {' '.join(str(error).split())} (tsad -v shows where)"
