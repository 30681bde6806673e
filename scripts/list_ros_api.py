"""Lists the public names of ROS Python packages and interface packages from their sources.

Used to hold the nodes and launch files against the oldest supported distribution (test/ground/humble_api.txt):

    python scripts/list_ros_api.py rclpy=SOURCES/rclpy/rclpy launch=SOURCES/launch/launch sensor_msgs=SOURCES/sensor_msgs ...

One line for each name: `package.module.name` and, for what can be called, its parameters in brackets; `**` at their end
when there may be others. A folder with msg/ or srv/ is an interface package; its messages have their fields as parameters.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Parameters(list[str]):
    """Names that a call accepts; open when it passes others on."""

    open = False

    def __str__(self) -> str:
        return f'({" ".join([*self, *(["**"] if self.open else [])])})'


class PackageSource:
    """The modules of one Python package, parsed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.modules: dict[str, ast.Module] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        for path in sorted(folder.rglob('*.py')):
            parts = [part for part in path.relative_to(folder).with_suffix('').parts if part != '__init__']
            if not any(part.startswith('_') or part == 'test' for part in parts):
                module = ast.parse(path.read_text())
                self.modules['.'.join([name, *parts])] = module
                self.classes.update((node.name, node) for node in ast.walk(module) if isinstance(node, ast.ClassDef))

    def names(self) -> Iterator[str]:
        """A line for each public name."""
        for module, tree in self.modules.items():
            yield module
            for node in statements(tree.body):
                if isinstance(node, ast.ImportFrom):
                    yield from (f'{module}.{name}' for name in self.imported(module, node))
                elif isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                    yield f'{module}.{node.name}{self.constructor(node)}'
                    yield from self.members(f'{module}.{node.name}', node)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith('_'):
                    yield f'{module}.{node.name}{signature(node)}'
                else:
                    yield from (f'{module}.{name}' for name in assigned(node))

    def imported(self, module: str, node: ast.ImportFrom) -> Iterator[str]:
        """Names that a module takes over from others of its package."""
        package = module if self.is_package(module) else module.rpartition('.')[0]
        origin = node.module or ''
        if node.level:
            above = package.split('.')[:len(package.split('.')) - node.level + 1]
            origin = '.'.join([*above, *filter(None, [origin])])
        if origin.split('.')[0] != module.split('.')[0]:
            return
        for alias in node.names:
            if alias.name != '*':
                yield alias.asname or alias.name
            elif origin in self.modules:
                for inner in statements(self.modules[origin].body):
                    defined = [inner.name] if isinstance(inner, ast.ClassDef | Function) else assigned(inner)
                    yield from (name for name in defined if not name.startswith('_'))

    def is_package(self, module: str) -> bool:
        """Whether a module has others inside."""
        return any(other.startswith(f'{module}.') for other in self.modules)

    def members(self, prefix: str, owner: ast.ClassDef) -> Iterator[str]:
        """A line for each public attribute and method that a class defines."""
        for node in statements(owner.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name == '__init__':
                    yield from sorted({f'{prefix}.{target.attr}' for target in ast.walk(node) if is_own_attribute(target)})
                elif not node.name.startswith('_'):
                    yield f'{prefix}.{node.name}' + ('' if is_property(node) else str(signature(node, bound=True)))
            else:
                yield from (f'{prefix}.{name}' for name in assigned(node))

    def constructor(self, owner: ast.ClassDef, depth: int = 0) -> Parameters:
        """What making an object accepts: of its own and, where it passes the rest on, of its bases."""
        makers = [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name in ('__init__', '__new__')]
        own = next(iter(makers), None)
        found = Parameters(name for maker in makers for name in signature(maker, bound=True))
        found.open = any(signature(maker).open for maker in makers)
        slots = [element.value.lstrip('_') for node in owner.body if isinstance(node, ast.Assign)
                 and getattr(node.targets[0], 'id', '') == '__slots__' and isinstance(node.value, ast.List | ast.Tuple)
                 for element in node.value.elts if isinstance(element, ast.Constant)]
        found += [slot for slot in slots if slot not in found]
        if (own is None or found.open) and depth < 10:
            bases = [self.classes.get(getattr(base, 'id', getattr(base, 'attr', ''))) for base in owner.bases]
            for base in filter(None, bases):
                inherited = self.constructor(base, depth + 1)
                found += [name for name in inherited if name not in found]
                found.open = found.open or inherited.open
        return found


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, also inside if and try."""
    for node in body:
        yield node
        for inner in ('body', 'orelse', 'finalbody'):
            if isinstance(node, ast.If | ast.Try):
                yield from statements(getattr(node, inner, []))


def assigned(node: ast.stmt) -> list[str]:
    """Public names that an assignment makes."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith('_')]


def is_own_attribute(node: ast.AST) -> bool:
    """Whether a node writes a public attribute of self."""
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and getattr(node.value, 'id', '') == 'self' \
        and not node.attr.startswith('_')


def is_property(node: Function) -> bool:
    """Whether a method is read or written like an attribute."""
    return any(getattr(mark, 'id', getattr(mark, 'attr', '')) in ('property', 'setter') for mark in node.decorator_list)


def signature(node: Function, bound: bool = False) -> Parameters:
    """Parameter names of a function, without self."""
    arguments = node.args
    static = any(getattr(mark, 'id', '') == 'staticmethod' for mark in node.decorator_list)
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    found = Parameters(names[1:] if bound and not static else names)
    found.open = arguments.kwarg is not None
    return found


def interface_names(package: str, folder: Path) -> Iterator[str]:
    """A line for each message and service of an interface package, and for each constant in them."""
    for path in sorted([*folder.glob('msg/*.msg'), *folder.glob('srv/*.srv'), *folder.glob('action/*.action')]):
        kind = path.suffix[1:]
        name = f'{package}.{kind}.{path.stem}'
        if kind != 'msg':
            yield name
        sections = {'srv': ('.Request', '.Response'), 'action': ('.Goal', '.Result', '.Feedback')}.get(kind, ('',))
        for section, text in zip(sections, re.split(r'^---\s*$', path.read_text(), flags=re.MULTILINE), strict=True):
            lines = [line.split('#')[0].strip() for line in text.splitlines()]
            constants = [match[1] for line in lines if (match := re.match(r'\S+\s+([A-Z][A-Z0-9_]*)\s*=', line))]
            fields = [match[1] for line in lines if (match := re.match(r'\S+\s+([a-z]\w*)', line))]
            yield f'{name}{section}({" ".join(fields)})'
            yield from (f'{name}{section}.{constant}' for constant in constants)


def listing(name: str, folder: Path) -> list[str]:
    """All lines of a package, sorted, each once."""
    interfaces = any((folder / kind).is_dir() for kind in ('msg', 'srv', 'action')) and not (folder / '__init__.py').exists()
    return sorted(set(interface_names(name, folder) if interfaces else PackageSource(name, folder).names()))


if __name__ == '__main__':
    for argument in sys.argv[1:]:
        package, _, source = argument.partition('=')
        if not Path(source).is_dir():
            sys.exit(f'{argument}: no folder {source!r}; give PACKAGE=FOLDER')
        print('\n'.join(listing(package, Path(source))))
