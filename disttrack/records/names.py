"""Names: the ones people give, the directories they become, and the ones we make up."""

from __future__ import annotations

import hashlib
import random
import secrets
import string
from urllib.parse import quote

__all__ = ["DELETED", "EDITS", "LATEST", "LIVE", "directory_name", "generated_name", "generated_words", "new_run_id"]

LIVE, DELETED, EDITS, LATEST = ".live", ".deleted", ".edits", ".latest"
"""In a project's directory: markers of live runs and tombstones of deleted ones, the list of edited runs, and notes of
the latest run of each working directory."""

MAX_DIRECTORY_BYTES = 200  # of the 255 most file systems allow; the rest is room for suffixes

ADJECTIVES = (
    "amber ancient autumn bold brave bright brisk calm candid clear clever cool cosmic crimson crisp curious dapper "
    "daring dawn deep eager early easy elated electric fair faithful fancy fast fearless fine firm floral fluent "
    "fond fresh frosty gentle giddy glad gleaming golden good graceful grand happy hardy honest humble icy jolly "
    "keen kind lively logical lucky lunar mellow merry mild misty modest neat noble northern olive patient peach "
    "pleasant polar polished proud quick quiet radiant rapid rare robust rosy royal sage serene sharp silent silver "
    "smooth snowy solar solid sparkling spring stellar still sunny super swift tidy tranquil true vivid warm wild "
    "winter wise woven young zesty"
).split()
NOUNS = (
    "acorn aspen aurora badger bay beacon birch bird breeze brook butterfly canyon cedar cliff cloud comet coral "
    "cove crane creek delta dew disk dragon dream dune eagle elm ember falcon feather fern field fire fjord flower "
    "fog forest fox frost galaxy garden glacier glade grass grove harbor hare hawk haze heron hill island jazz "
    "jungle lagoon lake lark leaf lily lynx maple meadow meteor mist moon moss mountain night oak ocean orbit orchid "
    "otter owl paper pebble pine planet plant pond puddle rain raven reef resonance ridge river robin rose sea "
    "serenity shadow shape silence sky snow snowflake sound spruce star stone stream sun sunset surf swan thunder "
    "tree valley violet voice water waterfall wave wildflower wind wood yew"
).split()


def directory_name(name: str) -> str:
    """Return the directory a project or run of this name lies in; names that differ never share one.

    Percent-encoded (a leading dot too). What is longer than MAX_DIRECTORY_BYTES is cut and ends with
    "=" (which encoding never leaves) and a hash of the whole.
    """
    encoded = quote(name, safe=" ", errors="surrogatepass")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > MAX_DIRECTORY_BYTES:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        encoded = f"{encoded[: MAX_DIRECTORY_BYTES - 33]}={digest}"
    return encoded


def generated_words(seed: str | None = None) -> str:
    """Return adjective-noun; the same one for the same seed, so that ranks agree without talking."""
    choose = random.Random(seed) if seed is not None else random.SystemRandom()
    return f"{choose.choice(ADJECTIVES)}-{choose.choice(NOUNS)}"


def generated_name(number: int) -> str:
    """Return adjective-noun-number for the number-th run of a project."""
    return f"{generated_words()}-{number}"


def new_run_id() -> str:
    """Return 8 random characters of a-z and 0-9 (as wandb's: 41 bits)."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(8))
