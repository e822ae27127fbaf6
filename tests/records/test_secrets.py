"""What looks like a secret, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from disttrack.records.secrets import REDACTED, redacted, redacted_arguments, redacted_environment, redacted_text

CANARY = "CANARY"
HEX40 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

HARMLESS: dict[str, Any] = {
    "max_tokens": 1000, "num_tokens": 5, "train_tokens": "300B", "tokens_per_second": "1e5", "token_dropout": 0.1,
    "tokenizer": "bert-base-uncased", "tokenizer_name": "hf-internal/llama", "tokenizer_path": "/models/t",
    "eos_token": "</s>", "bos_token": "<s>", "pad_token": "[PAD]", "pad_token_id": 0, "unk_token": "<unk>",
    "image_token": "<image>", "class_token": "cls", "next_token": "greedy", "stop_token": "###", "token_type": "bpe",
    "token_budget": 2**40, "token_embedding_dim": 3, "masked_token_prob": 0.15, "tokens": ["the", "cat"],
    "special_tokens": {"eos": "</s>", "additional": ["<a>"]}, "chat_template": "{{ bos_token }}{% for m in x %}",
    "key": "loss", "keys": ["a", "b"], "key_size": 64, "key_dim": 64, "sort_key": "length", "label_key": "label",
    "image_key": "jpg", "monitor_key": "val/loss", "rng_key": 42, "primary_key": "id", "foreign_key": "user_id",
    "user_key": "user_id", "s3_key": "data/train.tar", "step_key": "global_step", "key_proj": "linear",
    "query_key_value": True, "encoder_key_padding_mask": True, "cache_key": "9e107d9d372bb6826bd81d3542a419d6",
    "keyboard": "qwerty", "monkey": "business", "author": "Ada", "auth_type": "basic", "auth": "basic",
    "use_auth_token": False, "require_auth": True, "authenticated": True, "forward_pass": "fp16", "single_pass": True,
    "pass_rate": 0.9, "n_passes": 3, "compass": "north", "bypass": "x", "passthrough": True, "pwd": "/home/ada",
    "password_file": "/run/secrets/pw", "api_key_env": "OPENAI_API_KEY", "secret_name": "my-secret",
    "credentials_path": "~/.aws/credentials", "secretary_problem": "optimal", "git_commit": HEX40, "sha": HEX40,
    "model": "sk-learn-classifier-v2-long-name-with-hyphens", "model_name": "hf_transformers_bert",
    "wandb": {"project": "p", "entity": "e", "run_id": "abcd1234"}, "wandb_mode": "offline",
    "url": "https://example.org/a?b=c&token_count=12", "ssh_url": "ssh://host/x", "dataset": "s3://bucket/key/prefix",
    "prompt": "Each token: is scored; the password is not here. Use --max-tokens 100 and key=value, a @ b.",
    "args": ["--lr", "0.1", "--max-tokens", "5"], "email": "a@b.c", "nothing": None, "empty_password": "",
}  # fmt: skip

SECRET: dict[str, Any] = {
    "password": CANARY, "db_password": CANARY, "dbPassword": CANARY, "passphrase": CANARY, "smtp_pass": CANARY,
    "api_key": CANARY, "apikey": CANARY, "API_KEY": CANARY, "openaiApiKey": CANARY, "wandb_api_key": CANARY,
    "hf_token": CANARY, "hub_token": CANARY, "token": CANARY, "access_token": CANARY, "use_auth_token": CANARY,
    "push_to_hub_token": CANARY, "secret": CANARY, "client_secret": CANARY, "aws_secret_access_key": CANARY,
    "aws_access_key_id": CANARY, "private_key": CANARY, "ssh_key": CANARY, "encryption_key": CANARY,
    "credentials": {"user": "a", "pass": CANARY}, "auth": {"user": "a", "password": CANARY}, "http_auth": ["a", CANARY],
    "authorization": "Bearer " + CANARY, "cookie": CANARY, "jwt": CANARY, "secrets": [CANARY], "api_keys": [CANARY],
    "nested": {"a": [{"hub": {"token": CANARY}}]}, "wandb": {"key": HEX40 + CANARY, "mode": "online"},
    "arguments": ["--password", CANARY, "--api-key=" + CANARY], "command": f"run --password {CANARY} --token={CANARY}",
    "dsn": f"postgresql://user:{CANARY}@host/db", "connection": f"Server=x;AccountKey={CANARY};b=c",
    "remote": f"https://{CANARY}@github.com/o/r.git", "endpoint": f"https://h/p?api_key={CANARY}&x=1",
    "hook": f"https://hooks.slack.com/services/T0/B0/{CANARY}", "mixed": [1, {"password": CANARY}, f"--token={CANARY}"],
}  # fmt: skip

TOKENS = [
    "hf_" + "aB3" * 12, "sk-" + "aB3" * 16, "sk-proj-" + "aB3_-" * 8, "sk-ant-api03-" + "aB3_-" * 18,
    "AKIA" + "ABCD1234" * 2, "ghp_" + "aB3" * 12, "github_pat_" + "aB3" * 8, "glpat-" + "aB3x" * 5,
    "xoxb-123456789012-abcdefgh", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF", "AIza" + "aB3-_" * 7,
    "dapi" + "0123456789abcdef" * 2, "local-" + HEX40,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
]  # fmt: skip


def test_sixty_and_more_harmless_values_stay_as_they_are() -> None:
    assert len(HARMLESS) > 60
    assert {key: value for key, value in HARMLESS.items() if redacted(key, value) != (value, [])} == {}


@pytest.mark.parametrize("key", SECRET)
def test_a_secret_is_replaced_and_the_name_it_stood_under_is_told(key: str) -> None:
    value, names = redacted(key, SECRET[key])
    assert CANARY not in repr(value)
    assert len(names) >= 1
    assert all(name.startswith(key) and CANARY not in name for name in names)


def test_what_stands_beside_a_secret_is_kept() -> None:
    assert redacted("wandb", {"key": HEX40, "mode": "online"}) == (
        {"key": REDACTED, "mode": "online"},
        ["wandb.key"],
    )
    assert redacted("dsn", "postgresql://user:pw@host/db")[0] == "postgresql://host/db"
    assert redacted("q", "https://h/p?api_key=abc&x=1")[0] == f"https://h/p?api_key={REDACTED}&x=1"


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_known_shape_are_found_within_any_text(token: str) -> None:
    assert redacted_text(f"before {token} after") == f"before {REDACTED} after"


def test_command_lines_and_environments_come_without_secrets() -> None:
    line = ["train.py", "--password", CANARY, "--lr", "0.1", f"--hub-token={CANARY}", f"https://u:{CANARY}@h/x"]
    assert redacted_arguments(line) == [
        "train.py", "--password", REDACTED, "--lr", "0.1", f"--hub-token={REDACTED}", "https://h/x",
    ]  # fmt: skip
    environ = {"NCCL_DEBUG": "INFO", "NCCL_TOKEN": CANARY, "SLURM_JOB_ID": "7", "HOME": "/root", "HF_TOKEN": CANARY}
    assert redacted_environment(environ, ("NCCL_*", "SLURM_JOB_ID")) == {
        "NCCL_DEBUG": "INFO",
        "NCCL_TOKEN": REDACTED,
        "SLURM_JOB_ID": "7",
    }


@pytest.mark.parametrize(
    "text", ["a=b " * 50_000, "--a" * 50_000, "https://" + "a:" * 100_000, "eyJ" * 50_000, "a" * 10**6]
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    redacted("x", text)  # a pattern that tries every split would exceed the limit of a test
