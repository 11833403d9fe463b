"""Functions that are named as their module, such as `condgen.objectives.elbo`, are found in the reference.

A package that exports such a function has it in the module's place, in Python; griffe keeps the module there.
"""

from __future__ import annotations

from typing import Any

from griffe import Alias, Extension, GriffeLoader, Module


class SameName(Extension):
    """Puts the function in the module's place, once all other names are resolved."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Look at the package and at those inside it."""
        loader.resolve_aliases(external=False)
        for package in (pkg, *pkg.modules.values()):
            for name, path in package.imports.items():
                module = package.members.get(name)
                if isinstance(module, Module) and path == f"{module.path}.{name}":
                    package.members[name] = Alias(name, module.members[name], parent=package)
