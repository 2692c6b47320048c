"""Rust source as far as the reference pages need it: tokens, functions, the arguments of calls, and texts of messages.

It reads what rustc has accepted already, so that it may be lenient; but what it does not understand it says, with file and line.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<doc>///(?!/)[^\n]*)
  | (?P<comment>//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)
  | (?P<raw>b?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
  | (?P<str>b?"(?:[^"\\]|\\(?:.|\n))*")
  | (?P<char>b?'(?:[^'\\]|\\(?:u\{[^}]*\}|x..|.))')
  | (?P<life>'[A-Za-z_]\w*)
  | (?P<id>r\#[A-Za-z_]\w*|[A-Za-z_]\w*)
  | (?P<num>\d[\w]*(?:\.\d[\w]*)?)
  | (?P<punct>::|=>|->|\.\.=|\.\.|.)
""", re.VERBOSE)

CFG_TEST = ["#", "[", "cfg", "(", "test", ")", "]"]
OPENS, CLOSES = "([{", ")]}"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"', "'": "'"}


class Unreadable(Exception):
    """Something in the source that these programs do not understand."""


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    line: int

    def __str__(self):
        return self.text


def unescape(text):
    def one(match):
        said = match[1]
        if said.startswith("u{"):
            return chr(int(said[2:-1], 16))
        return "" if said.startswith("\n") else ESCAPES.get(said, said)

    return re.sub(r"\\(u\{[0-9a-f]+\}|\n\s*|.)", one, text)


def tokens(text):
    found, line = [], 1
    for match in TOKEN.finditer(text):
        kind, said = match.lastgroup, match[0]
        if kind == "raw" or (match["raw"] is not None):
            quoted = said[said.index('"') + 1:said.rindex('"')]
            found.append(Token("str", quoted, line))
        elif kind == "str":
            found.append(Token("str", unescape(said[said.index('"') + 1:-1]), line))
        elif kind == "doc":
            found.append(Token("doc", said[3:].strip(), line))
        elif kind not in ("space", "comment"):
            found.append(Token(kind, said, line))
        line += said.count("\n")
    return found


def closing(found, at):
    """The place of the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(found)):
        if found[place].kind == "punct":
            if found[place].text in OPENS:
                depth += 1
            elif found[place].text in CLOSES:
                depth -= 1
                if depth == 0:
                    return place
    raise Unreadable(f"line {found[at].line}: a bracket that nothing closes")


def split(found, at=",", types=False):
    """Parts between separators that are in no brackets of their own; of types, `<` and `>` are brackets too."""
    opens, closes = (OPENS + "<", CLOSES + ">") if types else (OPENS, CLOSES)
    parts, part, depth = [], [], 0
    for token in found:
        if token.kind == "punct" and token.text in opens:
            depth += 1
        elif token.kind == "punct" and token.text in closes:
            depth -= 1
        if depth == 0 and token.kind == "punct" and token.text == at:
            parts.append(part)
            part = []
        else:
            part.append(token)
    return parts + ([part] if part else [])


def without_tests(found):
    """Leaves out every item marked `#[cfg(test)]`."""
    kept, place = [], 0
    while place < len(found):
        if found[place].text == "#" and [str(token) for token in found[place:place + 7]] == CFG_TEST:
            place += 7
            while str(found[place]) not in ("{", ";"):
                place += 1
            place = (closing(found, place) if str(found[place]) == "{" else place) + 1
        else:
            kept.append(found[place])
            place += 1
    return kept


@dataclass
class Function:
    """A function, or a closure with a name: where its body is among the file's tokens."""
    name: str
    params: list
    begin: int
    end: int


@dataclass
class File:
    path: Path
    tokens: list
    functions: list = field(default_factory=list)

    def around(self, at):
        """The functions and named closures whose body holds the token, the innermost first."""
        holding = [function for function in self.functions if function.begin <= at <= function.end]
        return sorted(holding, key=lambda function: function.end - function.begin)

    def where(self, at):
        shown = self.path.relative_to(ROOT) if ROOT in self.path.parents else self.path
        return f"{shown}:{self.tokens[at].line}"


