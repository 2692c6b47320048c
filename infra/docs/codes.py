"""Every error code that the source can give: of phases and the engine, and of the two HTTP programs.

The code of a phase is where an error is made (`Error::retryable("code", message).next("…")`). One that comes from a variable is
followed to where the variable gets its value: a `let` of the same function, or the function's callers. The program stops at one
that it cannot follow: a code that is missing from the page would be worse. The codes of an HTTP program are the rows of its
table, `problem_types!`.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus

import source
from source import Unreadable

CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# What an error is made by.
MAKERS = {"Error", "Self", "ErrorRecord"}
KINDS = ("retryable", "fatal", "unavailable")
# Crates that are parts of the engine rather than an outside system.
ENGINE = {"engine", "queue"}
# Where http and Python call a status differently.
STATUS = {"PAYLOAD_TOO_LARGE": 413, "UNPROCESSABLE_ENTITY": 422}


@dataclass
class Raised:
    """One code of one kind: where, by what cause, with which advice. In the order of the source, each once."""
    code: str
    kind: str
    where: list = field(default_factory=list)
    causes: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    dependencies: list = field(default_factory=list)

    def add(self, attribute, values):
        known = getattr(self, attribute)
        known.extend(value for value in values if value and value not in known)


@dataclass
class Refusal:
    """One code of an HTTP program."""
    code: str
    statuses: list = field(default_factory=list)
    titles: list = field(default_factory=list)
    actions: list = field(default_factory=list)

    add = Raised.add


class Crate:
    """Files among which a function and its callers are looked for."""

    def __init__(self, files):
        self.files = files
        self.calls = defaultdict(list)
        self.constants = {}
        for file in files:
            said = [str(token) for token in file.tokens]
            for at, token in enumerate(said):
                if token == "const" and "=" in said[at + 3:at + 8]:
                    value = file.tokens[said.index("=", at) + 1]
                    if value.kind in ("str", "num"):
                        self.constants[said[at + 1]] = value.text
            for at in range(len(file.tokens) - 1):
                if file.tokens[at].kind == "id" and str(file.tokens[at + 1]) == "(":
                    self.calls[str(file.tokens[at])].append((file, at))

    def callers(self, file, function):
        """Calls of this function: in its own file for a closure, else in the files of its folder and below."""
        for other, at in self.calls[function.name]:
            before = str(other.tokens[at - 1]) if at else ""
            if before == "fn" or (before == "::" and str(other.tokens[at - 2]) in ("Error", "StatusCode")):
                continue
            if len(source.arguments(other.tokens, at + 1)) != len(function.params):
                continue
            if str(file.tokens[function.begin]) == "let":
                if other is file and before not in (".", "::"):
                    yield other, at
            elif other is file or file.path.parent in other.path.parents:
                yield other, at

    def sites(self, file, at, opening, code, message):
        """Each code that a call can make, with the texts of its message and of what follows by `.next(…)`."""
        name = str(code[0]) if len(code) == 1 and code[0].kind == "id" else None
        actions = self.advice(file, at, opening)
        for function in file.around(at):
            if name and name in function.params and not self.bound(file, name, at):
                calls = list(self.callers(file, function))
                for other, call in calls:
                    arguments = source.arguments(other.tokens, call + 1)
                    inner = str(message[0]) if len(message) == 1 else None
                    said = arguments[function.params.index(inner)] if inner in function.params else None
                    texts = self.texts(other, said, call) if said else self.texts(file, message, at)
                    own = self.advice(other, call, call + 1, follow=False)
                    for value, *_ in self.sites(other, call, call + 1, arguments[function.params.index(name)], []):
                        yield value, texts, own or self.advice(file, at, opening, follow=False)
                if calls:
                    return
        for value in self.values(file, code, at):
            yield value, self.texts(file, message, at), actions

    def values(self, file, argument, at):
        """The texts that a code's expression can be."""
        said = [str(token) for token in argument]
        if len(argument) == 1 and argument[0].kind == "str":
            return [argument[0].text]
        if said[1:] == [".", "into", "(", ")"]:
            return self.values(file, argument[:1], at)
        if len(argument) == 1 and argument[0].kind == "id":
            name = said[0]
            for place in range(len(file.tokens) - 6):
                if str(file.tokens[place]) == "const" and str(file.tokens[place + 1]) == name:
                    return [file.tokens[place + 6].text]
            found = self.bound(file, name, at)
            if found:
                return found
        raise Unreadable(f"{file.where(at)}: the code is {' '.join(said)}, which cannot be followed to its values")

    @staticmethod
    def bound(file, name, at):
        """The texts of the last `let` before `at` that binds the name, alone or in a pattern; none of a match's patterns."""
        inside = source.bound(file, name, at)
        return [token.text for nth, token in enumerate(inside)
                if token.kind == "str" and CODE.fullmatch(token.text)
                and str(inside[nth + 1] if nth + 1 < len(inside) else "") not in ("=>", "|", "if")]

    def texts(self, file, argument, at):
        """The texts of a message or an advice, those that callers hand in included."""
        text = source.text_of(file, argument, at)
        if text is not None:
            return [re.sub(r"\{([A-Z_]+)\}", lambda match: self.constants.get(match[1], match[0]), text)]
        name = str(argument[0]) if len(argument) == 1 and argument[0].kind == "id" else None
        for function in file.around(at):
            if name and name in function.params:
                given = []
                for other, call in self.callers(file, function):
                    arguments = source.arguments(other.tokens, call + 1)
                    if len(arguments) > function.params.index(name):
                        given += self.texts(other, arguments[function.params.index(name)], call)
                return given
        return []

    def advice(self, file, at, opening, follow=True):
        """What `.next(…)` behind a call says; where there is none, what the function's callers put behind theirs."""
        place = source.closing(file.tokens, opening)
        while str(file.tokens[place + 1]) == "." and str(file.tokens[place + 3]) == "(":
            if str(file.tokens[place + 2]) == "next":
                return self.texts(file, source.arguments(file.tokens, place + 3)[0], at)
            place = source.closing(file.tokens, place + 3)
        for function in file.around(at)[:1]:
            if not follow or any(str(token) == ";" for token in file.tokens[place:function.end]):
                return []
            return sum((self.advice(other, call, call + 1) for other, call in self.callers(file, function)
                        if function not in other.around(call)), [])
        return []


