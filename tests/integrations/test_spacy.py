"""``spacy train`` with fastopt's optimizer for Thinc, on the command line, as users start it."""

import os
import subprocess
import sys

import pytest

spacy = pytest.importorskip("spacy", reason="spacy train needs spaCy, which needs Thinc 8.3")

CONFIG = """
[paths]
train = null
dev = null

[nlp]
lang = "en"
pipeline = ["textcat"]

[components]

[components.textcat]
factory = "textcat"

[components.textcat.model]
@architectures = "spacy.TextCatBOW.v2"
exclusive_classes = true
ngram_size = 1
no_output_layer = false

[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${paths.train}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.dev}

[training]
seed = 0
max_steps = 60
eval_frequency = 20
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"

[training.optimizer]
@optimizers = "OPTIMIZER"
L2 = 0.01
use_averages = true

[training.optimizer.learn_rate]
@schedules = "slanted_triangular.v1"
max_rate = 0.02
num_steps = 50
"""


def texts():
    """Reviews of two kinds that one word gives away."""
    words = {"good": ["fine", "lovely", "great"], "bad": ["poor", "awful", "dull"]}
    for number in range(60):
        label = "good" if number % 2 else "bad"
        word = words[label][number % 3]
        yield f"the film number {number % 7} was {word} in every way", label


@pytest.fixture
def corpus(tmp_path):
    nlp = spacy.blank("en")
    documents = spacy.tokens.DocBin()
    for text, label in texts():
        document = nlp(text)
        document.cats = {name: float(name == label) for name in ("good", "bad")}
        documents.add(document)
    documents.to_disk(tmp_path / "corpus.spacy")
    return tmp_path / "corpus.spacy"


def spacy_cli(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "spacy", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def train(corpus, optimizer):
    folder = corpus.parent / optimizer
    config = folder.with_suffix(".cfg")
    config.write_text(CONFIG.replace("OPTIMIZER", optimizer))
    code = corpus.parent / "code.py"
    code.write_text("from fastopt.integrations import thinc\n")
    spacy_cli("init", "fill-config", config, config, "--code", code)
    paths = ["--paths.train", corpus, "--paths.dev", corpus]
    spacy_cli("train", config, "--code", code, "--output", folder, *paths)
    return spacy.load(folder / "model-last")


def test_a_text_classifier_is_trained_as_with_thinc_s_optimizer(corpus):
    """The rate ends below zero, and the weights that are evaluated are the averages."""
    own, other = (train(corpus, name) for name in ("fastopt.Adam.v1", "Adam.v1"))
    for text, label in texts():
        mine, theirs = own(text).cats, other(text).cats
        assert mine == pytest.approx(theirs, abs=1e-4)
        assert max(mine, key=mine.get) == label
        assert mine[label] > 0.7
