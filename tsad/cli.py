"""The ``tsad`` command: words to Hydra, Hydra's config to a verb, every error to one clear line."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tsad import __version__
from tsad.command.naming import nearest
from tsad.command.overrides import (
    FLAGS,
    OUTPUTS,
    OWN,
    VALUE_OPTIONS,
    OwnOptions,
    check_output,
    is_override,
    own_options,
    with_verb,
)
from tsad.command.quoting import quoted
from tsad.command.secrets import refuse_secrets
from tsad.config import (
    CONFIG_NAME,
    VERSION_BASE,
    check_sweep,
    compose,
    explained,
    finish,
    home,
    loop_of_job,
    options_of,
    search_folders,
    search_here_first,
    settings,
    workbench,
)
from tsad.config.manual import about, manual, paired
from tsad.core.context import Context
from tsad.core.environment import set_environment
from tsad.core.errors import ConfigError, TsadError
from tsad.core.printing import wrapped
from tsad.files.locate import shipped
from tsad.jobs.spare import job_of_process
from tsad.jobs.working import JobCall, working
from tsad.service.face import Face
from tsad.verbs.asking import Asking
from tsad.verbs.console import Console
from tsad.verbs.foot import Foot
from tsad.verbs.interrupts import Interrupts
from tsad.verbs.lookup import makes_loops, verb_module, waits
from tsad.verbs.progress import TerminalProgress
from tsad.verbs.streams import width_of, write_lines

if TYPE_CHECKING:
    from omegaconf import DictConfig


log = logging.getLogger("tsad")
HELP_WIDTH = 120  # columns that a page is read in, also in a wider terminal
DONE, FAILED, PEOPLE, INTERRUPTED = 0, 1, 3, 130  # exit codes; 130 = 128 + SIGINT, as shells say it
HELP = """tsad {version}: teaches a time-series anomaly detector from people's corrections.

    tsad [VERB] [KEY=VALUE ...]          e.g. tsad train adapter.r=16
    tsad -m VERB KEY=A,B [...]           one run for each value
    tsad VERB --help                     its keys, those of its groups, examples

Verbs (none = status)
{verbs}

Groups (GROUP=OPTION; their keys: tsad --cfg job)
{groups}

Options
  -m, --multirun   try several values: a,b or range(1,5)
  --cfg job        print the composed config instead of running
  -o json          the answer as one line of JSON, everything else on standard error; -o text is the default
  -v               tracebacks and debug lines
  --version        the version
  -sc install=bash print what completion needs: eval "$(tsad -sc install=bash)"
  --hydra-help     Hydra's own options

Exit codes: 0 done, 1 error, 3 people have to review first, 130 interrupted. With -m the first error ends the sweep \
with 1; else it is 3 where any of its runs waits for people. Ctrl-C or SIGTERM stops at the next safe point and says \
how to go on; twice stops at once.