@cache
def sources(folder):
    """The files of the folder, without their tests."""
    paths = sorted(folder.rglob("*.rs"))
    return [source.read(path) for path in paths
            if "src" in path.parts and "tests" not in path.parts
            and not path.stem.endswith("_tests") and path.stem != "tests"]


def part(path, root=source.ROOT):
    """Where a file belongs, as an operator would say: a phase, an outside system, the engine."""
    words = [word for word in path.relative_to(root).with_suffix("").parts if word not in ("src", "mod", "lib")]
    if words[0] == "functions":
        return f"`{words[1].replace('-', '_').upper()}`"
    # Of shared/, the crate: each outside system has one.
    name = words[1] if words[0] == "shared" else words[0]
    return "engine" if name in ENGINE else name.removesuffix("-client")


def of_phases(root=source.ROOT):
    """The codes of phases and the engine, by code and kind."""
    folders = [root / "shared", root / "queue", *sorted((root / "functions").iterdir())]
    found = {}

    def note(file, code, kind, causes, actions, dependencies=()):
        if not CODE.fullmatch(code):
            raise Unreadable(f"{file.path}: '{code}' is not a code")
        raised = found.setdefault((code, kind), Raised(code, kind))
        raised.add("where", [part(file.path, root)])
        raised.add("causes", causes)
        raised.add("actions", actions)
        raised.add("dependencies", dependencies)

    for folder in folders:
        crate = Crate(sources(folder))
        for file in crate.files:
            for at in range(len(file.tokens) - 4):
                if file.tokens[at].text not in MAKERS:
                    continue
                said = [str(token) for token in file.tokens[at:at + 4]]
                if made(said, file.path):
                    kind, arguments = said[2], source.arguments(file.tokens, at + 3)
                    named, arguments = (arguments[0], arguments[1:]) if kind == "unavailable" else ([], arguments)
                    for code, causes, actions in crate.sites(file, at, at + 3, *arguments[:2]):
                        note(file, code, kind, causes, actions, dependency(file, named))
                elif said[:2] == ["ErrorRecord", "{"] and str(file.tokens[at - 1]) not in ("struct", ">", "for", "->"):
                    fields = {str(each[0]): each[2:] for each in source.split(
                        file.tokens[at + 2:source.closing(file.tokens, at + 1)]) if len(each) > 2}
                    kind = source.text_of(file, fields["kind"][:1], at)
                    if kind is None or "code" not in fields:
                        continue
                    actions = crate.texts(file, strip(fields["next_action"]), at) or sentences(file, "next_action", at)
                    for code in crate.values(file, fields["code"], at):
                        note(file, code, kind, crate.texts(file, strip(fields["message"]), at), actions)
    return found


