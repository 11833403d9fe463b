"""What a name in a config or a checkpoint could reach if it were let."""

from __future__ import annotations

from typing import Any

from experiments.soak.harness import MARK

PROOF = f"{MARK}-ran"
"""The file that a payload makes."""
SHELL = f"touch {PROOF}"
CODE = f"open({PROOF!r}, 'w').close()"
EVIL = "evil_module"
"""A module in the working folder that makes the file when it is imported."""
PICKLE = f"{MARK}.pkl"
"""A pickle that makes the file when it is loaded with its code."""
TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("os.system", {"command": SHELL}),
    ("posix.system", {"command": SHELL}),
    ("os.popen", {"cmd": SHELL}),
    ("os.mkdir", {"path": PROOF}),
    ("os.execv", {"path": "/bin/touch", "argv": ["touch", PROOF]}),
    ("subprocess.Popen", {"args": ["touch", PROOF]}),
    ("subprocess.run", {"args": ["touch", PROOF]}),
    ("subprocess.check_output", {"args": ["touch", PROOF]}),
    ("builtins.eval", {"source": CODE}),
    ("builtins.exec", {"source": CODE}),
    ("builtins.open", {"file": PROOF, "mode": "w"}),
    ("builtins.__import__", {"name": EVIL}),
    ("io.open", {"file": PROOF, "mode": "w"}),
    ("pathlib.Path", {"args": PROOF}),
    ("shutil.copy", {"src": f"{EVIL}.py", "dst": PROOF}),
    ("runpy.run_path", {"path_name": f"{EVIL}.py"}),
    ("runpy.run_module", {"mod_name": EVIL}),
    ("importlib.import_module", {"name": EVIL}),
    ("timeit.timeit", {"stmt": CODE}),
    ("cProfile.run", {"statement": CODE}),
    ("pickle.loads", {"data": "x"}),
    ("functools.partial", {"func": "os.system"}),
    ("operator.methodcaller", {"name": "system"}),
    ("logging.FileHandler", {"filename": PROOF}),
    ("multiprocessing.Process", {"target": "os.system", "args": [SHELL]}),
    ("code.interact", {}),
    ("webbrowser.open", {"url": f"http://127.0.0.1:1/{MARK}"}),
    ("ctypes.CDLL", {"name": MARK}),
    (f"{EVIL}.Model", {}),
    (f"{EVIL}.run", {"command": SHELL}),
    (f"{EVIL}", {}),
    ("numpy.load", {"file": PICKLE, "allow_pickle": True}),
    ("yaml.unsafe_load", {"stream": f"!!python/object/apply:os.system ['{SHELL}']"}),
    ("torch.load", {"f": PICKLE, "weights_only": False}),
    ("torch.hub.load", {"repo_or_dir": ".", "model": "run", "source": "local"}),
    ("torch.jit.load", {"f": PICKLE}),
    ("torch.package.PackageImporter", {"file_or_buffer": PICKLE}),
    ("torch.utils.cpp_extension.load_inline", {"name": MARK, "cpp_sources": "int x;"}),
    ("torch.multiprocessing.spawn", {"fn": "os.system", "args": [SHELL]}),
    ("torch.serialization.load", {"f": PICKLE, "weights_only": False}),
    ("torch.nn.modules.module.functools.partial", {"func": "os.system"}),
    ("torch.nn.modules.module.OrderedDict", {}),
    ("torch.nn.modules.utils.collections.abc.Iterable", {}),
    ("torch.nn.parallel.distributed.os.system", {"command": SHELL}),
    ("torch.nn.functional.importlib.import_module", {"name": EVIL}),
    ("torch.nn.functional.importlib", {"name": EVIL}),
    ("torch.optim.lr_scheduler.types.FunctionType", {}),
    ("torchvision.datasets.LSUN", {"root": ".", "classes": "test"}),
    ("torchmetrics.image.fid.FrechetInceptionDistance", {"feature": 64, "feature_extractor_weights_path": PICKLE}),
    ("torchmetrics.image.FrechetInceptionDistance", {"feature": 64, "feature_extractor_weights_path": PICKLE}),
    ("torchvision.datasets.utils.os.system", {"command": SHELL}),
    ("torchvision.models._api.importlib.import_module", {"name": EVIL}),
    ("torchmetrics.utilities.imports.sys.modules", {}),
    (
        "lightning.pytorch.LightningModule.load_from_checkpoint",
        {"checkpoint_path": PICKLE, "weights_only": False},
    ),
    ("lightning.pytorch.core.saving._load_from_checkpoint", {"cls": "x", "checkpoint_path": PICKLE}),
    ("lightning.fabric.utilities.cloud_io._load", {"path_or_url": PICKLE, "weights_only": False}),
    ("lightning.pytorch.cli.LightningCLI", {}),
    ("lightning.pytorch.callbacks.LambdaCallback", {"on_fit_start": "os.system", "setup": f"{EVIL}.run"}),
    ("lightning.pytorch.strategies.launchers.subprocess_script.subprocess.Popen", {"args": ["touch", PROOF]}),
    ("lightning.pytorch.plugins.io.TorchCheckpointIO.load_checkpoint", {"path": PICKLE}),
    ("jsonargparse.CLI", {"components": "os.system"}),
    ("jsonargparse.set_parsing_settings", {"import_path_allowlist": ["os"]}),
    ("condgen.checkpoints.load_model", {"path": "hidden.ckpt", "trusted": [EVIL]}),
    ("condgen.checkpoints.DrawnImages", {"path": "hidden.ckpt", "trusted": [EVIL]}),
    ("condgen.models.plain.from_plain", {"value": {}, "trusted": ["os"]}),
    ("condgen.trust.find_named", {"path": "os.system", "packages": ["os"], "trusted": ["os"]}),
    ("condgen.cli.main", {"argv": ["fit", "--trust", EVIL]}),
    ("condgen.cli.trust.import_trusted", {"package": EVIL}),
    ("condgen.data.decode.Image.open", {"fp": "x"}),
    ("condgen.models.CGAN.load_from_checkpoint", {"checkpoint_path": PICKLE}),
    ("condgen.metrics.evaluate", {}),
]
"""What a name could reach, and arguments that would make `PROOF`."""
