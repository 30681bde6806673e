"""Node parameters from plain data: declared with description and range, checked when set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

TYPE_NAMES = {bool: 'bool', int: 'integer', float: 'double', str: 'string', list: 'string array'}


@dataclass(frozen=True)
class Parameter:
    """One parameter: name, default (which gives the type), what it is for, range or choices, changeable while running."""

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    changeable: bool = False

    @property
    def constraint(self) -> str:
        """The rule for its values in words; empty without one."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.low is None:
            return ''
        return f'{self.low:g} or more' if self.high is None else f'{self.low:g} ... {self.high:g}'

    def refusal(self, value: Any) -> str:
        """Why a value of the right type will not do; empty when it will."""
        fits = value in self.choices if self.choices else (
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high))
        return '' if fits else f'{self.name} is {value!r}, must be {self.constraint}'

    def descriptor(self) -> ParameterDescriptor:
        """The descriptor that `ros2 param describe` shows."""
        out = ParameterDescriptor(name=self.name, description=self.description, additional_constraints=self.constraint,
                                  read_only=not self.changeable)
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                out.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)]
            else:
                out.floating_point_range = [FloatingPointRange(from_value=float(self.low), to_value=float(self.high), step=0.0)]
        return out


class ParameterError(ValueError):
    """A parameter value that cannot be used; the message names node, parameter, value and what would do."""


def declare(node: Node, table: Iterable[Parameter], changed: Callable[[dict[str, Any]], str] | None = None) -> dict[str, Any]:
    """Declare the table on a node and return name -> value; raises ParameterError for a bad initial value.

    changed: called with all values as they would be when somebody sets parameters while the node runs; returns why not, or ''.
    A refused change leaves everything as it was.
    """
    known = {parameter.name: parameter for parameter in table}
    values: dict[str, Any] = {}
    for parameter in known.values():
        kind = TYPE_NAMES[type(parameter.default)]
        try:
            value = node.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
        except InvalidParameterTypeException as error:
            hint = ' (write 5.0 for 5)' if kind == 'double' else ''
            raise ParameterError(f'{node.get_name()}: parameter {parameter.name} must be a {kind}{hint}: {error}') from error
        except InvalidParameterValueException as error:
            raise ParameterError(f'{node.get_name()}: parameter {parameter.name} must be {parameter.constraint}: '
                                 f'{error}') from error
        if isinstance(parameter.default, list):
            value = list(value)
        refusal = parameter.refusal(value)
        if refusal:
            raise ParameterError(f'{node.get_name()}: parameter {refusal}')
        values[parameter.name] = value

    def check(parameters: list[RosParameter]) -> SetParametersResult:
        proposed = {p.name: p.value for p in parameters if p.name in known}
        for name, value in proposed.items():
            refusal = known[name].refusal(value)
            if refusal:
                node.get_logger().warning(f'parameter not changed: {refusal}')
                return SetParametersResult(successful=False, reason=refusal)
        if changed is not None and proposed:
            try:
                refusal = changed({**values, **proposed})
            except Exception as error:
                refusal = str(error)
            if refusal:
                node.get_logger().warning(f'parameter not changed: {refusal}')
                return SetParametersResult(successful=False, reason=refusal)
        values.update(proposed)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    return values
