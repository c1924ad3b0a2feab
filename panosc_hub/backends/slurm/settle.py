"""The options of one job: what is fixed, what was chosen, what belongs to the proposal. Pure.

What Slurm said the user does not have is refused here, in a sentence that names what they have.
What Slurm did not tell is passed on, and Slurm decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...core.plan import Launch
from ...core.profiles import Wish, resolve
from ...core.quantities import show_duration
from ...errors import Refusal
from .limits import offer
from .look import nodes_of
from .menus import menu, my_qos
from .options import ByProposal, SlurmOptions
from .parse_nodes import Reservation
from .standing import Standing, span, when


@dataclass(frozen=True, slots=True)
class Settled:
    """``options`` whose every text is fixed; ``notices`` are lines for the pending page."""

    options: SlurmOptions
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class _Settling:
    options: SlurmOptions
    launch: Launch
    standing: Standing
    notices: list[str] = field(default_factory=list)
    by_rule: dict[str, str] = field(default_factory=dict)
    """What the proposal's rule gave, by option."""

    def pick(self, name: str, partition: str | None = None) -> str:
        """The answer of the user, else the rule's, else the list's default, else the text."""
        value = getattr(self.options, name)
        chosen = self.launch.selection.chosen(name)
        if isinstance(value, str):
            return value
        if chosen:
            return chosen
        if isinstance(value, ByProposal):
            plan = self.launch.plan
            wanted = value.fill({"proposal": plan.proposal, "instrument": plan.instrument})
            if wanted and (found := self._of_proposal(name, wanted, partition)):
                self.by_rule[name] = found
                return found
            if isinstance(value.otherwise, str):
                return value.otherwise
            bare = self.options.model_copy(update={name: value.otherwise})
            offered = menu(name, bare, self.standing, partition)
        else:
            offered = menu(name, self.options, self.standing, partition)
        if offered is not None:
            return offered.default
        if listed := self.options.texts(name):
            raise Refusal(self._none_of(name, listed), reason="not_yours")
        return ""

    def _of_proposal(self, name: str, wanted: str, partition: str | None) -> str:
        """The proposal's own, as Slurm spells it; empty if it is not there for this user."""
        standing = self.standing
        if name == "account":
            if standing.my_accounts() is None:
                self._not_told(f"whether there is an account {wanted}")
            return standing.spelled(wanted, (partition or "").split(","))
        if name == "reservation":
            if not standing.tells_reservations:
                self._not_told(f"whether there is a reservation {wanted}")
            found = standing.reservation(wanted)
            return found.name if found and standing.soon(found) and self._lets_in(found) else ""
        if name == "qos":
            mine = standing.my_qos(standing.my_accounts() or ()) or ()
            return next((n for n in mine if n.lower() == wanted.lower()), "")
        if name == "partition":
            return next((p.name for p in standing.partitions(wanted.split(","))), "")
        rows = standing.look.rows if standing.look else ()
        return wanted if any(wanted in row.features for row in rows) else ""

    def _not_told(self, what: str) -> None:
        self.notices.append(f"SLURM does not tell at the moment {what}; it starts without.")

    def _lets_in(self, reservation: Reservation) -> bool:
        """Whether the user may use it, with the account that the profile leaves them."""
        if self.standing.may_use(reservation) is False:
            return False
        account = self.options.account
        if not (isinstance(account, str) and account):
            return True
        return not reservation.accounts or account in self.standing.accounts_for(reservation)

    def _none_of(self, name: str, listed: Iterable[str]) -> str:
        title = self.launch.profile.title
        return (
            f"{title} is for the {_PLURAL[name]} {', '.join(listed)}, and none of them is open to "
            f"you now. {self._theirs(name)} Choose another profile, or ask your local contact."
        )

    def _theirs(self, name: str, places: tuple[str, ...] = ()) -> str:
        standing = self.standing
        if name == "account":
            mine: Iterable[str] = standing.my_accounts(places) or ()
        elif name == "qos":
            mine = standing.my_qos(standing.my_accounts() or ()) or ()
        else:
            mine = [r.name for r in standing.my_reservations()]
        there = ", ".join(mine)
        return f"You have {there}." if there else f"You have no {_SINGULAR[name]}."


_SINGULAR = {"account": "account", "qos": "QOS", "reservation": "reservation"}
_PLURAL = {"account": "accounts", "qos": "QOS", "reservation": "reservations"}


def settle(options: SlurmOptions, launch: Launch, standing: Standing) -> Settled:
    """The options of the job. Raises :class:`Refusal`."""
    work = _Settling(options, launch, standing)
    partition = work.pick("partition")
    places = tuple(partition.split(","))
    reservation = work.pick("reservation", partition)
    account = work.pick("account", partition)
    held = _check_reservations(work, reservation)
    account = _account_for(work, account, held, partition)
    if account and standing.has_account(account, places) is False:
        where = f" on partition {partition}" if standing.has_account(account) else ""
        raise _refuse(
            f"The account {account} is not one of yours{where}. {work._theirs('account', places)}"
        )
    doors = standing.partitions(places)
    who = account or (standing.accounts.default(standing.user) if standing.accounts else "")
    if who and doors and not any(door.takes_account(who) for door in doors):
        raise _refuse(
            f"Partition {partition or doors[0].name} takes no jobs of the account {who}; "
            f"it is for {_listed(a for d in doors for a in d.accounts) or 'others'}."
        )
    qos = _qos(work, account, places, partition)
    if doors and qos and not any(door.takes_qos(qos) for door in doors):
        raise _refuse(f"Partition {partition or doors[0].name} takes no jobs of QOS {qos}.")
    _check_time(work, account, qos)
    if doors and all(d.max_nodes is not None and d.max_nodes < options.nodes for d in doors):
        raise _refuse(f"Partition {partition or doors[0].name} takes no jobs of that many nodes.")
    texts = {
        "partition": partition,
        "account": account,
        "qos": qos,
        "reservation": reservation,
        "constraint": work.pick("constraint", partition),
    }
    settled = options.model_copy(update=texts)
    _check_amounts(settled, options, launch, standing)
    for name, found in work.by_rule.items():
        note = next((f" ({span(r, standing.now)})" for r in held if r.name == found), "")
        work.notices.append(f"For the proposal, SLURM's {name} {found}{note} is used.")
    return Settled(settled, tuple(work.notices))


