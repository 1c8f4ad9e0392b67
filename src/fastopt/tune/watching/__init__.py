"""A page that shows a running study in the browser of the same machine.

``feed`` is what has changed in a study since the page last asked, ``server`` gives that and the
page, ``watch.js`` draws. The page is for anyone who may read the study's file: the server listens
on 127.0.0.1 alone, answers only requests that name it so, and changes nothing.
"""
