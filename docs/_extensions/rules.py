"""The directive `rules`: every rule, as a row of choices, a formula, a function or a class.

The rules are read from the table, so that a new one has its entry without a change here.
"""

from sphinx.util.docutils import SphinxDirective

import fastopt
from fastopt import _formulas

ENTRY = """\
## {name}

```{{eval-rst}}
.. {directive}:: fastopt.{name}
```
"""
WHEN = "When to use it: "
HEAD = "| rule | bytes | when to use it |\n|---|---|---|\n"


def of_kernel(kernel):
    """The classes whose formula is in one file, it with its source, and when to use it."""
    rules = [rule for rule in fastopt.RULES.values() if rule.kernel == kernel]
    _, _, text = _formulas.FORMULAS[kernel].partition("\n")
    formula, _, use = text.partition(WHEN)
    return rules, formula, " ".join(use.split())


def bytes_of(rule):
    """Of a float32 parameter, its gradient and its states."""
    least = 4 * (2 + len(rule.states))
    return f"{least} to {least + 4 * len(rule.optional)}" if rule.optional else str(least)


def kernels():
    return dict.fromkeys(rule.kernel for rule in fastopt.RULES.values())


def choices():
    lines = []
    for rules, _, use in map(of_kernel, kernels()):
        names = ", ".join(f"{{py:class}}`~fastopt.{rule.class_name}`" for rule in rules)
        lines.append(f"| {names} | {bytes_of(rules[0])} | {use[0].upper()}{use[1:]} |\n")
    return HEAD + "".join(lines)


def formulas():
    entries = []
    for rules, formula, _ in map(of_kernel, kernels()):
        lines = [
            line if line.startswith("    ") else line.replace("*", r"\*")
            for line in formula.splitlines()
        ]
        title = ", ".join(rule.class_name for rule in rules)
        states = [f"`{name}`" for name in rules[0].states]
        states += [f"`{name}` with `{switch}`" for name, switch in rules[0].optional.items()]
        kept = f"States: {', '.join(states)}." if states else "No states."
        entries.append("\n".join([f"### {title}", *lines, "", kept, ""]))
    return "\n".join(entries)


def entries(kind):
    rules = fastopt.RULES.values()
    if kind == "functions":
        pairs = [("autofunction", rule.name) for rule in rules]
    else:
        pairs = [("autoclass", rule.class_name) for rule in rules]
    return "\n".join(ENTRY.format(directive=one, name=name) for one, name in pairs)


class Rules(SphinxDirective):
    required_arguments = 1

    def run(self):
        (kind,) = self.arguments
        texts = {"choices": choices, "formulas": formulas}
        text = texts[kind]() if kind in texts else entries(kind)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app):
    app.add_directive("rules", Rules)
    return {"parallel_read_safe": True}
