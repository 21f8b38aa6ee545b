"""Label selectors over a namespace's labels, as Kubernetes means them, read strictly.

The API's own selector is a pydantic model; this package stays without it, because the agent imports it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.provenance.strictjson import Fields, JsonError

_WITH_VALUES: Final = frozenset({"In", "NotIn"})
_WITHOUT_VALUES: Final = frozenset({"Exists", "DoesNotExist"})


@dataclass(frozen=True, slots=True)
class Expression:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str]

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition; like Kubernetes, NotIn holds for a label that is absent."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
        return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """Every label and every expression has to hold; empty selects everything."""

    labels: Mapping[str, str]
    expressions: tuple[Expression, ...] = ()

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(name) == value for name, value in self.labels.items()) and all(
            expression.holds(labels) for expression in self.expressions
        )


def read_selector(fields: Fields) -> Selector:
    """Read `matchLabels` and `matchExpressions`.

    Raises:
        JsonError: anything else, an unknown operator, values missing or too many.
    """
    labels = fields.text_map("matchLabels")
    items = fields.items("matchExpressions", required=False)
    fields.done()
    return Selector(labels, tuple(_expression(item, f"{fields.where}.matchExpressions") for item in items))


def _expression(item: object, where: str) -> Expression:
    fields = Fields(item, where)
    key, operator = fields.text("key"), fields.text("operator")
    values = frozenset(fields.texts("values", required=False))
    fields.done()
    if operator not in _WITH_VALUES | _WITHOUT_VALUES:
        raise JsonError(f"{where}.operator {ascii(operator)[:40]}: wanted In, NotIn, Exists or DoesNotExist")
    if (operator in _WITH_VALUES) != bool(values):
        raise JsonError(f"{where}: In and NotIn need values, Exists and DoesNotExist take none")
    return Expression(key, operator, values)
