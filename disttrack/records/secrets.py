"""What looks like a secret is replaced before it is written: by the name it stands under, and by its own shape.

Names decide where they can: `api_key`, `hub_token`, `db_password`. Config of machine learning is full of tokens and
keys that are none (`max_tokens`, `eos_token`, `key_size`, `sort_key`), so these two words count only behind a word
that makes them a secret, or before a value that no person wrote. Credentials of well-known shape, passwords in URLs
and in command lines are replaced wherever they stand within a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["REDACTED", "redacted", "redacted_arguments", "redacted_environment", "redacted_text"]

REDACTED = "[redacted]"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")

#: Words, alone or within a longer one, under which nothing but a secret is kept.
_SECRETS = ("passw", "passphrase", "secret", "credential", "apikey", "privatekey", "accesskey", "authtoken")
_SECRETS_ALONE = frozenset({"cookie", "cookies", "jwt", "bearer", "mnemonic", "otp", "totp"})

#: What makes the word behind it a secret.
_OWNERS = frozenset(
    "access account admin anthropic api app auth aws azure basic bearer bot client cloud cohere comet consumer csrf "
    "databricks db deploy discord docker encryption ftp gcp gemini git github gitlab google groq hf http hub "
    "huggingface id identity jwt kaggle license login mail master mlflow mysql neptune ngc npm nvidia oauth openai "
    "openrouter personal postgres private proxy pypi redis refresh registry root s3 sas secret security sentry "
    "service session sftp shared signing slack smtp ssh storage subscription sudo telegram user wandb webhook wifi "
    "xsrf zenodo".split()
)
#: ... but names columns and objects as often: only before a value that no person wrote.
_WEAK_OWNERS = frozenset(
    "app client cloud db docker git http id identity login mail mysql postgres redis registry root s3 service session "
    "shared user".split()
)

#: What stands before a token or key that is a word of a model, a table or a program.
_PLAIN = frozenset(
    "additional answer assistant attention audio bos cache cls class column context decoder dict dist dummy encoder "
    "end eod eos eot feature fim first foreign group image img input join label language last map mask metric "
    "mode model monitor new next object observation out output pad partition per policy prefix primary prng prompt "
    "query reward rng role row schema score sep sort space special speech start state stop suffix system tag target "
    "task text think time tool unk value video vision word".split()
)

#: A name that ends so speaks of a secret and is none: `password_file`, `token_count`, `auth_method`.
_ABOUT = frozenset(
    "algorithm backend bytes class column count dim dims dir directory dropout embedding embeddings enabled env "
    "expiry field file file_name filename format header id ids index kind len length level limit location loss "
    "manager method mode model name names num number path pattern policy position positions prefix provider proj "
    "rate ratio ref region required rotation scheme scope scopes server size space store strategy style suffix "
    "timeout ttl type types url uri vault version weight".split()
)
_COUNTING = frozenset("avg count enable has is log max mean min n no num number per require skip total use".split())

#: Ways of proving who one is, by name: no secrets.
_AUTH_WAYS = frozenset(
    "auto basic bearer default disabled kerberos ldap mtls negotiate none ntlm oauth oauth2 oidc saml tls token".split()
)

_NOT_OURS = r"(?<![A-Za-z0-9_-])"
_SHAPES = re.compile(
    _NOT_OURS
    + "(?:"
    + "|".join(
        (
            r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
            r"api_org_[A-Za-z0-9]{30,}",
            r"sk-(?:proj|svcacct|admin|ant|or|lf)-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic and their like
            r"sk-(?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,}",
            r"(?:gsk_|nvapi-|xai-|pplx-|r8_)[A-Za-z0-9_-]{30,}",  # Groq, NVIDIA, xAI, Perplexity, Replicate
            r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS
            r"gh[opsur]_[A-Za-z0-9]{30,}",  # GitHub
            r"github_pat_[A-Za-z0-9_]{22,}",
            r"gl(?:pat|dt|ft|soat|cbt|ptt|rt)-[A-Za-z0-9_-]{20,}",  # GitLab
            r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
            r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # JSON Web Token
            r"AIza[A-Za-z0-9_-]{35}",  # Google
            r"ya29\.[A-Za-z0-9_-]{20,}",
            r"npm_[A-Za-z0-9]{36}",
            r"pypi-AgE[A-Za-z0-9_-]{40,}",
            r"dapi[0-9a-f]{32}",  # Databricks
            r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
            r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
            r"wandb_v[0-9]_[A-Za-z0-9_]{20,}",
            r"local-[0-9a-f]{40}(?![0-9a-f])",  # wandb, of a server of one's own
        )
    )
    + ")"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#'\"<>]*@")
_WEBHOOK = re.compile(r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[\w/-]+")
_ASSIGNED = re.compile(r"(?<![\w-])(-{0,2}[A-Za-z][\w.-]{1,60}?)(=)([^\s&;,'\"]+)")
_BEARER = re.compile(r"\b([Bb]earer) +(?=[^\s]*[0-9])[A-Za-z0-9._~+/=-]{16,}")
_OPTION = re.compile(r"(?<!\S)(--?[A-Za-z][\w-]{1,60})(\s+)(?!-)(\S+)")

#: No person wrote this: 20 letters and digits in a row, both of them.
_MADE = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}")
_NOT_MADE = frozenset("checksum commit digest hash md5 rev revision sha sha1 sha256 uuid".split())


def redacted(key: str, value: object, within: tuple[str, ...] = ()) -> tuple[object, list[str]]:
    """Return a plain value without what looks like a secret, and the names it was found under: `hub.token`.

    key: the name the value stands under; within: the names around that one, outermost first.
    What is replaced becomes REDACTED; numbers under a name like `token` and switches (True, False, None) stay.
    """
    names = (*within, key)
    if _is_secret(key, within[-1] if within else "", value):
        return REDACTED, [".".join(names)]
    return _inside(value, names)


def _inside(value: object, names: tuple[str, ...]) -> tuple[object, list[str]]:
    if isinstance(value, str):
        text = redacted_text(value)
        return text, [".".join(names)] if text != value else []
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value)
        inner = {name: redacted(name, item, names) for name, item in items.items()}
        return {name: item for name, (item, _) in inner.items()}, [
            path for _, paths in inner.values() for path in paths
        ]
    if isinstance(value, list):
        listed = cast("list[object]", value)
        texts = [item for item in listed if isinstance(item, str)]
        if len(texts) == len(listed):
            clean = redacted_arguments(texts)
            return clean, [".".join(names)] if clean != texts else []
        found = [_inside(item, names) for item in listed]
        return [item for item, _ in found], list(dict.fromkeys(path for _, paths in found for path in paths))
    return value, []


def redacted_text(text: str) -> str:
    """Return a text without the credentials in it: known tokens, private keys, `user:password@`, `--api-key=...`."""
    if "://" in text:
        text = _USERINFO.sub(r"\1", text)
        text = _WEBHOOK.sub(rf"\1{REDACTED}", text)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _SHAPES.sub(REDACTED, text)
    if "earer " in text:
        text = _BEARER.sub(rf"\1 {REDACTED}", text)
    if "=" in text:
        text = _ASSIGNED.sub(_without_assigned, text)
    return _OPTION.sub(_without_assigned, text) if "-" in text else text


def _without_assigned(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    return f"{name}{between}{REDACTED}" if _is_secret(name.lstrip("-"), "", value) else found[0]


def redacted_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line without secrets: `--password x`, `--password=x`, and what redacted_text finds."""
    kept: list[str] = []
    option = ""
    for argument in arguments:
        kept.append(REDACTED if option and _is_secret(option, "", argument) else redacted_text(argument))
        option = argument.lstrip("-") if argument.startswith("-") and "=" not in argument else ""
    return kept


