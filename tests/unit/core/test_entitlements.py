"""Entitlements: what grants a group, and everything that looks like it and must not."""

from __future__ import annotations

import pytest

from panosc_hub.core.entitlements import EntitlementPolicy, TooManyEntitlements

NS = "urn:geant:umbrella.example"
AUTH = "umbrella.example"
POLICY = EntitlementPolicy(namespace=NS, authority=AUTH, root="umbrella:demo")
OK = f"{NS}:group:umbrella:demo:proposal:HG-123#{AUTH}"


@pytest.mark.parametrize(
    ("value", "group"),
    [
        (OK, "proposal:HG-123"),
        (f"{NS}:group:umbrella:demo:instrument:id02#{AUTH}", "instrument:id02"),
        (f"{NS}:group:umbrella:demo:admins#{AUTH}", "admins"),
        (f"{NS}:group:umbrella:demo:proposal:HG-123:guests#{AUTH}", "proposal:HG-123:guests"),
    ],
)
def test_exact_entitlement_becomes_a_hub_group(value: str, group: str) -> None:
    assert POLICY.group_of(value) == group
    assert POLICY.groups([value]) == {group}


SPOOFS = {
    "nested group": f"{NS}:group:x:group:umbrella:demo:proposal:HG-123#{AUTH}",
    "nested group below root": f"{NS}:group:umbrella:demo:group:proposal:HG-123#{AUTH}",
    "nested group in capitals": f"{NS}:group:umbrella:demo:GROUP:HG-123#{AUTH}",
    "sub-namespace": f"{NS}:evil:group:umbrella:demo:proposal:HG-123#{AUTH}",
    "other namespace": "urn:geant:evil.example:group:umbrella:demo:proposal:HG-123#" + AUTH,
    "namespace as suffix": f"urn:x:{OK}",
    "namespace in capitals": OK.replace("urn:geant", "URN:GEANT"),
    "other authority": OK.replace(f"#{AUTH}", "#evil.example"),
    "authority with a suffix": f"{OK}.evil.example",
    "authority with a prefix": OK.replace(f"#{AUTH}", f"#evil.{AUTH}"),
    "two authorities": f"{NS}:group:umbrella:demo:proposal:HG-123#evil.example#{AUTH}",
    "no authority": OK.split("#")[0],
    "empty authority": OK.split("#")[0] + "#",
    "encoded colon": OK.replace("proposal:HG", "proposal%3AHG"),
    "encoded role": OK.replace("HG-123", "HG-123%3Arole%3Dadmin"),
    "role component": OK.replace("HG-123", "HG-123:role=admin"),
    "role without value": OK.replace("HG-123", "HG-123:role"),
    "resource": f"{NS}:res:umbrella:demo:proposal:HG-123#{AUTH}",
    "resource inside": OK.replace("proposal", "res"),
    "action inside": OK.replace("HG-123", "HG-123:act"),
    "newline at the end": OK + "\n",
    "newline before authority": OK.replace("#", "\n#"),
    "NUL": OK.replace("HG-123", "HG-123\x00"),
    "slash": OK.replace("HG-123", "HG/123"),
    "dots only": OK.replace("HG-123", ".."),
    "leading dash": OK.replace("HG-123", "-rf"),
    "space": OK.replace("HG-123", "HG 123"),
    "comma": OK.replace("HG-123", "HG-123,admins"),
    "Kelvin sign": OK.replace("HG-123", "\u212a-123"),
    "full-width digits": OK.replace("123", "１２３"),
    "empty component": OK.replace("proposal:HG", "proposal::HG"),
    "colon at the end": OK.replace("#", ":#"),
    "root as prefix of a name": f"{NS}:group:umbrella:demolition:proposal:HG-123#{AUTH}",
    "other facility": f"{NS}:group:umbrella:other:proposal:HG-123#{AUTH}",
    "root in capitals": f"{NS}:group:Umbrella:demo:proposal:HG-123#{AUTH}",
    "root itself": f"{NS}:group:umbrella:demo#{AUTH}",
    "too long": OK.replace("HG-123", ":".join(["a" * 60] * 9)),
    "longer than a Hub group": OK.replace("HG-123", ":".join(["a" * 60] * 5)),
    "empty": "",
    "only the parts": f"{NS}:group:umbrella:demo:#{AUTH}",
}


@pytest.mark.parametrize("value", SPOOFS.values(), ids=SPOOFS.keys())
def test_spoofed_entitlement_grants_nothing(value: str) -> None:
    assert POLICY.group_of(value) is None


@pytest.mark.parametrize("name", ["HG-1234", "hg-123", "HG-12"])
def test_similar_proposal_is_another_group(name: str) -> None:
    assert POLICY.group_of(OK.replace("HG-123", name)) == f"proposal:{name}"
    assert "proposal:HG-123" not in POLICY.groups([OK.replace("HG-123", name)])


def test_subgroup_does_not_imply_its_parent() -> None:
    assert POLICY.groups([OK.replace("HG-123", "HG-123:applicants")]) == {
        "proposal:HG-123:applicants"
    }


def test_member_of_the_root_gets_the_configured_group_only() -> None:
    policy = EntitlementPolicy(NS, AUTH, "umbrella:demo", root_group="members")
    assert policy.groups([SPOOFS["root itself"]]) == {"members"}


def test_more_values_than_the_limit_are_refused() -> None:
    policy = EntitlementPolicy(NS, AUTH, "umbrella:demo", limit=3)
    assert policy.groups([OK] * 3) == {"proposal:HG-123"}
    with pytest.raises(TooManyEntitlements, match="4 group memberships"):
        policy.groups([OK] * 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespace": ""},
        {"namespace": "urn:geant:umbrella.example:group:umbrella"},
        {"namespace": "urn:geant:umbrella.example:"},
        {"namespace": "geant:umbrella.example"},
        {"authority": ""},
        {"authority": "#umbrella.example"},
        {"root": ""},
        {"root": "umbrella:"},
        {"root": "umbrella:group"},
        {"root_group": "a b"},
        {"limit": 0},
    ],
    ids=str,
)
def test_unusable_policy_is_refused_at_start(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"namespace": NS, "authority": AUTH, "root": "umbrella:demo"}
    with pytest.raises(ValueError):
        EntitlementPolicy(**(right | wrong))  # type: ignore[arg-type]
