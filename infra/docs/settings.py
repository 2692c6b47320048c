"""The settings of the platform file, as the Rust structs say: names, types, meanings. The defaults are those that the test
`reference` of the crate `model` has written from the running code (docs/reference/platform-defaults.toml)."""

import re
import tomllib
from dataclasses import dataclass, field

import source
from source import Unreadable

DEFAULTS = source.ROOT / "docs" / "reference" / "platform-defaults.toml"
# What stands for the key of a map in the list of defaults, and what it is called on the page.
EXAMPLE = "example"
KEYS = {"regions": "KEY", "tokens": "HOLDER", "quotas": "TIER", "license.limits": "TIER", "tenant_api.sizes": "SIZE",
        "infrastructure.region_variables": "REGION"}
# Types that a file writes as one value, and how.
PLAIN = {"String": "text", "bool": "boolean", "Seconds": "number", "SecretRef": "secret reference", "Value": "table",
         "SocketAddr": "text", **dict.fromkeys(("u16", "u32", "u64", "i32", "i64", "usize"), "integer")}
UNITS = [(r"^Hours\b", "hours"), (r"\bin seconds\b|^Seconds\b", "seconds"), (r"TCP port|^Port\b|Its port", "TCP port"),
         (r"Prometheus duration", "Prometheus duration"), (r"Kubernetes quantity|\b(CPU|[Mm]emory)\b", "Kubernetes quantity"),
         (r"`address:port`", "address:port")]


@dataclass
class Field:
    name: str
    type: list
    doc: str
    required: bool
    skipped: bool = False


@dataclass
class Kind:
    """A struct, or an enum whose variants are values or (with a tag) tables."""
    name: str
    doc: str
    fields: list = field(default_factory=list)
    values: list = field(default_factory=list)
    tag: str = ""


@dataclass
class Setting:
    key: str
    type: str
    unit: str
    default: str
    meaning: str


@dataclass
class Section:
    path: str
    doc: str
    settings: list = field(default_factory=list)
    optional: bool = False


def kinds(root=source.ROOT):
    """Every struct and enum that the platform file is read into, by name."""
    home = next((path.parent for path in sorted((root / "shared").rglob("*.rs"))
                 if re.search(r"^pub struct Platform \{", path.read_text(), re.MULTILINE)), None)
    if home is None:
        raise Unreadable("no file below shared/ has `pub struct Platform {`")
    found = {}
    for path in sorted(home.rglob("*.rs")):
        tokens = source.without_tests(source.tokens(path.read_text()))
        for at, token in enumerate(tokens):
            if str(token) in ("struct", "enum") and str(tokens[at + 2]) == "{":
                kind = read(tokens, at)
                if kind:
                    found[kind.name] = kind
    # Closed lists that live beside the tenant's model.
    found["Tier"] = Kind("Tier", "", values=["free", "professional", "enterprise"])
    found["DeploymentType"] = Kind("DeploymentType", "", values=["shared", "container_per_tenant"])
    return found


def before(tokens, at):
    """The doc comment and the attributes before an item or a field."""
    doc, attributes, place = [], [], at - 1
    if str(tokens[place]) == "pub":
        place -= 1
    while place >= 0:
        if tokens[place].kind == "doc":
            doc.insert(0, tokens[place].text)
            place -= 1
        elif str(tokens[place]) == "]":
            opening = place
            while str(tokens[opening]) != "#":
                opening -= 1
            attributes.append(" ".join(str(token) for token in tokens[opening:place + 1]))
            place = opening - 1
        else:
            break
    return paragraph(doc), attributes


def paragraph(lines):
    text = " ".join(lines).strip()
    text = re.sub(r"\[`([\w:]+)`\]", r"`\1`", text)
    return re.sub(r"\s+", " ", text)


