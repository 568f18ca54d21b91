"""Rules decide as they are written, and what is wrong with an --exit is said in one line."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.early_exit.bundle import BaseModelCard, Bundle, ExitCard
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout, default_layout
from passkwh.adapters.early_exit.policy import ExitPolicy, PolicyMeta
from passkwh.adapters.early_exit.request import parse
from passkwh.adapters.early_exit.rules.agent import Agent
from passkwh.adapters.early_exit.rules.base import Decision, ModelContext, Rule, RuleSpec
from passkwh.adapters.early_exit.rules.distribution import Confidence, Entropy
from passkwh.errors import UsageError
from passkwh.registry import EXIT_RULES
from tests.early_exit.conftest import MODELS

LAYOUT = ExitLayout(8, (4, 6, 8))
WIDTH = 48


def context(
    bundle: Bundle | None = None, revision: str | None = "sha256:base", exits: ExitLayout = LAYOUT
) -> ModelContext:
    return ModelContext("tiny", revision, WIDTH, exits, bundle, "python")


def meta(**changes: object) -> PolicyMeta:
    known = {
        "model": "tiny", "revision": "sha256:base", "hidden_size": WIDTH, "layers": 8, "exits": (4, 6, 8),
        "head": "none", "taught": "", "language": "python", "trained_steps": 10,
    }  # fmt: skip
    return PolicyMeta.model_validate({**known, **changes})


def bundle_with(folder: Path, **agents: PolicyMeta) -> Bundle:
    base = BaseModelCard(model="tiny", revision="sha256:base", family="llama", hidden_size=WIDTH, layers=8)
    ExitCard(base=base, exits=(4, 6, 8), head="none").write(folder)
    for name, card in agents.items():
        torch.manual_seed(1)
        ExitPolicy(card.hidden_size, (16,)).save(folder / "agents" / name, card)
    return Bundle.read(folder)


@pytest.fixture(scope="module")
def heads() -> ExitHeads:
    torch.manual_seed(0)
    return ExitHeads(model_parts(MODELS["llama"]().eval()))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.55, 1.0])
def test_the_agent_leaves_where_its_softmax_reaches_the_threshold(threshold: float, heads: ExitHeads) -> None:
    torch.manual_seed(2)
    policy = ExitPolicy(WIDTH, (32, 32), "relu")
    policy.mean.copy_(torch.randn(WIDTH))
    policy.std.copy_(torch.rand(WIDTH) + 0.5)
    states = 3 * torch.randn(200, WIDTH)
    for temperature in (1.0, 2.5):
        rule = Agent(policy, threshold, frozenset({4, 6}), "cpu", temperature)
        probability = policy.exit_probability(states, temperature)
        clear = (probability - threshold).abs() > 1e-5
        decided = torch.tensor(rule.leave(4, states, heads).leave)
        assert (decided == (probability >= threshold))[clear].all()
        assert decided[clear].any() == (threshold < 1)
        assert [rule.leave(4, state[None], heads).leave[0] for state in states[:20]] == decided[:20].tolist()


def test_confidence_and_entropy_are_those_of_the_exits_distribution(heads: ExitHeads) -> None:
    torch.manual_seed(3)
    states = 4 * torch.randn(60, WIDTH)
    probabilities = torch.softmax(heads.logits(4, states).detach().double(), dim=-1)
    top = probabilities.max(dim=-1).values
    entropy = -(probabilities * probabilities.log()).sum(dim=-1) / math.log(probabilities.shape[-1])
    confident = Confidence(float(top.median()), LAYOUT).leave(4, states, heads)
    certain = Entropy(float(entropy.median()), LAYOUT).leave(4, states, heads)
    assert confident.logits is not None
    torch.testing.assert_close(confident.logits, heads.logits(4, states))
    for decided, expected, margin in (
        (confident, top >= top.median(), (top - top.median()).abs()),
        (certain, entropy <= entropy.median(), (entropy - entropy.median()).abs()),
    ):
        clear = margin > 1e-5
        assert (torch.tensor(decided.leave) == expected)[clear].all()
        assert 0 < sum(decided.leave) < 60


@given(st.sampled_from(EXIT_RULES.names()), st.floats(0, 1), st.sampled_from(["deferred", "propagated"]))
def test_whatever_is_written_is_read_back(name: str, threshold: float, kv: str) -> None:
    argument = {"fixed": ":6", "oracle": "", "lookup": ":6", "draft": ":6"}.get(name, f":{threshold}")
    own = "" if EXIT_RULES.get(name).lossless else f",kv={kv}"
    request = parse(f"{name}{argument}{own},exits=4+6+8,bundle=a folder, with a comma")
    assert (request.spec.name, request.skipped, request.exits) == (name, kv if own else "deferred", (4, 6, 8))
    assert request.bundle == "a folder, with a comma"


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    try:
        request = parse(text)
    except UsageError:
        return
    assert request.spec.name in EXIT_RULES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agnt:0.9", "did you mean agent"),
        (
            "sometimes",
            "write for example agent:0.9, confidence:0.9, draft:12,k=4, entropy:0.1, fixed:12, lookup:3, oracle",
        ),
        ("agent", "needs a threshold from 0 to 1, not nothing"),
        ("agent:1.5", "needs a threshold from 0 to 1, not '1.5'"),
        ("confidence:-0.1", "not '-0.1'"),
        ("entropy:nan", "not 'nan'"),
        ("fixed:twelve", "needs a layer, not 'twelve'"),
        ("oracle:1", "takes no argument"),
        ("fixed:4,kv=guessed", "write deferred or propagated"),
        ("fixed:4,temperature=2", "no option 'temperature': there are kv, exits, bundle"),
        ("agent:0.9,temperature=0", "not a number above 0"),
        ("fixed:4,kv", "write KEY=VALUE"),
        ("fixed:4,kv=deferred,kv=deferred", "given twice"),
        ("fixed:4,exits=4-8", "layers joined by +"),
        ("draft", "needs a layer, or a rule that decides before the last layer, not ''"),
        ("draft:oracle", "decides before the last layer, not 'oracle'"),
        ("draft:lookup:3", "decides before the last layer, not 'lookup:3'"),
        ("draft:confidence:2", "needs a threshold from 0 to 1, not '2'"),
        ("draft:4,k=0", "needs k=TOKENS, 1 or more, not '0'"),
        ("draft:4,kv=propagated", "draft has no option 'kv': there are k, lookup, exits, bundle"),
        ("draft:agent:0.9,agnet=x", "there are k, lookup, agent, temperature, exits, bundle"),
        ("lookup", "needs the most tokens of a draft, 1 or more, not nothing"),
        ("lookup:many", "not 'many': write for example lookup:3"),
        ("lookup:4,match=0", "needs match=TOKENS"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse(text)


def test_a_layer_that_is_no_exit_is_told_the_exits() -> None:
    with pytest.raises(UsageError, match="fixed:5: tiny can be left after layers 4, 6, 8"):
        parse("fixed:5").rule(context())
    assert parse("fixed:8").rule(context()).exits == frozenset()


def test_tokens_are_drafted_before_the_last_layer() -> None:
    with pytest.raises(UsageError, match="draft:8: tokens of tiny can be drafted after layers 1 to 7"):
        parse("draft:8").rule(context())
    assert parse("draft:5").rule(context()).lossless


def test_an_agent_needs_a_bundle_that_has_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none comes with tiny: train one with `bench train agent`"):
        parse("agent:0.9").rule(context())
    with pytest.raises(UsageError, match=r"has no agent 'python': it has none"):
        parse("agent:0.9").rule(context(bundle_with(tmp_path)))


def test_the_agent_is_chosen_by_language_or_name(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, first=meta(language="java"), second=meta())
    assert parse("agent:0.9").rule(context(bundle)).about() == {"agent": "second", "agent_language": "python"}
    assert parse("agent:0.9,agent=first").rule(context(bundle)).about()["agent_language"] == "java"
    with pytest.raises(UsageError, match="no agent 'third': there are first, second"):
        parse("agent:0.9,agent=third").rule(context(bundle))
    other = ModelContext("tiny", "sha256:base", WIDTH, LAYOUT, bundle, "rust")
    with pytest.raises(UsageError, match="no agent for rust, only first, second"):
        parse("agent:0.9").rule(other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"revision": "sha256:0ther", "model": "huge"},
            r"trained for huge \(revision 0ther.*not for tiny \(revision base",
        ),
        ({"layers": 12, "exits": (4, 6, 12)}, r"12 layers of width 48\), not for tiny .*8 layers of width 48"),
        ({"hidden_size": 64}, "8 layers of width 64"),
        ({"exits": (4, 8)}, "trained for exits 4, 8, and tiny is left at 4, 6, 8"),
        ({"taught": "a" * 64}, r"trained with other heads or fine-tuning \(aaaaaaaaaaaa\) than .* holds \(none\)"),
    ],
)
def test_an_agent_for_another_model_or_layout_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse("agent:0.9").rule(context(bundle_with(tmp_path, only=meta(**changes))))


def test_every_rule_decides_at_the_exits_before_the_last() -> None:
    exits = default_layout(30)
    model = ModelContext("m", None, WIDTH, exits, None, "python")
    for text in ("confidence:0.5", "entropy:0.5", "oracle"):
        assert parse(text).rule(model).exits == frozenset(exits.exits[:-1])
    assert EXIT_RULES.get("fixed").make(RuleSpec("fixed", "8"), model).exits == frozenset({8})


class Second(Rule):
    """A third party's rule: every token leaves after the layout's second exit."""

    example = "second"
    options = ("after",)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Second | None:
        if spec.argument is not None:
            raise UsageError("--exit second takes no argument")
        if context is None:
            return None
        rule = cls()
        rule.exits = frozenset({context.layout.exits[1]})
        return rule

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        return Decision([True] * len(states))


def test_a_rule_of_a_third_party_is_read_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXIT_RULES, "_added", {"second": Second})
    assert parse("second,after=3,kv=propagated").rule(context()).exits == frozenset({6})
    with pytest.raises(UsageError, match="second has no option 'before': there are after, kv, exits, bundle"):
        parse("second,before=3")
    with pytest.raises(UsageError, match="unknown exit rule 'secnd': did you mean second"):
        parse("secnd")