def _check_reservations(work: _Settling, names: str) -> list[Reservation]:
    """Those among ``names`` that let the user in; refused if Slurm told that there are none."""
    standing, launch = work.standing, work.launch
    if not names or not standing.tells_reservations:
        return []
    there = [r for name in names.split(",") if (r := standing.reservation(name))]
    if not there:
        raise _refuse(
            f"SLURM has no reservation {names} at the moment. {work._theirs('reservation')}"
        )
    mine = [r for r in there if standing.may_use(r) is not False]
    if not mine:
        raise _refuse(
            f"The reservation {names} is not open to you. {work._theirs('reservation')} "
            "Ask your local contact to be added."
        )
    soon = [r for r in mine if standing.soon(r)]
    if not soon:
        raise _refuse(
            f"The reservation {names} begins at {when(mine[0].start, standing.now)}, "
            "and the job would not wait so long. Start then."
        )
    last = max(soon, key=standing.left)
    time, left = launch.resources.walltime, standing.left(last)
    if time and time > left and "FLEX" not in last.flags:
        raise Refusal(
            f"The reservation {last.name} ends at {when(last.end, standing.now)}: at most "
            f"{show_duration(left // 60 * 60) if left >= 60 else 'some seconds'} are left, and "
            f"{show_duration(time)} were asked for. Choose a shorter time.",
            reason="reservation_ends",
        )
    return soon


def _account_for(work: _Settling, account: str, held: list[Reservation], partition: str) -> str:
    """The account with which the reservation lets the job in."""
    standing = work.standing
    who = account or (standing.accounts.default(standing.user) if standing.accounts else "")
    bound = [r for r in held if r.accounts]
    if not bound or len(bound) < len(held) or standing.my_accounts() is None:
        return account
    good = [name for r in bound for name in standing.accounts_for(r)]
    if not good or any(who.lower() == name.lower() for name in good):
        return account
    free = not work.launch.selection.chosen("account") and not isinstance(work.options.account, str)
    if free or not account:
        return good[0]
    raise _refuse(
        f"The reservation {bound[0].name} is for the account {_listed(good)}, not for {account}."
    )


def _qos(work: _Settling, account: str, places: tuple[str, ...], partition: str) -> str:
    """The QOS; one that was not chosen but defaulted follows the account."""
    standing = work.standing
    qos = work.pick("qos", partition)
    if not qos:
        return qos
    who = account or (standing.accounts.default(standing.user) if standing.accounts else "")
    mine = my_qos(work.options, standing, places, who)
    if mine is None or qos in mine or standing.accounts is None:
        return qos
    if not standing.accounts.qos_enforced:
        return qos
    fixed = isinstance(work.options.qos, str) or work.launch.selection.chosen("qos")
    listed = work.options.texts("qos") or mine
    if not fixed and (others := [name for name in listed if name in mine]):
        return others[0]
    raise _refuse(
        f"The QOS {qos} is not open to your account {who}; it has {_listed(mine) or 'none'}."
    )


def _check_time(work: _Settling, account: str, qos: str) -> None:
    """A time above what the QOS allows would wait for ever, or be refused."""
    standing, time = work.standing, work.launch.resources.walltime
    if standing.accounts is None or not time:
        return
    who = account or standing.accounts.default(standing.user)
    used = qos or standing.accounts.default_qos(standing.user, who)
    longest = standing.accounts.longest.get(used)
    if longest is not None and time > longest:
        raise _refuse(
            f"The QOS {used} allows at most {show_duration(longest)}, and {show_duration(time)} "
            "were asked for. Choose a shorter time, or another QOS if you have one."
        )


def _check_amounts(
    settled: SlurmOptions, options: SlurmOptions, launch: Launch, standing: Standing
) -> None:
    """What the chosen partition or kind of node cannot give, though another choice could."""
    if standing.look is None or all(
        getattr(settled, name) == getattr(options, name) for name in ("partition", "constraint")
    ):
        return
    chosen = ", ".join(filter(None, (settled.fixed("partition"), settled.fixed("constraint"))))
    if isinstance(nodes_of(settled, standing.look), str):
        return  # what is down now may be up when the job's turn comes
    found = offer(launch.profile, settled, standing.look)
    if isinstance(found, str):
        raise _refuse(f"With {chosen}: {found}.")
    asked = launch.resources
    gpus = asked.gpus
    wish = Wish(
        cpus=asked.cpus,
        memory=asked.memory,
        gpus=gpus.count if found.gpus else None,
        walltime=asked.walltime,
        gpu_type=gpus.type or None if found.gpus and gpus.count else None,
    )
    _, problems = resolve(found, wish)
    if problems:
        raise _refuse(f"With {chosen}: " + "; ".join(f"{p}" for p in problems) + ".")


def _refuse(sentence: str) -> Refusal:
    return Refusal(sentence, reason="slurm_choice")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(sorted(names)))