def redacted_environment(environ: Mapping[str, str], allowed: Sequence[str]) -> dict[str, str]:
    """Return those variables that are allowed by name, or by a beginning that ends with `*`, without secrets.

    Nobody calls a word of a model `..._TOKEN` here: that and `..._KEY` are secrets whatever stands before.
    """
    whole = {name for name in allowed if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in allowed if name.endswith("*"))
    kept = {name: value for name, value in environ.items() if name in whole or name.startswith(beginnings)}
    secret = ("TOKEN", "KEY", "AUTH", "PASS", "PWD")
    return {
        name: REDACTED if name.upper().endswith(secret) and value else str(redacted(name, value)[0])
        for name, value in kept.items()
    }


def _is_secret(key: str, around: str, value: object) -> bool:
    """Say whether a value is one that nobody but its owner should see, by its name and the name around it."""
    if value is None or isinstance(value, bool) or value in ("", REDACTED) or value == [] or value == {}:
        return False
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words:
        return False
    is_number = isinstance(value, int | float) or (isinstance(value, str) and _is_number(value))
    if words[-1] in _ABOUT and not (isinstance(value, str) and _is_access_key_id(words)):
        return False
    if words[0] in _COUNTING and is_number:
        return False
    if any(
        secret in word for word in words for secret in _SECRETS if not word.startswith("secretar")
    ) or not _SECRETS_ALONE.isdisjoint(words):
        return not _is_switch(value)
    if is_number or isinstance(value, Mapping):
        return False
    return any(_is_secret_word(words, at, around, value) for at in range(len(words)))


def _is_secret_word(words: list[str], at: int, around: str, value: object) -> bool:
    """Say whether the word at a place in a name makes the value a secret: token, key, pass, auth."""
    word = words[at]
    outer = [name.lower() for name in _WORDS.findall(around)]
    before = words[at - 1] if at else (outer[-1] if outer else "")
    owned = before in _OWNERS
    sure = owned and before not in _WEAK_OWNERS
    if word in ("token", "tokens"):
        if sure or (word == "token" and len(words) == 1 and before not in _PLAIN):
            return not _is_special_token(value)
        return before not in _PLAIN and _is_made(value)
    if word in ("key", "keys"):
        if sure:
            return _is_text(value)
        return before not in _PLAIN and not _NOT_MADE.intersection(words) and _is_made(value)
    if word in ("pass", "pwd", "pw"):
        is_place = isinstance(value, str) and value.startswith(("/", "~", "."))
        return at == len(words) - 1 and (owned or at == 0) and _is_text(value) and not is_place
    if word in ("auth", "authorization"):
        return at == len(words) - 1 and _is_text(value) and str(value).lower() not in _AUTH_WAYS
    return word == "wandb" and not _NOT_MADE.intersection(words) and _is_made(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str | list)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9._]{1,12}(?:[eE][+-]?[0-9]{1,3})?", text) is not None


def _is_switch(value: object) -> bool:
    return isinstance(value, str) and value.lower() in ("true", "false", "none", "null", "yes", "no")


def _is_access_key_id(words: list[str]) -> bool:
    return words[-3:] == ["access", "key", "id"]


def _is_special_token(value: object) -> bool:
    """Say whether a value is a token of a tokenizer, or many: `<|endoftext|>`, `[PAD]`."""
    if isinstance(value, list):
        return all(map(_is_special_token, cast("list[object]", value)))
    return (
        not isinstance(value, str) or re.fullmatch(r"[<\[{(].*[>\])}]|\W{1,4}", value) is not None or _is_switch(value)
    )


def _is_made(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_made, cast("list[object]", value)))
    return isinstance(value, str) and _MADE.search(value) is not None
