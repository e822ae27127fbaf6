"""How much of what is printed is kept, and that what is not is counted."""

from __future__ import annotations

from disttrack.api.console import (
    BURST_BYTES,
    RATE_BYTES,
    RECORD_BYTES,
    TAIL_BYTES,
    TOTAL_BYTES,
    Budget,
    ConsoleWriter,
)
from disttrack.records.payloads import ConsoleText


class Said:
    """A writer with a clock that the test moves, and what it said."""

    def __init__(self, *, redact: bool = True) -> None:
        self.records: list[ConsoleText] = []
        self.now_s = 0.0
        self.writer = ConsoleWriter("stdout", self.records.append, Budget(0.0), redact=redact)

    def print(self, text: str, after_s: float = 0.2) -> None:
        self.now_s += after_s
        self.writer.feed(text, self.now_s)
        self.writer.tick(self.now_s)

    @property
    def text(self) -> str:
        return "".join(record.text for record in self.records)

    @property
    def lost(self) -> int:
        return sum(record.lost_bytes for record in self.records)


def test_what_fits_is_kept_as_it_is() -> None:
    said = Said()
    for number in range(100):
        said.print(f"line {number}\n")
    assert said.text == "".join(f"line {number}\n" for number in range(100))
    assert said.lost == 0


def test_a_flood_keeps_its_head_and_its_tail_and_counts_the_rest() -> None:
    said = Said()
    flood = "".join(f"line {number:09}\n" for number in range(200_000))
    said.print(flood)
    said.print("end\n", after_s=60)
    assert said.text.startswith("line 000000000\n")
    assert said.text.endswith("line 000199999\nend\n")
    assert len(said.text) - 4 <= BURST_BYTES
    assert len(said.text) - 4 + said.lost == len(flood)
    assert max(len(record.text) for record in said.records) <= RECORD_BYTES
    assert all(record.text.endswith("\n") for record in said.records)


def test_no_more_than_the_rate_and_the_total_is_kept_and_the_newest_at_the_end() -> None:
    said = Said(redact=False)
    printed = 0
    for number in range(1_100):
        text = f"{number:07}\n" * (2 * RATE_BYTES // 8)
        said.print(text, after_s=1.0)
        printed += len(text)
        if number == 100:
            assert len(said.text) <= BURST_BYTES + 101 * RATE_BYTES
    said.print("the very last\n")
    said.writer.finish(said.now_s)
    assert TOTAL_BYTES - (1 << 20) - 2 * TAIL_BYTES <= len(said.text) <= TOTAL_BYTES
    assert said.text.endswith("the very last\n")
    assert len(said.text) + said.lost == printed + len("the very last\n")


def test_secrets_are_redacted_also_where_a_line_comes_in_pieces() -> None:
    said = Said()
    said.print("--password CANA", after_s=0)
    said.print("RY-1 https://u:CAN", after_s=0)
    said.print("ARY-2@host/\n", after_s=0)
    said.print("api_key=CANARY-3abcdefghijklmnop\n")
    said.writer.finish(said.now_s)
    assert "CANARY" not in said.text
    assert said.text.count("[redacted]") == 2
    plain = Said(redact=False)
    plain.print("--password CANARY\n")
    assert "CANARY" in plain.text


def test_a_bar_says_its_state_from_time_to_time() -> None:
    said = Said()
    for state in range(600):
        said.print(f"\r{state}", after_s=0.1)
    states = len(said.records)
    assert 2 <= states <= 10
    said.print("\n")
    assert said.records[-1].text == "\r599\n"


def test_half_characters_are_kept_as_escapes() -> None:
    said = Said()
    said.print("a\udc80b\n")
    assert said.text == "a\\udc80b\n"
