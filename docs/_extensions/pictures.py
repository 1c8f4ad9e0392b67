"""The directive `picture`: a block of Python that is shown, and the figure that it makes.

    ```{picture} what the picture shows
    figure = study.plot.history()
    ```

The blocks of a page are one program: when the site is built, a picture's block runs after the
```python blocks above it, and leaves a matplotlib Figure in `figure`. A viewer that knows no
directives shows the code.
"""

import hashlib
import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Picture(SphinxDirective):
    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        code = "\n".join(self.content)
        source = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
        program = self.env.current_document.setdefault("picture_program", {"names": {}, "end": 0})
        here = source.index(code, program["end"])
        for block in [*BLOCK.findall(source, program["end"], here), code]:
            exec(compile(block, self.env.docname, "exec"), program["names"])
        program["end"] = here + len(code)

        path = Path(self.env.app.doctreedir) / "pictures" / f"{_digest(source, code)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        program["names"]["figure"].savefig(path, dpi=110)
        image = nodes.image(alt=self.arguments[0])
        # Sphinx takes a leading slash for the folder of the sources.
        image["uri"] = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
        return [nodes.literal_block(code, code, language="python"), image]


def _digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def setup(app):
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True}
