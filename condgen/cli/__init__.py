"""The `condgen` command: a table of verbs that imports nothing until one is chosen."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from condgen import __version__

if TYPE_CHECKING:
    from condgen.interrupts import Interrupted

VERBS = {
    "quickstart": ("condgen.cli.quickstart", "train, score and sample a CGAN on real digits, in minutes on a CPU"),
    "fit": (
        "condgen.cli.verbs",
        "train a model:         condgen fit -c trainer/default.yaml -c model/cgan.yaml -c data/digits.yaml",
    ),
    "validate": ("condgen.cli.verbs", "score a checkpoint on the validation split"),
    "test": ("condgen.cli.verbs", "score a checkpoint:    condgen test RUN"),
    "predict": ("condgen.cli.verbs", "write one PNG per test condition"),
    "evaluate": (
        "condgen.cli.evaluate",
        "score any images:      condgen evaluate data/mnist.yaml their/samples --extractor mnist",
    ),
    "sample": ("condgen.cli.sample", "generate images:       condgen sample --ckpt RUN --label 3,7 --n 16"),
    "interpolate": (
        "condgen.cli.interpolate",
        "walk between two:      condgen interpolate --ckpt RUN --label 3,7 --out walk.png",
    ),
    "info": ("condgen.cli.info", "what a checkpoint takes: condgen info RUN"),
    "export": ("condgen.cli.export", "a model to share:      condgen export RUN FOLDER"),
    "data": ("condgen.cli.data", "look at images:        condgen data check FOLDER; condgen data show data/mnist.yaml"),
    "bench": ("condgen.cli.bench", "how fast it is here:   condgen bench train -c trainer/default.yaml -c RUN"),
    "compare": ("condgen.cli.compare", "compare scored runs:   condgen compare RUN RUN --out compare.html"),
    "list": ("condgen.cli.list", "what there is:         condgen list [models|data|conditions|metrics|samplers|nets]"),
    "init": ("condgen.cli.init", "your own images:       condgen init DIR, a starter experiment"),
}


LONGEST = 500
"""Characters of a word that are told; no path that anyone types is so long."""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return 0, 1 if it failed at work, 2 if it was asked for something wrong."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"condgen {__version__}")
        return 0
    verb, *rest = args
    if verb not in VERBS:
        from condgen.cli.errors import nearest

        return fail(f"no verb {verb!r}{nearest(verb, VERBS)}; the verbs are {', '.join(VERBS)}", 2)
    return run(verb, rest, at_last=argv is None)


def run(verb: str, args: list[str], *, at_last: bool = False) -> int:
    """Import a verb's module and run it; what a user can mend becomes one line.

    Args:
        verb: The verb.
        args: What follows it.
        at_last: Whether the process ends with it.
    """
    from condgen.cli.errors import RankError, RunError, UserError, lost_reader
    from condgen.cli.trust import split_trusted, trusting
    from condgen.interrupts import Interrupted, interrupts

    try:
        trusted, words = split_trusted(args)
        with interrupts.handled(at_last=at_last), trusting(trusted):
            code: int = import_module(VERBS[verb][0]).run(verb, words, trusted)
        return code
    except Interrupted as error:
        return left(error)
    except RankError as error:
        fail(str(error), error.code)
        if at_last:  # what is left of this process may wait for the others as it ends
            sys.stdout.flush()
            os._exit(error.code)
        return error.code
    except (UserError, RunError) as error:
        if os.environ.get("CONDGEN_TRACEBACK"):
            raise
        return fail(str(error), 2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except Exception as error:  # processes that help this one may be asked to leave before it, or be ended
        signum, lost = interrupts.received, lost_reader(error)
        if signum is None and not lost:
            raise
        return fail(lost, 1) if signum is None else left(Interrupted(signum))


def usage() -> str:
    """Return the help text."""
    lines = [f"  {verb:<12}{text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        [
            "usage: condgen VERB [OPTIONS]       condgen VERB --help",
            "",
            "Conditional image generation: train, score, compare and sample any model under any condition.",
            "",
            *lines,
            "",
            "With any verb: --trust my_model lets configs and checkpoints name what is in my_model.py, or a package.",
        ]
    )


def left(error: "Interrupted") -> int:
    """Say that a signal has ended the work, unless the process that started this one as another of its job does."""
    from condgen.cli.files import parent

    message, code = error.told
    return fail(message if parent() is None else "", code)


def fail(message: str, code: int) -> int:
    """Say in one line what is wrong, if that is not said already."""
    if message:
        words = (word if len(word) <= LONGEST else f"{word[:LONGEST]}..." for word in message.split())
        print(f"condgen: {' '.join(words)}", file=sys.stderr, flush=True)
    return code
