"""Dynamic-batching settings of one model.

Holds only what has been checked: an instance that exists is valid, so nothing
after this module asks again. Messages leave out the model, which the caller adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Deadline and bound of one queue. 0 us: no deadline; 0 requests: no bound of its own."""

    timeout_action: str = "reject"  # or "delay"
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0

    @property
    def delays(self) -> bool:
        """Whether a late request is served later rather than refused."""
        return self.timeout_action == "delay" and self.default_timeout_us != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBatching:
    """How requests are merged. Levels count from 1, the most urgent; 0 levels: no priorities."""

    max_batch_rows: int
    preferred_rows: tuple[int, ...] = ()
    max_queue_delay_us: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority: int = 0
    default_policy: QueuePolicy = QueuePolicy()
    level_policies: Mapping[int, QueuePolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, rows in enumerate(self.preferred_rows):
            where = f"preferred_batch_size[{index}]"
            if rows <= 0:
                raise ConfigError(where, "dynamic batching preferred size must be positive", fix=self._preferred_fix())
            if rows > self.max_batch_rows:
                raise ConfigError(
                    where, "dynamic batching preferred size must be <= max batch size", fix=self._preferred_fix()
                )
        self._check_priorities()
        if self.preserve_ordering:
            self._check_ordering()

    def _check_priorities(self) -> None:
        levels = self.priority_levels
        if not levels:
            return
        if not 1 <= self.default_priority <= levels:
            raise ConfigError(
                "default_priority_level" if self.default_priority else "priority_levels",
                f"default priority level must be in range [1, {levels}]",
                fix=f"default_priority_level: {levels}",
            )
        for level in sorted(self.level_policies):
            if not 1 <= level <= levels:
                raise ConfigError(
                    f'priority_queue_policy["{level}"]',
                    f"priority queue policy must have priority level in range [1, {levels}]",
                    fix=f"priority_levels: {level}" if level else "",
                )

    def _check_ordering(self) -> None:
        if self.priority_levels > 1:
            raise ConfigError(
                "preserve_ordering",
                "Only one priority level is allowed when 'preserve_ordering' is true",
                fix="preserve_ordering: false",
            )
        policies = [("default_queue_policy", self.default_policy)]
        policies += [
            (f'priority_queue_policy["{level}"]', self.level_policies[level]) for level in sorted(self.level_policies)
        ]
        for where, policy in policies:
            if policy.delays:
                raise ConfigError(
                    where,
                    "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true",
                    fix="timeout_action: REJECT",
                )

    def _preferred_fix(self) -> str:
        fitting = [str(rows) for rows in self.preferred_rows if 1 <= rows <= self.max_batch_rows]
        if fitting:
            return f"preferred_batch_size: [ {', '.join(fitting)} ]"
        largest = max(self.preferred_rows)
        return f"max_batch_size: {largest}" if largest > 0 else "dynamic_batching { }"


def batching_from(message: Message, max_batch_rows: int) -> DynamicBatching:
    """A ModelDynamicBatching message -> DynamicBatching. Raises ConfigError with a path below the message."""
    return DynamicBatching(
        max_batch_rows=max_batch_rows,
        preferred_rows=tuple(message.preferred_batch_size),
        max_queue_delay_us=message.max_queue_delay_microseconds,
        preserve_ordering=message.preserve_ordering,
        priority_levels=message.priority_levels,
        default_priority=message.default_priority_level,
        default_policy=_policy(message.default_queue_policy),
        level_policies={
            level: _policy(message.priority_queue_policy[level]) for level in message.priority_queue_policy
        },
    )


def _policy(message: Message) -> QueuePolicy:
    return QueuePolicy(
        timeout_action="delay" if message.timeout_action == 1 else "reject",
        default_timeout_us=message.default_timeout_microseconds,
        allow_timeout_override=message.allow_timeout_override,
        max_queue_size=message.max_queue_size,
    )