def read(tokens, at):
    doc, attributes = before(tokens, at)
    serde = " ".join(each for each in attributes if "serde" in each)
    if not any("Deserialize" in each for each in attributes):
        return None
    kind = Kind(str(tokens[at + 1]), doc)
    end = source.closing(tokens, at + 2)
    case = re.search(r'rename_all = (\w+)', serde)
    if str(tokens[at]) == "enum":
        tag = re.search(r"tag = (\w+)", serde)
        kind.tag = tag[1] if tag else ""
        for part in split_fields(tokens[at + 3:end]):
            name_at = next(nth for nth, token in enumerate(part) if token.kind == "id" and depth(part, nth) == 0)
            _, own = before(part, name_at)
            renamed = re.search(r"rename = (\S+)", " ".join(own))
            kind.values.append(renamed[1] if renamed else renaming(str(part[name_at]), case and case[1]))
        return kind
    whole = bool(re.search(r"\bdefault\b", serde))
    for part in split_fields(tokens[at + 3:end]):
        colon = next(nth for nth, token in enumerate(part) if str(token) == ":" and depth(part, nth) == 0)
        said, own = before(part, colon - 1)
        own = " ".join(own)
        type_ = part[colon + 1:]
        required = not (whole or re.search(r"\bdefault\b", own) or str(type_[0]) == "Option")
        kind.fields.append(Field(str(part[colon - 1]), type_, said, required, "( skip )" in own))
    return kind


def split_fields(tokens):
    return [part for part in source.split(tokens, types=True) if part]


def depth(part, nth):
    opened = sum(str(token) in "([{" for token in part[:nth] if token.kind == "punct")
    return opened - sum(str(token) in ")]}" for token in part[:nth] if token.kind == "punct")


def renaming(name, case):
    if case == "lowercase":
        return name.lower()
    if case == "snake_case":
        return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    return name


def sections(root=source.ROOT):
    """The file's sections in the order of the source, each with its settings."""
    known, defaults = kinds(root), tomllib.loads(DEFAULTS.read_text())
    found = []

    def walk(path, kind, doc, given, optional=False):
        section = Section(path, doc, optional=optional)
        found.append(section)
        for field_ in kind.fields:
            if field_.skipped:
                continue
            key = f"{path}.{field_.name}" if path else field_.name
            outer, inner, map_ = unwrap(field_.type)
            kind_ = known.get(inner)
            value = given.get(field_.name) if isinstance(given, dict) else None
            if kind_ and kind_.fields and map_:
                name = f"{key}.<{KEYS.get(key, 'KEY')}>"
                if isinstance(value, dict) and EXAMPLE not in value and value:
                    section.settings.append(Setting(key, f"table of tables, see `[{name}]`", "", table(value), field_.doc))
                    walk(name, kind_, kind_.doc or field_.doc, {}, True)
                else:
                    walk(name, kind_, field_.doc, (value or {}).get(EXAMPLE, {}), True)
            elif kind_ and kind_.fields:
                walk(key, kind_, field_.doc, value if value is not None else {}, outer == "Option")
            elif kind_ and kind_.tag:
                tagged(key, kind_, field_)
            else:
                section.settings.append(setting(key, field_, known, value, given is not None))
        return section

    def tagged(key, kind, field_):
        section = Section(key, field_.doc)
        section.settings.append(Setting(f"{key}.{kind.tag}", "one of " + ", ".join(f"`{each}`" for each in kind.values), "",
                                        "required", kind.doc))
        for name, type_, needing, doc in variants(root, kind.name):
            default = "required for " + ", ".join(f"`{each}`" for each in needing) if needing else "none"
            section.settings.append(Setting(f"{key}.{name}", type_, "", default, doc))
        found.append(section)

    walk("", known["Platform"], known["Platform"].doc, defaults)
    return found


