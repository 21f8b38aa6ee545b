"""Label selectors: the part of Kubernetes' LabelSelector that our kinds use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from edgewise.api.meta import LabelKey, LabelValue, Strict, rules


class LabelRequirement(Strict):
    """One condition on a label, as in Kubernetes' matchExpressions."""

    key: LabelKey = Field(description="The label that is looked at.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How values are compared.")
    values: Annotated[list[LabelValue], Field(max_length=64)] = Field(
        default=[], description="Values for In and NotIn; empty otherwise."
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` meet this condition."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


_EXPRESSION_RULES = rules(
    (
        "self.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
        "In and NotIn need values, Exists and DoesNotExist take none",
    )
)


class LabelSelector(Strict):
    """Selects by labels; every condition must hold; an empty selector selects everything."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default={}, description="Labels that must be there with just these values."
    )
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] = Field(
        default=[], description="Further conditions.", json_schema_extra=_EXPRESSION_RULES
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` meet every condition."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
