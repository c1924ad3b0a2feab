"""Hostile values, one list for every door: form, link, REST JSON.

Each entry of ``HOSTILE`` is (name, fields as a form has them); ``as_json`` makes the body of a
REST request of them. ``TYPES`` and ``BODIES`` only JSON can carry.
"""

from __future__ import annotations

from typing import Any

HUGE = "A" * 1_000_000

HOSTILE: list[tuple[str, Any]] = [
    ("newline in profile", {"profile": "small\nrm"}),
    ("carriage return in profile", {"profile": "small\r"}),
    ("trailing newline in profile", {"profile": "small\n"}),
    ("sbatch directive in profile", {"profile": "small\n#SBATCH --account=vip"}),
    ("sbatch directive in proposal", {"proposal": "HG-123\n#SBATCH --qos=vip"}),
    ("sbatch directive in environment", {"environment": "tiny #SBATCH -p vip"}),
    ("option in profile", {"profile": "small --qos=vip"}),
    ("jinja in profile", {"profile": "{{ 7*7 }}"}),
    ("jinja statement in template", {"template": "{% for x in y %}"}),
    ("jinja in dataset", {"proposal": "HG-123", "dataset": "{{config}}"}),
    ("format bomb in profile", {"profile": "{x:>9999999}"}),
    ("format bomb in memory", {"memory": "{x:>9999999}"}),
    ("attribute access by format", {"environment": "{spawner.api_token}"}),
    ("single brace", {"proposal": "HG{123"}),
    ("parent directory in proposal", {"proposal": "../HG-123"}),
    ("parent directory in dataset", {"proposal": "HG-123", "dataset": "20.500/../../etc"}),
    ("double dot inside", {"proposal": "HG..123"}),
    ("absolute path as proposal", {"proposal": "/etc/passwd"}),
    ("absolute path as dataset", {"proposal": "HG-123", "dataset": "/etc/passwd"}),
    ("double slash in dataset", {"proposal": "HG-123", "dataset": "20.500//1"}),
    ("NUL in proposal", {"proposal": "HG-123\x00"}),
    ("NUL in memory", {"memory": "4G\x00"}),
    ("escape sequence", {"proposal": "HG-\x1b[31m"}),
    ("unicode line separator", {"proposal": "HG-123\u2028x"}),
    ("next line character", {"proposal": "HG-123\x85"}),
    ("right-to-left override", {"proposal": "HG-\u202e321"}),
    ("fullwidth digits", {"cpus": "\uff14"}),
    ("arabic digits in memory", {"memory": "\u0664G"}),
    ("kelvin sign in memory", {"memory": "4\u212a"}),
    ("too much memory", {"memory": "99999G"}),
    ("absurd memory", {"memory": "999999999T"}),
    ("negative memory", {"memory": "-4G"}),
    ("no memory", {"memory": "0G"}),
    ("memory without a number", {"memory": "G"}),
    ("memory in scientific notation", {"memory": "1e9G"}),
    ("negative GPUs", {"gpus": "-1"}),
    ("fractional GPUs", {"gpus": "1.5"}),
    ("GPUs of a sort", {"gpus": "a100:1"}),
    ("too many CPUs", {"cpus": "99999"}),
    ("no CPUs", {"cpus": "0"}),
    ("CPUs in words", {"cpus": "four"}),
    ("CPUs as hexadecimal", {"cpus": "0x4"}),
    ("wall time without end", {"walltime": "UNLIMITED"}),
    ("wall time of years", {"walltime": "99999-00:00:00"}),
    ("negative wall time", {"walltime": "-1h"}),
    ("wall time with a command", {"walltime": "1h; scancel -u root"}),
    ("unknown key", {"partition": "vip"}),
    ("unknown key that is an attribute", {"exec_prefix": "sudo"}),
    ("dunder key", {"__class__": "x"}),
    ("HTML in profile", {"profile": "<script>alert(1)</script>"}),
    ("HTML in dataset", {"proposal": "HG-123", "dataset": "<img src=x onerror=alert(1)>"}),
    ("quotes in environment", {"environment": 'x" onmouseover="alert(1)'}),
    ("shell in environment", {"environment": "$(touch /tmp/x)"}),
    ("backticks in template", {"template": "`id`"}),
    ("megabyte of text", {"profile": HUGE}),
    ("megabyte in memory", {"memory": HUGE}),
    ("megabyte as key", {HUGE: "x"}),
    ("newline in a choice", {"choice-account": "hg123\n"}),
    ("sbatch directive in a choice", {"choice-account": "hg123\n#SBATCH --qos=vip"}),
    ("option in a choice", {"choice-qos": "normal --account=vip"}),
    ("option alone in a choice", {"choice-qos": "--account=vip"}),
    ("jinja in a choice", {"choice-account": "{{ 7*7 }}"}),
    ("shell in a choice", {"choice-account": "$(id)"}),
    ("command in a choice", {"choice-account": "a;id"}),
    ("quotes in a choice", {"choice-account": 'x" onmouseover="alert(1)'}),
    ("HTML in a choice", {"choice-account": "<script>alert(1)</script>"}),
    ("NUL in a choice", {"choice-account": "hg\x00"}),
    ("other digits in a choice", {"choice-account": "hg\u0661"}),
    ("right-to-left override in a choice", {"choice-account": "hg\u202e321"}),
    ("parent directory in a path", {"choice-path": "/home/paula/../ingo/env"}),
    ("double slash in a path", {"choice-path": "/home//ingo"}),
    ("home of the shell in a path", {"choice-path": "~/env"}),
    ("megabyte in a choice", {"choice-account": HUGE}),
    ("choice without a name", {"choice-": "x"}),
    ("choice with an odd name", {"choice-Account": "x"}),
    ("choice with HTML as name", {"choice-<script>alert(1)</script>": "x"}),
    ("choice with a dunder name", {"choice-__class__": "x"}),
    ("too many choices", {f"choice-c{i}": "x" for i in range(17)}),
    ("choices as text", {"choices": '{"account": "vip"}'}),
    ("another version", {"v": "99"}),
    ("dataset without proposal", {"dataset": "20.500/1"}),
]


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON: answers to menus are one object there."""
    chosen = {k.removeprefix("choice-"): v for k, v in fields.items() if k.startswith("choice-")}
    others = {k: v for k, v in fields.items() if not k.startswith("choice-")}
    return {**others, "choices": chosen} if chosen else others


TYPES: list[tuple[str, Any]] = [
    ("list as choices", {"choices": ["account"]}),
    ("number as choices", {"choices": 7}),
    ("true as choices", {"choices": True}),
    ("list in a choice", {"choices": {"account": ["hg123"]}}),
    ("object in a choice", {"choices": {"account": {"$ne": ""}}}),
    ("number in a choice", {"choices": {"account": 7}}),
    ("true in a choice", {"choices": {"account": True}}),
    ("field of a form in JSON", {"choice-account": "hg123"}),
    ("list as profile", {"profile": ["small"]}),
    ("object as profile", {"profile": {"id": "small"}}),
    ("number as profile", {"profile": 7}),
    ("true as CPUs", {"cpus": True}),
    ("float as CPUs", {"cpus": 2.0}),
    ("huge integer as CPUs", {"cpus": 10**30}),
    ("number as memory", {"memory": 4}),
    ("list as memory", {"memory": ["4G"]}),
    ("number as wall time", {"walltime": 3600}),
    ("object as proposal", {"proposal": {"$ne": ""}}),
    ("true as version", {"v": True}),
    ("many unknown keys", {f"k{i}": i for i in range(1000)}),
]
"""Wrong types: only JSON can carry them."""

BODIES: list[tuple[str, Any]] = [
    ("list as body", [1, 2]),
    ("text as body", "profile=small"),
    ("number as body", 7),
    ("list as options", {"user_options": [1]}),
    ("text as options", {"user_options": "small"}),
    ("unknown key beside the options", {"user_options": {}, "exec_prefix": "sudo"}),
    ("display name as list", {"user_options": {}, "display_name": ["x"]}),
]