def variants(root, name):
    """The fields of a tagged enum's variants: name, type, which variants require it, and what it means in each."""
    for path in sorted((root / "shared").rglob("*.rs")):
        if f"pub enum {name} {{" not in path.read_text():
            continue
        tokens = source.tokens(path.read_text())
        at = next(nth for nth, token in enumerate(tokens) if str(token) == "enum" and str(tokens[nth + 1]) == name)
        merged = {}
        for part in split_fields(tokens[at + 3:source.closing(tokens, at + 2)]):
            opening = next((nth for nth, token in enumerate(part) if str(token) == "{"), None)
            if opening is None:
                continue
            variant = renaming(str(part[opening - 1]), "snake_case")
            for inner in split_fields(part[opening + 1:-1]):
                colon = next(nth for nth, token in enumerate(inner) if str(token) == ":" and depth(inner, nth) == 0)
                doc, own = before(inner, colon - 1)
                outer, base, _ = unwrap(inner[colon + 1:])
                entry = merged.setdefault(str(inner[colon - 1]), [PLAIN[base], [], []])
                entry[1] += [variant] if outer != "Option" and "default" not in " ".join(own) else []
                entry[2].append(f"`{variant}`: {doc}")
        return [(key, type_, needing, " ".join(docs)) for key, (type_, needing, docs) in merged.items()]
    raise Unreadable(f"no enum {name}")


def unwrap(type_):
    """The outermost wrapper, the innermost type, and whether a map is between."""
    names = [token.text for token in type_ if token.kind == "id"]
    return (names[0] if len(names) > 1 else ""), names[-1], "BTreeMap" in names


def setting(key, field_, known, value, listed):
    outer, inner, map_ = unwrap(field_.type)
    names = [token.text for token in field_.type if token.kind == "id"]
    kind = known.get(inner)
    if kind and kind.values:
        base = "one of " + ", ".join(f"`{each}`" for each in kind.values)
    elif inner in PLAIN:
        base = PLAIN[inner]
    else:
        raise Unreadable(f"{key}: type {inner} is not known to this program")
    if map_:
        inner_map = names.count("BTreeMap") > 1
        base = f"table of {'tables of ' if inner_map else ''}{plural(base)}"
    elif "Vec" in names:
        base = f"list of {plural(base)}"
    unit = "seconds" if inner == "Seconds" else ""
    if not unit and inner not in ("bool", "SecretRef"):
        unit = next((unit for pattern, unit in UNITS if re.search(pattern, field_.doc)), "")
    if unit == "Kubernetes quantity" and inner != "String":
        unit = ""
    if unit == "seconds" and inner not in ("Seconds", "u32"):
        unit = ""
    if field_.required:
        default = "required"
    elif value is not None:
        default = literal(value)
    elif outer == "Option":
        default = "none"
    else:
        raise Unreadable(f"{key} has a default that {DEFAULTS.name} does not list; run "
                         "`UPDATE_REFERENCE=1 cargo test -p model --test reference` first")
    return Setting(key, base, unit, default, field_.doc)


def plural(base):
    if base.startswith("one of "):
        return f"{base.removeprefix('one of ')}"
    return {"text": "texts", "integer": "integers", "number": "numbers", "secret reference": "secret references"}.get(base, base)


def literal(value):
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value == int(value):
        return f"`{int(value)}`"
    if isinstance(value, (int, float)):
        return f"`{value}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, list):
        return "`[" + ", ".join(literal(each).strip("`") for each in value) + "]`"
    return table(value)


def table(value):
    """A table as TOML writes it in one line; one that is too long is in the list of defaults."""
    def inline(each):
        if isinstance(each, dict):
            return "{ " + ", ".join(f"{key(name)} = {inline(inner)}" for name, inner in each.items()) + " }" if each else "{}"
        return literal(each).strip("`")

    def key(name):
        return name if re.fullmatch(r"[\w-]+", name) else f'"{name}"'

    text = inline(value)
    return f"`{text}`" if len(text) <= 400 else "see [the list of defaults](platform-defaults.toml)"
