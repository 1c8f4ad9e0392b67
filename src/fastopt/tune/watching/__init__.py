"""A page that shows a running study in the browser of the same machine.

``feed`` has what has changed in a study since the page last asked; ``server`` serves that and the
page; ``watch.js`` draws. The server listens on 127.0.0.1 alone, answers only requests whose header
Host names that address or localhost, and changes nothing.
"""
