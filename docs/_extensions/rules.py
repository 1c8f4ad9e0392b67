"""The directive `rules`: the documentation of every rule's function, or of every class.

The rules are read from the table, so that a new one has its entry without a change here.
"""

from sphinx.util.docutils import SphinxDirective

import fastopt

ENTRY = """\
## {name}

```{{eval-rst}}
.. {directive}:: fastopt.{name}
```
"""


class Rules(SphinxDirective):
    required_arguments = 1

    def run(self):
        (kind,) = self.arguments
        rules = fastopt.RULES.values()
        if kind == "functions":
            entries = [("autofunction", rule.name) for rule in rules]
        else:
            entries = [("autoclass", rule.class_name) for rule in rules]
        text = "\n".join(ENTRY.format(directive=one, name=name) for one, name in entries)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app):
    app.add_directive("rules", Rules)
    return {"parallel_read_safe": True}
