"""The `condgen` command: a table of verbs that imports nothing until one is chosen."""

import os
import sys

from condgen import __version__

VERBS = {
    "quickstart": ("condgen.cli.quickstart", "train, score and sample a CGAN on real digits, in minutes on a CPU"),
    "fit": (
        "condgen.cli.lightning",
        "train a model:         condgen fit -c trainer/default.yaml -c model/cgan.yaml -c data/digits.yaml",
    ),
    "validate": ("condgen.cli.lightning", "score a checkpoint on the validation split"),
    "test": ("condgen.cli.lightning", "score a checkpoint:    condgen test -c RUN --ckpt_path RUN"),
    "predict": ("condgen.cli.lightning", "write one PNG per test condition"),
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
    "data": ("condgen.cli.data", "look at images:        condgen data check FOLDER; condgen data show data/mnist.yaml"),
    "bench": ("condgen.cli.bench", "how fast it is here:   condgen bench train -c trainer/default.yaml -c RUN"),
    "compare": ("condgen.cli.compare", "compare scored runs:   condgen compare RUN RUN --out compare.html"),
}


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
    return run(verb, rest)


def run(verb: str, args: list[str]) -> int:
    """Import a verb's module and run it; what a user can mend becomes one line.

    The working folder is searched for classes last, as `python -m` would search it first.
    """
    from importlib import import_module

    from condgen.cli.errors import RunError, UserError

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        code: int = import_module(VERBS[verb][0]).run(verb, args)
        return code
    except (UserError, RunError) as error:
        if os.environ.get("CONDGEN_TRACEBACK"):
            raise
        return fail(str(error), 2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt:
        return fail("interrupted", 130)


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
        ]
    )


def fail(message: str, code: int) -> int:
    """Say in one line what is wrong."""
    print(f"condgen: {' '.join(message.split())}", file=sys.stderr)
    return code
