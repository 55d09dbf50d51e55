"""The registers behind a served page: what a read finds, what a write means to the equipment, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from adapters.modbus.page import Command, Page, Point
from adapters.modbus.registers import decode, encode, encode_missing, raw_to_registers, registers_to_raw
from ems.errors import FieldError

NO_SUCH_REGISTER = 2  # Modbus exception codes
VALUE_NOT_ACCEPTED = 3


class PageRegisters:
    """The register memory behind a page: readings come from `read`, everything written is checked, kept and passed to `write`."""

    def __init__(self, page: Page, read: Callable[[], Mapping[str, float]], write: Callable[[str, float], None]) -> None:
        self._page, self._read, self._write = page, read, write
        self._commands = {c.name: c for c in page.commands}
        self._image = {a + i: w for a, text in page.image for i, w in enumerate(_hex_words(text))}
        self._auxiliaries = {(p.table, p.address) for p in page.registers}
        points = (*page.points, *page.registers, *(c.point for c in page.commands))
        self._owner = {(p.table, a): p for p in points for a in range(p.address, p.end)}
        self._span = {
            t: (min(a for s, a in self._owner if s == t), max(a for s, a in self._owner if s == t)) for t in {p.table for p in points}
        }
        self._stored: dict[str, tuple[int, ...]] = {}
        self._frozen: dict[str, float] | None = None
        self._plans: dict[tuple[str, int, int], list[tuple[int, tuple[int, ...] | None]]] = {}
        self.reset()

    def reset(self) -> None:
        """Auxiliary registers back to what they hold after power-up."""
        self._stored = {
            p.name: raw_to_registers(p, p.default) for p in self._page.registers if p.default is not None and p.type != "string"
        }

    def words(self, table: str, address: int, count: int, is_frozen: bool = False) -> list[int] | None:
        """The registers asked for, None when the device does not have one of them or cannot say what is in it."""
        values = self._values(is_frozen)
        self._follow_lapse(values)
        found: list[int] = []
        for here, constant in self._runs(table, address, count):
            words = constant if constant is not None else self._words_at(table, here, values)
            if words is None:
                return None
            found.extend(words)
        return found[:count]

    def _runs(self, table: str, address: int, count: int) -> list[tuple[int, tuple[int, ...] | None]]:
        """A request as runs: an address that a point owns, or an address with the constant words from there to the next point."""
        key = (table, address, count)
        if key not in self._plans:
            self._plans[key] = list(self._planned(table, address, count))
        return self._plans[key]

    def _planned(self, table: str, address: int, count: int) -> Iterator[tuple[int, tuple[int, ...] | None]]:
        here = address
        constant: list[int] = []
        while here < address + count:
            point = self._owner.get((table, here))
            words = self._words_at(table, here, {}) if point is None else None
            if words is not None:
                constant.extend(words)
                here += len(words)
                continue
            if constant:
                yield here - len(constant), tuple(constant)
                constant = []
            yield here, None
            here = here + 1 if point is None else point.end
        if constant:
            yield here - len(constant), tuple(constant)

    def store(self, address: int, words: list[int]) -> int | None:
        """Checks and applies a write; the exception to answer, or None."""
        taken: list[tuple[Point, tuple[int, ...]]] = []
        at = 0
        while at < len(words):
            point = self._owner.get(("holding", address + at))
            if point is None or point.address != address + at or not self._is_writable(point):
                return NO_SUCH_REGISTER
            if at + point.count > len(words):
                return VALUE_NOT_ACCEPTED
            taken.append((point, tuple(words[at : at + point.count])))
            at += point.count
        return self._apply(taken)

    def _apply(self, taken: list[tuple[Point, tuple[int, ...]]]) -> int | None:
        for point, registers in taken:
            command = self._commands.get(point.name)
            if command is not None and not self._is_accepted(command, registers):
                return VALUE_NOT_ACCEPTED
        before = dict(self._stored)
        self._stored.update({point.name: registers for point, registers in taken})
        try:
            for name, value in self._effects({point.name for point, _ in taken}):
                self._write(name, value)
        except (FieldError, ValueError):
            self._stored = before
            return VALUE_NOT_ACCEPTED
        return None

    def _effects(self, names: set[str]) -> list[tuple[str, float]]:
        """What a write means to the device: commands first, then its lease."""
        lease = self._page.lease
        if lease.enable in names and not self._raw(lease.enable):
            return [("release", 0.0)]
        if lease.counter in names and not self._raw(lease.counter):
            return [("release", 0.0)]
        is_enabled = lease.enable is None or bool(self._raw(lease.enable))
        told = set(self._commands) if lease.enable in names else names & set(self._commands)
        effects = [(name, self._command_value(name)) for name in self._commands if name in told and name in self._stored and is_enabled]
        keepers = {lease.enable, lease.counter, lease.seconds if lease.kind == "reversion_timer" else None}
        keeps_lease = bool(names & keepers) or (lease.kind == "vendor_timeout" and bool(effects))
        if keeps_lease and is_enabled:
            effects.append(("lease_s", self._raw(lease.seconds) if lease.seconds else lease.default_s))
        return effects

    def _values(self, is_frozen: bool) -> Mapping[str, float]:
        if not is_frozen:
            self._frozen = None
            return self._read()
        if self._frozen is None:
            self._frozen = dict(self._read())
        return self._frozen

    def _follow_lapse(self, values: Mapping[str, float]) -> None:
        """A device whose lease has run out no longer shows its function as enabled."""
        enable = self._page.lease.enable
        if enable is not None and values.get("lease_remaining_s", 1.0) <= 0.0:
            self._stored[enable] = raw_to_registers(self._page.register(enable), 0)

    def _words_at(self, table: str, address: int, values: Mapping[str, float]) -> tuple[int, ...] | None:
        """The registers from `address` to the end of the point that owns it."""
        point = self._owner.get((table, address))
        if point is None:
            if table == "holding" and address in self._image:
                return (self._image[address],)
            low, high = self._span.get(table, (1, 0))
            return (0,) if self._page.gaps == "zeros" and low <= address <= high else None
        registers = self._encoded(point, values)
        return None if registers is None else registers[address - point.address :]

    def _encoded(self, point: Point, values: Mapping[str, float]) -> tuple[int, ...] | None:
        if (point.table, point.address) in self._auxiliaries:
            return self._auxiliary(point, values)
        if point.name in values:
            return encode(point, values[point.name], self._exponent(point))
        if point.name in self._commands:
            return self._stored.get(point.name, (0,) * point.count)
        return encode_missing(point)

    def _auxiliary(self, point: Point, values: Mapping[str, float]) -> tuple[int, ...]:
        if point.name in values:
            return raw_to_registers(point, values[point.name] if point.type == "float32" else round(values[point.name]))
        stored = self._stored.get(point.name)
        return stored if stored is not None else tuple(self._image.get(a, 0) for a in range(point.address, point.end))

    def _exponent(self, point: Point) -> int:
        return 0 if point.scale_factor is None else int(self._raw(point.scale_factor))

    def _raw(self, name: str) -> float:
        point = self._page.register(name)
        return float(registers_to_raw(point, self._auxiliary(point, {})))

    def _command_value(self, name: str) -> float:
        point = self._commands[name].point
        value = decode(point, self._stored[name], self._exponent(point))
        if value is None:
            raise ValueError(name)
        return value

    def _is_accepted(self, command: Command, registers: tuple[int, ...]) -> bool:
        value = decode(command.point, registers, self._exponent(command.point))
        return value is not None and command.min_kw - 1e-6 <= value <= command.max_kw + 1e-6

    def _is_writable(self, point: Point) -> bool:
        lease = self._page.lease
        sequenced = {name for name, _ in (*lease.before, *lease.after, *lease.release)} | {lease.seconds, lease.counter, lease.enable}
        return point.name in self._commands or point.name in sequenced


def _hex_words(text: str) -> list[int]:
    data = bytes.fromhex(text)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