def read(path):
    found = without_tests(tokens(path.read_text()))
    file = File(path, found)
    for at, token in enumerate(found):
        if token.kind == "id" and token.text == "fn" and found[at + 1].kind == "id":
            file.functions.append(function(found, at))
        elif str(token) == "let" and [str(each) for each in found[at + 2:at + 4]] == ["=", "|"]:
            file.functions.append(closure(found, at))
    file.functions = [each for each in file.functions if each]
    return file


def function(found, at):
    opening = next(place for place in range(at, len(found)) if str(found[place]) == "(")
    end = closing(found, opening)
    params = [names_of(part) for part in split(found[opening + 1:end], types=True)]
    params = [name for name in params if name != "self"]
    body = next(place for place in range(end, len(found)) if str(found[place]) in ("{", ";"))
    if str(found[body]) == ";":
        return None
    return Function(str(found[at + 1]), params, at, closing(found, body))


def closure(found, at):
    bar = next(place for place in range(at + 4, len(found)) if str(found[place]) == "|")
    params = [names_of(part) for part in split(found[at + 4:bar])]
    return Function(str(found[at + 1]), params, at, end_of_statement(found, at))


def end_of_statement(found, at):
    depth = 0
    for place in range(at, len(found)):
        said = str(found[place]) if found[place].kind == "punct" else ""
        if said in OPENS and said:
            depth += 1
        elif said in CLOSES and said:
            depth -= 1
        if (depth == 0 and said == ";") or depth < 0:
            return place
    return len(found) - 1


def names_of(part):
    before = split(part, ":")[0]
    names = [token.text for token in before if token.kind == "id" and token.text not in ("mut", "ref")]
    return names[-1] if names else ""


def arguments(found, at):
    """The arguments of the call whose bracket opens at `at`."""
    return split(found[at + 1:closing(found, at)])


def text_of(file, argument, at):
    """The text that an expression stands for, with `{…}` where something is filled in; None for what is only handed on."""
    said = [str(token) for token in argument]
    if not argument:
        return None
    while said[0] == "&":
        argument, said = argument[1:], said[1:]
    if argument[0].kind == "str":
        return argument[0].text
    if said[:3] == ["format", "!", "("]:
        return filled(argument[3:-1])
    if len(argument) == 1 and argument[0].kind == "id":
        bound = binding(file, argument[0].text, at)
        return text_of(file, bound, at) if bound else None
    if said[0] == "{":
        return text_of(file, argument[1:-1], at)
    return None


def filled(inside):
    """A format string, with the names of its positional arguments put in where they are simple."""
    template, *given = split(inside)
    given = iter([given_ for given_ in given if "=" not in [str(token) for token in given_[1:2]]])

    def named(match):
        if match[1] and not match[1].startswith(":"):
            return "{" + match[1].split(":")[0] + "}"
        names = [token.text for token in next(given, []) if token.kind == "id"]
        name = next((name for name in reversed(names) if name not in METHODS), "")
        return "{" + (name or "…") + "}"

    return re.sub(r"(?<!\{)\{([^{}]*)\}", named, template[0].text)


METHODS = {"display", "to_string", "as_str", "clone", "expose", "join", "len", "name", "as_secs", "words", "self",
           "unwrap_or", "unwrap_or_default", "without_url", "as_deref", "chain"}


def binding(file, name, at):
    """What the last `let name = …` in the blocks around `at` binds."""
    return bound(file, name, at, alone=True)


def bound(file, name, at, alone=False):
    """What the last `let` in the blocks around `at` binds to the name, by itself or (unless `alone`) within a pattern."""
    outermost = max((function.end - function.begin, function.begin) for function in file.around(at) or [Function("", [], at, at)])
    depth = 0
    for place in range(at - 1, outermost[1], -1):
        said = str(file.tokens[place]) if file.tokens[place].kind == "punct" else ""
        if said == "}":
            depth += 1
        elif said == "{":
            depth = max(depth - 1, 0)
        elif depth == 0 and str(file.tokens[place]) == "let":
            end = end_of_statement(file.tokens, place)
            equals = next((p for p in range(place, end) if str(file.tokens[p]) == "="), None)
            pattern = [str(token) for token in file.tokens[place + 1:equals]] if equals else []
            if pattern == [name] or (name in pattern and not alone):
                return file.tokens[equals + 1:end]
    return []
