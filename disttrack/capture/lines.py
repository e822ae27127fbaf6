"""What stays of text once a terminal has shown it: of a line that is rewritten, as by progress bars, the last state."""

from __future__ import annotations

import re

__all__ = ["LineEditor"]

WINDOW_ROWS = 16  # above the last one, that bars may still move up to
MAX_ROW = 16 << 10  # characters of a line that has no end; what is longer is let go in pieces
_CONTROL = re.compile(r"\r\n|[\r\n]|\x1b\[(\d*)([ABK])")


class LineEditor:
    """Turns a stream of text into whole lines. Not for two threads at once."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._rows = [""]
        self._row = 0
        self._at_start = False  # what comes next replaces the row: the cursor has returned to its start
        self._moves = False  # several bars move up and down: the rows above are not final
        self._shown = False  # partial() returned the last row

    def feed(self, text: str) -> str:
        """Return the lines that are final now, with their ends; behind a "\\r" where partial() showed a part."""
        if "\r" not in text and "\x1b[" not in text and not self._at_start and not self._moves:
            whole, end, rest = text.rpartition("\n")
            if not end:
                return self._grow(rest)
            done, self._rows = self._rows[0] + whole + end, [rest]
            return self._out(done)
        position = 0
        for control in _CONTROL.finditer(text):
            self._write(text[position : control.start()])
            self._obey(control)
            position = control.end()
        self._write(text[position:])
        keep = WINDOW_ROWS if self._moves else 1
        done = "".join(f"{row}\n" for row in self._rows[:-keep])
        del self._rows[:-keep]
        self._row = max(0, min(self._row, len(self._rows) - 1))
        if not self._moves:
            self._row = len(self._rows) - 1
        return self._out(done) + (self._grow("") if not self._moves else "")

    def partial(self) -> str:
        """Return the line that has no end yet, to be shown in its state of now; "" where there is none."""
        if self._moves or not self._rows[-1].strip():
            return ""
        before, self._shown = self._shown, True
        return ("\r" if before else "") + self._rows[-1]

    def rest(self) -> str:
        """Return what is left at the end, and forget it."""
        rows = [row for row in self._rows if row.strip()]
        text = self._out("\n".join(rows)) if rows else ""
        self._clear()
        return text

    def _out(self, done: str) -> str:
        if not done:
            return ""
        shown, self._shown = self._shown, False
        return "\r" + done if shown else done

    def _grow(self, text: str) -> str:
        self._rows[-1] += text
        if len(self._rows[-1]) <= MAX_ROW:
            return ""
        done, self._rows[-1] = self._rows[-1], ""
        return self._out(done)

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._at_start:
            text_is_blank = not text.strip(" ")
            self._rows[self._row] = "" if text_is_blank else text
            self._at_start = text_is_blank  # a bar wipes its line so
        else:
            self._rows[self._row] += text

    def _obey(self, control: re.Match[str]) -> None:
        count, letter = int((control[1] or "1")[:4] or "1"), control[2]
        if letter == "A":
            self._moves = True
            self._row = max(0, self._row - count)
            self._at_start = True
        elif letter == "B":
            self._row = min(len(self._rows) - 1, self._row + count)
        elif letter == "K":
            if self._at_start:
                self._rows[self._row] = ""
        elif control[0] == "\r":
            self._at_start = True
        else:
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append("")
                self._at_start = False
            else:
                self._at_start = True
