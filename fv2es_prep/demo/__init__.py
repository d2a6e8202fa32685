"""The demo corpus: generated recordings in IEMOCAP's layout, and a small local text model.

Owns everything that is made up: what is said, how it looks and how it sounds. Reading a corpus,
this one included, is the work of the corpus adapters.
"""

from fv2es_prep.demo.corpus import make_corpus
from fv2es_prep.demo.talk import make_talk
from fv2es_prep.demo.text_model import make_text_model

__all__ = ["make_corpus", "make_talk", "make_text_model"]