Values with spaces, parentheses, = or Chinese characters need no quotes beyond the shell's.
Everything lies in $TSAD_HOME (now {home}).
"""


@dataclass
class Invocation:
    """One call of the command: its own options, the job it is, who may stop it, where it is shown how far it is, the
    exit codes."""

    options: OwnOptions
    job: JobCall | None = None
    foot: Foot = field(default_factory=Foot)
    control: Interrupts = field(default_factory=Interrupts)
    codes: list[int] = field(default_factory=list)


def main() -> None:
    """Run ``tsad`` with the words of the command line and exit: 0, 1 for an error, 3 where people have to act, 130."""
    os.umask(os.umask(0o077) | 0o077)  # what a run leaves is its owner's alone, as are the processes that it starts
    job = job_of_process(_prepare)
    words = job.words if job is not None else None
    call = Invocation(own_options(sys.argv[1:] if words is None else words), job)
    atexit.register(gc.freeze)  # or Python goes through millions of dead objects before the prompt is back: seconds
    try:
        with call.control.handled():
            sys.exit(_run(call))
    except KeyboardInterrupt as error:
        notes = ". ".join(getattr(error, "__notes__", ()))
        _fail(call, "Interrupted", "interrupted", notes or "Go on with the same command")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:
        _fail(call, *_parts(error, call.options.words))
        sys.exit(FAILED)


def _prepare() -> None:
    """What any verb would do first: its modules imported, a config composed and checked once."""
    for verb in options_of("task"):
        verb_module(verb)
    settings(compose())


def run_verb(
    call: Invocation, cfg: DictConfig, choices: dict[str, Any], overrides: Sequence[str], job: int | None = None
) -> float | None:
    """Check the whole config, then run the verb; returns what a sweeper optimises.

    Args:
        job: its number in a sweep; ``None`` = there is none.
    """
    verb = str(choices["task"])
    module = verb_module(verb)
    checked = settings(finish(cfg, choices), overrides, module.keys_model, verb)
    as_json = call.options.as_json
    console = Console(as_json, sys.stdout, call.foot)
    progress = TerminalProgress(console, call.foot)
    # What libraries print is no part of an answer in JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    watched = progress.command(verb, waits(module))
    with watched, aside, working(call.job, checked, progress, call.control) as work:
        context = Context(
            progress=work.progress, control=work.control, serving=Face(Asking()), job=work.id, listener=work.listener
        )
        bench = workbench(checked, context)
        if job is not None and makes_loops(module):
            bench = bench.named(loop_of_job(checked, job))
        result = module.run(bench, checked.keys, console)
        work.answered(result)
    call.codes.append(PEOPLE if result.people_have_to_act else DONE)
    optimised: float | None = result.optimised
    return optimised


def _run(call: Invocation) -> int:
    check_output(call.options.output)
    words = call.options.words
    if "--version" in words:
        print(f"tsad {__version__}")
        return DONE
    if "-sc" in words or "--shell-completion" in words:
        return _complete(call)
    words = with_verb(words, options_of("task"))
    if "--help" in words or "-h" in words:
        print(_help(words), end="")
        return DONE
    refuse_secrets(words)
    _set_up(call)
    words = [quoted(w) if is_override(w) else w for w in words]
    if {"-m", "--multirun"} & set(words):
        verb = next((w.removeprefix("task=") for w in words if w.startswith("task=")), "")
        loops = verb in options_of("task") and makes_loops(verb_module(verb))
        check_sweep([w for w in words if is_override(w)], loops)
    _hydra(call, words)
    return max(call.codes, default=DONE)


class Lines(logging.Handler):
    """Messages as lines on standard error, above the foot; what they name is shown, never obeyed."""

    def __init__(self, foot: Foot) -> None:
        super().__init__()
        self._foot = foot

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        try:
            with self._foot.aside():
                write_lines(sys.stderr, self.format(record))
        except Exception:
            self.handleError(record)


def _set_up(call: Invocation) -> None:
    verbose = call.options.verbose
    set_environment(home=home())
    handler = Lines(call.foot)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    if not verbose:  # what libraries warn their callers of is for engineers
        warnings.simplefilter("ignore")


def _hydra(call: Invocation, words: Sequence[str]) -> None:
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
            try:
                return run_verb(call, cfg, choices, overrides, int(job.job.num))
            except KeyboardInterrupt as error:
                error.add_note("The same command takes the sweep up again")
                raise
        try:
            return run_verb(call, cfg, choices, overrides)
        except Exception as error:  # raised again below: on its way Hydra would print a line of its own
            failed.append(error)
            return None

    tsad()
    for error in failed:
        raise error


# --- help and completion: answered without torch, MLflow or pandas ------------------------------------------


def _help(words: Sequence[str]) -> str:
    width = min(width_of(sys.stdout), HELP_WIDTH)
    verb = next((w.removeprefix("task=") for w in words if w.startswith("task=")), "")
    verbs = options_of("task")
    if verb and verb not in verbs:
        raise ConfigError(f"there is no verb {verb}", nearest(verb, verbs))
    if verb:
        return manual(verb, [w for w in words if is_override(w)], width)
    groups = {g.name for place in search_folders() for g in place.iterdir() if g.is_dir() and options_of(g.name)}
    columns = {
        "{verbs}": {name: about(name) for name in verbs},
        "{groups}": {group: ", ".join(options_of(group)) for group in sorted(groups - {"task", "local"})},
    }
    left = max(len(name) for rows in columns.values() for name in rows) + 2
    lines: list[str] = []
    for line in HELP.splitlines():
        hanging = " " * 19 if line[:3] == "  -" else "    "
        text = line.format(version=__version__, home=home()) if line not in columns else ""
        lines += paired(columns[line], width, left) if line in columns else wrapped(text, width, hanging)
    return "\n".join(lines) + "\n"


def _complete(call: Invocation) -> int:
    """Answer the shell: Hydra's candidates for the line with its verb rewritten, and verbs where one may stand."""
    words = call.options.words
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    typed = rest.split()
    current = typed.pop() if typed and not rest.endswith(" ") else ""
    asks = any(w.startswith("query=") for w in words)
    if asks and typed[-1:] == ["-o"]:
        print(" ".join(form for form in sorted(OUTPUTS) if form.startswith(current)))
        return DONE
    if asks and current.startswith("-"):
        print(" ".join(option for option in sorted({*FLAGS, *VALUE_OPTIONS, *OWN}) if option.startswith(current)))
        return DONE
    verbs = options_of("task")
    typed = own_options(typed).words
    rewritten = [f"task={w}" if w in verbs else quoted(w) for w in typed if w in verbs or not _stray(w)]
    set_environment(home=home(), line=f"{program} {' '.join([*rewritten, current])}")
    if not asks:
        _hydra(call, words)
        return DONE
    found = io.StringIO()
    with contextlib.suppress(Exception), contextlib.redirect_stdout(found), contextlib.redirect_stderr(io.StringIO()):
        _hydra(call, words)
    candidates = found.getvalue().split()
    if not any(w.startswith("task=") for w in rewritten) and not is_override(current) and "." not in current:
        candidates += [v for v in verbs if v.startswith(current)]
    print(" ".join(sorted(set(candidates))))
    return DONE


def _stray(word: str) -> bool:
    return not is_override(word) and not word.startswith("-")


# --- errors -------------------------------------------------------------------------------------------------


def _fail(call: Invocation, name: str, found: str, remedy: str) -> None:
    """One line on standard error, in the form of the answer."""
    if call.options.verbose:
        traceback.print_exc()
    if call.options.as_json:
        line = json.dumps({"error": name, "found": found, "remedy": remedy}, ensure_ascii=False)
    else:
        line = "error: " + _one_line(found.rstrip(".") + ". " + remedy if remedy else found)
    call.foot.end()
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr) if call.options.as_json else write_lines(sys.stderr, line)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _parts(error: Exception, words: Sequence[str]) -> tuple[str, str, str]:
    """Name, what was found and remedy: of a named error its own, of Hydra's explained, of any other its type."""
    overrides = [w for w in words if is_override(w)]
    with contextlib.suppress(TsadError):
        overrides = [w for w in with_verb(words, options_of("task")) if is_override(w)]
    named = explained(error, overrides) if "hydra" in sys.modules else error
    if isinstance(named, TsadError):
        return type(named).__name__, named.found, named.remedy
    kind = type(error).__name__
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return kind, f"{place}{error.strerror or error}", ""
    return kind, f"{kind}: {_one_line(str(error))} (tsad -v shows where)", ""
