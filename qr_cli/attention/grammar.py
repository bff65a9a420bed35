"""The one grammar of ``--module``, ``--arch`` and ``--data``, checked before torch is loaded.

    chain = term { "+" term } ;   term = name [ "(" [ arg { "," arg } ] ")" ] ;
    arg = chain | key "=" value ;   name = [A-Za-z0-9_.:/-]+ ;
    value = integer | float | true | false | none | word | "quoted text"

Blanks are ignored and names are case-insensitive, but for those with a ":" or "/" (a path, a class,
a name of timm), which are kept as typed. Positional arguments come before keys. `parse` knows no
module; `check_module` does. Which options a module has, their types, bounds and defaults, whether
it has logits and whether it may be constant are read from its source by `modules/forms.py` (those
of `qr_cli` only), so a new module stays one file and one line in `names.py`. Only the rules of
modules that take others inside stand here (`_RULES`). Options of third-party and timm modules are
known to these alone and are checked when the module is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from qr_cli.attention.modules.forms import Form, Value, form
from qr_cli.attention.names import MODULES
from qr_cli.errors import UsageError, near

SHAPE = "write name(sub-module,key=value), for example lsas(eca,order=2)"
TERMS = 4  # of a chain
OPERATORS = 8  # of sem
INNER_DEFAULTS = {"lsas": "se", "asr": "se", "ras": "ie", "sem": "fc,eca,ie"}
OPERATOR_NAMES = ("fc", "eca", "ie")  # inside sem and ras; fc is se under its name there

_NAME = re.compile(r"[A-Za-z0-9_.:/-]+")
_BLANK = re.compile(r"\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Node:
    """One term: a name, positional arguments (chains), options in the order of their keys.

    Equality ignores `at`, the place of the name in the text.
    """

    name: str
    args: tuple[Chain, ...] = ()
    options: tuple[tuple[str, Value], ...] = ()
    at: int = field(default=0, compare=False)

    def option(self, key: str, default: Value = None) -> Value:
        """Return the value of an option, or `default`."""
        return dict(self.options).get(key, default)


Chain = tuple[Node, ...]


def parse(text: str) -> Chain:
    """Return the terms of a chain.

    Raises:
        UsageError: the text does not follow the grammar; a caret shows where.
    """
    return _Parser(text).whole()


def parse_call(text: str) -> Node:
    """Return the single term of `text`: ``resnet20(shortcut=pad)``, ``npz:some/dir``, ``none``."""
    chain = parse(text)
    if len(chain) > 1:
        fault(text, chain[1].at, "expected one name, not a chain")
    return chain[0]


def canonical(spec: str | Node | Chain) -> str:
    """Return the text of a spec with keys sorted and no blanks; ``parse(canonical(x)) == x``."""
    if isinstance(spec, str):
        spec = parse(spec)
    if isinstance(spec, Node):
        spec = (spec,)
    return "+".join(_term_text(node) for node in spec)


def check_module(text: str) -> str:
    """Return the canonical text of a module string: defaults dropped, inner modules written out.

    Raises:
        UsageError: anything in it cannot be meant; a caret shows where.
    """
    return canonical(resolve_module(text))


def resolve_module(text: str) -> Chain:
    """Return the checked terms of a module string, defaults dropped, inner modules filled in."""
    return _Checker(text).chain(parse(text))


def check_options(text: str, node: Node, known: Form) -> Node:
    """Return a term of another table, which takes options and nothing inside, defaults dropped."""
    if node.args:
        fault(text, node.args[0][0].at, f"{node.name} takes no sub-module")
    return Node(node.name, (), _Checker(text).options(node, known), node.at)


def fault(text: str, at: int, message: str, *, hint: str = SHAPE) -> NoReturn:
    """Raise UsageError with the text and a caret under position `at`."""
    raise UsageError(f"{message}\n  {text}\n  {' ' * at}^", hint=hint)


class _Parser:
    """A recursive descent over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Chain:
        chain = self.chain()
        if self.at < len(self.text):
            self.fail(f"unexpected {self.text[self.at]!r}")
        return chain

    def chain(self) -> Chain:
        terms = [self.term()]
        while self.take("+"):
            terms.append(self.term())
        return tuple(terms)

    def term(self) -> Node:
        self.skip()
        at = self.at
        match = _NAME.match(self.text, at)
        if match is None:
            self.fail("expected a name")
        self.at = match.end()
        args, options = self.arguments() if self.take("(") else ((), ())
        return Node(_fold_case(match.group()), args, options, at)

    def arguments(self) -> tuple[tuple[Chain, ...], tuple[tuple[str, Value], ...]]:
        """Read up to the closing bracket."""
        args: list[Chain] = []
        options: dict[str, Value] = {}
        if self.take(")"):
            return (), ()
        while True:
            self.skip()
            start = self.at
            key = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=").match(self.text, start)
            if key is None:
                if options:
                    self.fail("a sub-module must come before the options")
                args.append(self.chain())
            else:
                name = key.group(1).lower()
                if name in options:
                    self.fail(f"option {name!r} is given twice")
                self.at = key.end()
                options[name] = self.value()
            if self.take(")"):
                return tuple(args), tuple(sorted(options.items()))
            if not self.take(","):
                self.fail("expected ',' or ')'")

    def value(self) -> Value:
        self.skip()
        if self.text[self.at : self.at + 1] in ('"', "'"):
            return self.quoted()
        number = _NUMBER.match(self.text, self.at)
        word = re.compile(r"[^\s,()+\"'=]+").match(self.text, self.at)
        if number and (word is None or number.end() >= word.end()):
            self.at = number.end()
            return _number(number.group())
        if word is None:
            self.fail("expected a value")
        self.at = word.end()
        constants: dict[str, Value] = {"true": True, "false": False, "none": None}
        return constants.get(word.group().lower(), word.group())

    def quoted(self) -> str:
        """Read a quoted text; a backslash keeps the next character as it is."""
        start, quote = self.at, self.text[self.at]
        match = re.compile(rf"{quote}((?:\\.|[^\\{quote}])*){quote}").match(self.text, start)
        if match is None:
            self.fail("this quotation has no end")
        self.at = match.end()
        return re.sub(r"\\(.)", r"\1", match.group(1))

    def take(self, mark: str) -> bool:
        """Step over `mark` and the blanks around it, if it is next."""
        self.skip()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        self.skip()
        return True

    def skip(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def fail(self, message: str) -> NoReturn:
        fault(self.text, self.at, message)


class _Checker:
    """What may stand where; keeps the text for the caret."""

    def __init__(self, text: str) -> None:
        self.text = text

    def chain(self, chain: Chain, inside: str | None = None) -> Chain:
        if len(chain) > TERMS:
            self.fail(chain[TERMS], f"a chain has at most {TERMS} terms, got {len(chain)}")
        nodes = tuple(self.term(node, inside) for node in chain)
        if len(nodes) > 1:
            self.same_scope(nodes)
        return nodes

    def same_scope(self, chain: Chain) -> None:
        """Refuse `none` in a chain and terms of both scopes."""
        for node in chain:
            if node.name == "none":
                self.fail(node, "none cannot stand in a chain")
            if _scope(node) != _scope(chain[0]):
                other = "every term must be kept per block, or every term per stage"
                self.fail(node, f"{node.name} and {chain[0].name} cannot be chained: {other}")

    def term(self, node: Node, inside: str | None) -> Node:
        if node.name == "none":
            if inside or node.args or node.options:
                self.fail(node, "none stands alone")
            return node
        if ":" in node.name:
            return Node(node.name, self.foreign_args(node), node.options, node.at)
        known = form("se" if node.name == "fc" and inside in _FC_INSIDE else node.name)
        if known is None:
            if node.name in MODULES:  # of a third party, through an entry point
                return Node(node.name, self.foreign_args(node), node.options, node.at)
            table = MODULES.all()
            self.fail(node, f"unknown attention module {node.name!r}{near(node.name, table)}")
        return Node(node.name, self.inner(node), self.options(node, known), node.at)

    def foreign_args(self, node: Node) -> tuple[Chain, ...]:
        return tuple(self.chain(arg, node.name) for arg in node.args)

    def options(self, node: Node, known: Form) -> tuple[tuple[str, Value], ...]:
        """Check keys, types and bounds; drop what equals the default."""
        for key, value in node.options:
            option = known.options.get(key)
            if option is None:
                valid = ", ".join(sorted(known.options)) or "none at all"
                guess = near(key, known.options)
                self.fail(node, f"{node.name} has no option {key!r}{guess}; valid: {valid}", key)
            if not option.accepts(value):
                shown = f"should be {option.expected()}, got {_value_text(value)}"
                self.fail(node, f"{node.name}: {key} {shown}", key)
            low, high = known.limits.get(key, (float("-inf"), float("inf")))
            if isinstance(value, int | float) and not low <= value <= high:
                self.fail(
                    node, f"{node.name}: {key} must be from {low} to {high}, got {value}", key
                )
        typed = ((k, known.options[k].typed(v)) for k, v in node.options)
        return tuple((k, v) for k, v in typed if v != known.options[k].default)

    def inner(self, node: Node) -> tuple[Chain, ...]:
        """Check the sub-modules of a term, and fill in the default ones."""
        rule = _RULES.get(node.name)
        if rule is None:
            if node.args:
                self.fail(node.args[0][0], f"{node.name} takes no sub-module")
            return ()
        default = INNER_DEFAULTS.get(node.name)
        if not node.args and default is None:
            self.fail(node, f"{node.name} needs a sub-module: {node.name}(se)")
        given = node.args or tuple(parse(name) for name in str(default).split(","))
        most = OPERATORS if node.name == "sem" else 1
        if len(given) > most:
            self.fail(given[most][0], f"{node.name} takes at most {most} sub-module(s)")
        return tuple(rule(self, arg, node) for arg in given)

    def for_logits(self, arg: Chain, owner: Node) -> Chain:
        """Inside lsas: one term with a value before the sigmoid."""
        base = arg[0]
        if base.name == "asr":
            self.fail(
                base,
                "asr cannot stand inside lsas: the constant gate would be hidden",
                hint="--module 'asr(lsas(se))'",
            )
        known = form(_plain(base.name))
        if len(arg) > 1 or ":" in base.name or (known and not known.has_logits):
            shown = "a chain" if len(arg) > 1 else base.name
            allowed = ", ".join(name for name in MODULES.entries if _has_logits(name))
            self.fail(base, f"{shown} has no single pre-sigmoid value; inside lsas: {allowed}")
        return self.chain((_rename(base, _plain(base.name)),), owner.name)

    def for_operator(self, arg: Chain, owner: Node) -> Chain:
        """Inside sem and ras: fc, eca, ie."""
        if len(arg) > 1:
            self.fail(arg[1], f"{owner.name} takes single operators, not a chain")
        node = _rename(arg[0], "fc" if arg[0].name == "se" else arg[0].name)
        if node.name not in OPERATOR_NAMES:
            guess = near(node.name, OPERATOR_NAMES)
            allowed = ", ".join(OPERATOR_NAMES)
            self.fail(node, f"{node.name} cannot stand inside {owner.name}{guess}; only: {allowed}")
        return self.chain((node,), owner.name)

    def for_constant(self, arg: Chain, owner: Node) -> Chain:
        """Inside asr: a module whose gate is a function of the pooled vector."""
        base = arg[0]
        if len(arg) > 1:
            self.fail(
                arg[1],
                "a chain cannot stand inside asr",
                hint="--module 'asr(se)+se' puts a module after it",
            )
        if ":" in base.name:
            self.fail(base, f"{base.name} cannot stand inside asr: its gate is unknown here")
        checked = self.chain((_rename(base, _plain(base.name)),), owner.name)
        reason = _not_constant(checked[0])
        if reason:
            self.fail(
                base,
                f"{base.name} cannot stand inside asr: {reason}",
                hint="inside asr: se, eca, ie, lsas(...), sem(...), spem, spa, fca",
            )
        return checked

    def for_share(self, arg: Chain, owner: Node) -> Chain:
        """Inside share: anything kept per block, without asr."""
        checked = self.chain(arg, owner.name)
        for node in _walk(checked):
            if node.name == "asr":
                self.fail(node, "asr cannot stand inside share: its constant belongs to one block")
            if _scope(node) == "stage":
                self.fail(node, f"{node.name} is shared by the blocks of a stage already")
        return checked

    def fail(
        self, node: Node, message: str, key: str | None = None, *, hint: str = MODULES.listing
    ) -> NoReturn:
        at = node.at
        if key:
            place = re.compile(rf"\b{re.escape(key)}\s*=", re.IGNORECASE).search(self.text, at)
            at = place.start() if place else at
        fault(self.text, at, message, hint=hint)


_RULES = {
    "lsas": _Checker.for_logits,
    "sem": _Checker.for_operator,
    "ras": _Checker.for_operator,
    "asr": _Checker.for_constant,
    "share": _Checker.for_share,
}
_FC_INSIDE = ("sem", "ras")


def _rename(node: Node, name: str) -> Node:
    return Node(name, node.args, node.options, node.at)


def _plain(name: str) -> str:
    """Return "se" for "fc", the same module under its name as an operator."""
    return "se" if name == "fc" else name


def _has_logits(name: str) -> bool:
    known = form(name)
    return known is not None and known.has_logits


def _scope(node: Node) -> str:
    known = form(_plain(node.name))
    own = known.scope if known else "block"
    inner = [_scope(n) for arg in node.args for n in arg]
    return "stage" if "stage" in (own, *inner) else "block"


def _not_constant(node: Node) -> str | None:
    """Return why a term may not stand inside asr, looking into its sub-modules too."""
    known = form(_plain(node.name))
    if known and known.constant_input == "no":
        return known.constant_reason
    reasons = (_not_constant(n) for arg in node.args for n in arg)
    return next((r for r in reasons if r), None)


def _walk(chain: Chain) -> list[Node]:
    return [n for node in chain for n in (node, *(m for a in node.args for m in _walk(a)))]


def _fold_case(name: str) -> str:
    """Return the name in lower case, unless it is a path, a class or the like."""
    return name if re.search("[:/]", name) else name.lower()


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _term_text(node: Node) -> str:
    parts = [canonical(arg) for arg in node.args]
    parts += [f"{key}={_value_text(value)}" for key, value in sorted(node.options)]
    return f"{node.name}({','.join(parts)})" if parts else node.name


def _value_text(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    plain = re.fullmatch(r"[^\s,()+\"'=\\]+", value) and value.lower() not in _CONSTANTS
    if plain and not _NUMBER.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_CONSTANTS = ("true", "false", "none")