def sentences(file, name, at):
    """The texts among which a `let` chooses."""
    return [token.text for token in source.bound(file, name, at) if token.kind == "str" and " " in token.text]


def strip(argument):
    """Without a final `.into()`."""
    return argument[:-4] if [str(token) for token in argument[-4:]] == [".", "into", "(", ")"] else argument


def made(said, path):
    kind = said[2] in KINDS and said[1] == "::" and said[3] == "("
    return kind and (said[0] == "Error" or (said[0] == "Self" and path.name == "error.rs"))


def dependency(file, argument):
    """The dependency's name, where it stands there or in a constant."""
    if len(argument) == 1 and argument[0].kind == "str":
        return [argument[0].text]
    for place in range(len(file.tokens) - 6):
        if argument and str(file.tokens[place]) == "const" and str(file.tokens[place + 1]) == str(argument[-1]):
            return [file.tokens[place + 6].text] if file.tokens[place + 6].kind == "str" else []
    return []


def of_http(folder):
    """The problem codes of one HTTP program: the rows of its table `problem_types! { STATUS code [as name] "title" [=> "action"]; }`."""
    found = {}
    for file in sources(folder):
        for at in range(len(file.tokens) - 2):
            if [str(token) for token in file.tokens[at:at + 3]] != ["problem_types", "!", "{"]:
                continue
            for row in source.split(file.tokens[at + 3:source.closing(file.tokens, at + 2)], ";"):
                status, code, *_ = (str(token) for token in row)
                texts = [token.text for token in row if token.kind == "str"]
                if not CODE.fullmatch(code) or not texts:
                    raise Unreadable(f"{file.path}: a row of problem_types! is {' '.join(str(token) for token in row)}")
                refusal = found.setdefault(code, Refusal(code))
                refusal.add("statuses", [STATUS.get(status) or HTTPStatus[status].value])
                refusal.add("titles", texts[:1])
                refusal.add("actions", texts[1:])
    return found


def of_fields(folder):
    """The codes in a problem's `errors`, and the fields that they are about where the source names those."""
    crate, found = Crate(sources(folder)), defaultdict(list)
    for file in crate.files:
        for at in range(len(file.tokens) - 4):
            said = [str(token) for token in file.tokens[at:at + 3]]
            if said == [".", "error", "("]:
                arguments = source.arguments(file.tokens, at + 2)
                # One that is taken out of another FieldError is found where that is made.
                handed_on = str(arguments[1][0]) == "code" and made_elsewhere(file, at) if len(arguments) == 3 else True
                if not handed_on:
                    for code, *_ in crate.sites(file, at, at + 2, arguments[1], []):
                        found[code] += [arguments[0][0].text] if arguments[0][0].kind == "str" else []
            elif said[:2] == ["FieldError", "{"] and str(file.tokens[at - 1]) not in ("struct", "let"):
                for each in source.split(file.tokens[at + 2:source.closing(file.tokens, at + 1)]):
                    if str(each[0]) == "code" and len(each) == 3 and each[2].kind == "str":
                        found[each[2].text] += []
    return found


def made_elsewhere(file, at):
    statement = next((place for place in range(at, 0, -1) if str(file.tokens[place]) == "let"), 0)
    return str(file.tokens[statement + 1]) == "FieldError"
